"""Times that poll(2) does not take at once: each wait goes round again until the end, or until the time is up."""

from __future__ import annotations

import os
import subprocess
import time
from types import SimpleNamespace

import pytest

from volt.errors import VoltError
from volt.runs import stopping, waiting
from volt.runs.supervisor import Supervisor

LONG = [2.0**31 / 1000, 3e6, float("inf")]


class Process(Supervisor):
    """A supervisor that is a process of this test's, with nothing to tell when it has ended."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(words)
        super().__init__(None, SimpleNamespace(id="run", name="web"), os.pidfd_open(self.process.pid), -1)

    def end(self):
        return "ended"

    def close(self):
        super().close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def brief():
    with Process("sleep", "0.3") as one:
        yield one


@pytest.fixture
def endless():
    with Process("sleep", "60") as one:
        yield one


@pytest.fixture(params=[None, 20], ids=["poll's limit", "a small limit"])
def limit(monkeypatch, request):
    if request.param:
        monkeypatch.setattr("volt.runs.supervisor.LONGEST", request.param)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("seconds", LONG)
class TestLong:
    def test_a_supervisor(self, brief, seconds):
        assert brief.wait(seconds)

    def test_several(self, brief, seconds):
        found: dict[str, str | VoltError] = {}
        waiting._wait({brief.pidfd: brief}, time.monotonic() + seconds, found)
        assert found == {"run": "ended"}

    def test_stopping(self, brief, seconds):
        one = SimpleNamespace(supervisor=brief, deadline=0.0)
        steps = [seconds]

        def go_on():
            one.deadline = time.monotonic() + steps.pop()
            return True

        one.go_on = go_on
        assert list(stopping._watch([one])) == [one]
        assert steps == []


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("seconds", [0.1, 0, -1, float("nan")])
def test_what_does_not_end_in_time(endless, seconds):
    found: dict[str, str | VoltError] = {}
    assert not endless.wait(seconds)
    waiting._wait({endless.pidfd: endless}, time.monotonic() + seconds, found)
    assert found == {}
