"""A power cut while something is added to the store: under a final name there is what its digest says, what was there
before is whole, and what was said to be there stays.

The store lies on an ext4 file system of its own, over a file that stands for the disk, and that writes nothing by
itself for a long time. The process is killed before a call, and what the disk has at that moment is copied, and mounted
as after a power cut. An ordinary run takes a point of each kind; all of them are

    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest -rP tests/host/test_power.py
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.host import points
from tests.host.store_points import STORE, StoreStage
from tests.host.test_points import EXHAUSTIVE, injector  # noqa: F401, a fixture
from volt import api

MIB = 1 << 20
ADDS = [verb for verb in STORE if verb.name in ("import", "import-layers", "replace", "add")]
NAMING = ("link", "linkat", "rename", "renameat", "renameat2")  # before and after these something else is there
NEVER = "commit=3000"  # seconds until the journal is written unasked, ext4(5)
UNSYNCED = """
import sys
from volt.store import transaction
transaction._sync = lambda descriptor: None
from volt.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Disk:
    """A file system over a file, and a copy of that file as another one."""

    def __init__(self, folder):
        self.file, self.copies = folder / "disk", 0
        self.here, self.there = folder / "here", folder / "there"
        self.file.write_bytes(b"")
        os.truncate(self.file, 96 * MIB)
        subprocess.run(["mkfs.ext4", "-q", self.file], check=True)
        self.here.mkdir()
        self.there.mkdir()
        self._mount(self.file, self.here)

    def _mount(self, file, place):
        subprocess.run(["mount", "-o", f"loop,{NEVER}", file, place], check=True)

    def cut(self):
        """What a machine would find that has lost its power now. Each copy is another file: a loop device that somebody
        else still has open would be taken again for the same one, and knows what that had in it (mount(8))."""
        self.copies += 1
        copy = self.file.with_name(f"copy-{self.copies}")
        subprocess.run(["cp", "--sparse=always", self.file, copy], check=True)
        self._mount(copy, self.there)
        copy.unlink()
        return self.there

    def forget(self):
        subprocess.run(["umount", self.there], check=True)

    def end(self):
        for place in (self.there, self.here):
            subprocess.run(["umount", "-q", place], check=False)


class PowerStage(StoreStage):
    """A stage whose state is on the disk."""

    def __init__(self, folder, injector, disk):  # noqa: F811
        super().__init__(folder, injector)
        shutil.rmtree(self.volt.state)
        self.disk = disk
        self.on(disk.here)

    def on(self, place):
        self.volt.state = place / "volt"
        self.volt.environment["VOLT_ROOT"] = os.environ["VOLT_ROOT"] = str(self.volt.state)

    def reset(self):
        super().reset()
        subprocess.run(["sync", "--file-system", self.disk.here], check=True)

    def cut(self, verb, printed, point):
        """What is wrong after the power was cut before that call, or, without one, when all was said and done."""
        self.begin(verb)
        log, said = self.inject(verb, f"{point.process}:{point.number}:kill:1" if point else "-")
        assert point or log.status == verb.status, said
        self.on(self.disk.cut())
        try:
            wrong = self.damage(verb) + ([] if point else self.lost(printed))
            done = self.once(verb)
            wrong += [] if done.stdout == printed else [f"once more: {done.stdout!r} {done.stderr!r}"]
            return wrong + self.damage(verb)
        finally:
            self.on(self.disk.here)
            self.disk.forget()

    def lost(self, printed):
        """What was printed is known, and was there before it was printed."""
        digest = printed.decode().strip().rpartition("sha256:")[2]
        known = {one.digest for one in api.images()} | {one.name for one in self.volt.state.glob("state/manifests/*")}
        return [] if digest in known else [f"lost: {digest}"]


@pytest.fixture
def disk(tmp_path):
    one = Disk(tmp_path)
    yield one
    one.end()


@pytest.fixture
def stage(tmp_path, volt_root, injector, disk, monkeypatch):  # noqa: F811
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "volt"))
    return PowerStage(tmp_path, injector, disk)


def told(stage, verb, found, printed):
    tried = [(str(point or "the end"), stage.cut(verb, printed, point)) for point in found]
    return [f"{point}: {wrong}" for point, wrong in tried if wrong]


def points_of(stage, verb):
    """Before each call that gives a name, and before the one behind it; None is the end."""
    printed, kills = stage.kills_of(verb)
    calls = [kill.point for kill in kills]
    near = [
        kill
        for number, kill in enumerate(kills)
        if kill.point.name in NAMING or (number and calls[number - 1].name in NAMING)
    ]
    chosen = kills if EXHAUSTIVE else points.one_of_each(near, set())
    return printed, [*(kill.point for kill in chosen), None]


@pytest.mark.parametrize("verb", ADDS if EXHAUSTIVE else ADDS[:1] + ADDS[-1:], ids=lambda verb: verb.name)
def test_after_a_power_cut_nothing_is_torn_and_what_was_told_is_there(stage, verb):
    printed, found = points_of(stage, verb)
    sys.stdout.write(f"{verb.name}: {len(found)} points\n")
    assert told(stage, verb, found, printed) == []


def test_what_was_not_written_before_it_got_its_name_is_noticed(stage):
    verb = replace(ADDS[0], program=(sys.executable, "-c", UNSYNCED))
    printed, found = points_of(stage, verb)
    assert told(stage, verb, found[-3:], printed)
