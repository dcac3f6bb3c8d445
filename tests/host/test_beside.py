"""What an audit places beside a run holds up nobody: not even one that is stopped in the middle."""

import os
import signal

import pytest

from tests.host.living import living
from volt.runs.beside import beside


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


def test_a_run_ends_while_an_audit_stands_still(volt):
    with living(volt) as web:
        with beside(web.tree.init, web.record.uids, {"signal"}) as placed:
            assert placed.process > 1
            os.kill(web.process.pid, signal.SIGTERM)
            web.process.wait(20)
        said = web.process.communicate(timeout=20)[1]
        assert (web.process.returncode, said) == (143, b"")
