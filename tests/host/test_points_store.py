"""Killed before any of its changing calls, a verb on the store tears nothing: what was there is whole, what it brings
is there as a whole or not at all, the same verb once more does the rest, and what a crash leaves is collected.

An ordinary run takes one point of each kind; every call of each verb, and each of them failing, is

    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest -rP tests/host/test_points_store.py

What a verb is, and how one is added: tests/host/store_points.py.
"""

import errno
import os
import re
from collections import defaultdict

import pytest

from tests.host import points
from tests.host.points import ERRORS
from tests.host.store_points import STORE, StoreStage, flip
from tests.host.test_points import EXHAUSTIVE, injector, judge  # noqa: F401, a fixture
from volt import api

FEW = [verb for verb in STORE if verb.name in ("import-layers", "gc")]
SEEN = defaultdict(set)


@pytest.fixture
def stage(tmp_path, volt_root, injector, monkeypatch):  # noqa: F811
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "volt"))
    return StoreStage(tmp_path, injector)


def judged(stage, verb, printed, kills, error=None):
    said = os.strerror(error) if error else "killed"
    tried = []
    for kill in kills:
        wrong = next((wrong for _ in range(3) if (wrong := stage.hit(verb, printed, kill, error)) is not None), None)
        tried.append((kill.point, f"{kill}: {said}", wrong))
    judge(verb, tried)


def near(verb, kills):
    """Those that an ordinary run chooses from."""
    return [kill for kill in kills if re.search(verb.about, kill.point.about)]


@pytest.mark.parametrize("verb", STORE, ids=lambda verb: verb.name)
def test_a_verb_that_is_killed_tears_nothing_and_once_more_does_the_rest(stage, verb):
    printed, found = stage.kills_of(verb)
    fresh = points.one_of_each(near(verb, found), SEEN["killed"]) or found[-1:]
    judged(stage, verb, printed, found if EXHAUSTIVE else fresh)


@pytest.mark.parametrize("verb", STORE if EXHAUSTIVE else FEW, ids=lambda verb: verb.name)
def test_a_verb_whose_call_fails_tears_nothing_and_gives_no_traceback(stage, verb):
    printed, found = stage.kills_of(verb)
    if EXHAUSTIVE:
        for error in ERRORS:
            judged(stage, verb, printed, found, error)
    else:
        judged(stage, verb, printed, points.one_of_each(near(verb, found), set()), errno.ENOSPC)


# ── the harness itself


def test_what_is_torn_under_its_name_and_what_is_left_is_noticed(stage):
    verb = STORE[0]
    stage.begin(verb)
    flip(stage)
    assert "object" in stage.damage(verb)[0]
    stage.begin(verb)
    assert stage.wrong(verb, b"something else\n")[0].startswith("once more: b'sha256:")
    stage.begin(verb)
    api.remove_image("kept:1")
    with pytest.raises(api.NoSuchImage, match="kept:1"):
        stage.damage(verb)
