"""Killed before any of its changing calls, a verb on a workload leaves it in a state that `ps` tells and rm and gc end.

An ordinary run takes one point of each kind; every call of each verb, and each of them failing, is

    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest -rP tests/host/test_points_life.py

What a verb is, and how one is added: tests/host/life_points.py. Launches are in test_points.py.
"""

import errno
import os
from collections import defaultdict

import pytest

from tests.host import points
from tests.host.life_points import LIFE, LOOKING, LifeVerb, pause, run, stage_of, states
from tests.host.points import ERRORS
from tests.host.test_points import EXHAUSTIVE, injector, judge  # noqa: F401, a fixture
from volt import api

FEW = [verb for verb in LIFE if verb.name in ("pause", "sweep")]
MANY = 5
SEEN = defaultdict(set)


@pytest.fixture
def stage(tmp_path, busybox, injector, monkeypatch):  # noqa: F811
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "volt"))
    one = stage_of(tmp_path, busybox, injector)
    yield one
    assert one.clear() == []


def judged(stage, verb, kills, error=None):
    said = os.strerror(error) if error else "killed"
    tried = [(kill.point, f"{kill}: {said}", stage.try_point(stage.hit, verb, kill, error)) for kill in kills]
    judge(verb, tried)


@pytest.mark.parametrize("verb", LIFE, ids=lambda verb: verb.name)
def test_a_verb_that_is_killed_leaves_what_ps_tells_and_the_next_command_ends(stage, verb):
    found = stage.kills_of(verb)
    # Of a verb whose kinds of calls others have shown already, one stands for all.
    fresh = points.one_of_each(found, SEEN[verb.like or verb.name]) or found[:1]
    judged(stage, verb, found if EXHAUSTIVE or len(found) <= MANY else fresh)


@pytest.mark.parametrize("verb", LIFE if EXHAUSTIVE else FEW, ids=lambda verb: verb.name)
def test_a_verb_whose_call_fails_leaves_the_same_and_no_traceback(stage, verb):
    found = [kill for kill in stage.kills_of(verb) if kill.point.role == "launcher"]
    if EXHAUSTIVE:
        for error in ERRORS:
            judged(stage, verb, found, error)
    else:
        judged(stage, verb, points.one_of_each(found, set()), errno.ENOSPC)


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_a_verb_that_looks_changes_nothing_outside_its_process(stage, words):
    verb = LifeVerb("looking", words, states("running"), run, status=125 if "wait" in words else 0)
    assert stage.kills_of(verb) == []


# ── the harness itself


def test_a_command_that_survives_is_noticed(stage, monkeypatch):
    monkeypatch.setattr("tests.host.living.SECONDS", 1)
    verb = next(verb for verb in LIFE if verb.name == "exec")
    stage.begin(verb)
    assert stage.truth(verb.then) == []
    with api.execute(stage.name, ["sleep", "60"], stdout=api.DEVNULL, stderr=api.DEVNULL):
        assert "the end of every command" in stage.truth(verb.then)[0]


def test_a_state_that_cannot_be_is_noticed(stage, monkeypatch):
    monkeypatch.setattr("tests.host.living.SECONDS", 1)
    pause(stage)
    assert "paused, not of" in stage.truth({"running"})[0]
    monkeypatch.setattr("volt.runs.states.is_frozen", lambda _: False)
    assert "frozen 0" in stage.truth({"running"})[0]


def test_what_no_command_removes_is_noticed(stage):
    stray = stage.volt.state / "run/names/.stray"
    stray.parent.mkdir(exist_ok=True)
    stray.touch()
    assert stage.clear() == [f"left: {stray}"]
    stray.unlink()
