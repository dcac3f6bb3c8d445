"""A pull that is killed before any of its changing calls tears nothing, and once more it has the image: as
tests/host/test_points_store.py asks of what needs no registry."""

import os
import sys

import pytest

from tests.host import points
from tests.host.store_points import StoreStage, StoreVerb
from tests.host.test_points import EXHAUSTIVE, injector
from tests.programs.test_layers import layout
from tests.programs.test_registry import SETTINGS, Machine, known, registry

__all__ = ["injector", "layout", "registry"]  # fixtures


@pytest.fixture
def stage(tmp_path, volt_root, injector, registry, monkeypatch):
    host, folder = registry
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "volt"))
    one = StoreStage(tmp_path, injector, Machine(tmp_path))
    assert known(one.volt, host, folder).returncode == 0
    return one


def test_a_pull_that_is_killed_tears_nothing_and_once_more_has_it(stage, registry):
    settings = ("unshare", "--mount", "sh", "-c", SETTINGS, str(stage.folder / "etc"))
    words = ("image", "pull", "--quiet", f"{registry[0]}/a/one:1")
    verb = StoreVerb("pull", words, program=(*settings, sys.executable, "-m", "volt.cli"))
    printed, kills = stage.kills_of(verb)
    own = [kill for kill in kills if f"{stage.volt.state}" in kill.point.about]
    assert {"mkdir", "openat", "rename", "write"} <= {kill.point.name for kill in own}
    reached, broken = [], []
    for kill in own if EXHAUSTIVE else points.one_of_each(own, set()):
        wrong = next((wrong for _ in range(3) if (wrong := stage.hit(verb, printed, kill)) is not None), None)
        reached += [kill] if wrong is not None else []  # its threads write as the bytes come: not each time as often
        broken += [f"{kill}: {wrong}"] if wrong else []
    assert broken == []
    assert len(reached) > len(own) / 2 if EXHAUSTIVE else len(reached) > 10
    assert os.listdir(stage.volt.state / "state/downloads") == []
