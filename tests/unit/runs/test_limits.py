"""Changing the limits of a run: all or none, and each value read back."""

import errno
from pathlib import Path

import pytest

from tests.unit.runs.test_record import RUN, WHOLE
from volt.errors import StateError, VoltError
from volt.model.limits import OWN_TASKS, Change
from volt.runs import limits
from volt.runs.limits import change_limits, read_limits
from volt.runs.record import Record

MEMORY = Change("memory_limit", "memory", "memory.max", "1024")
PIDS = Change("pids_max", "pids", "pids.max", "12")


@pytest.fixture
def run(tmp_path):
    """A cgroup made of plain files: what is written is there to be read."""
    own = tmp_path / f"volt-{RUN}"
    own.mkdir()
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    for name, value in (("memory.max", "max"), ("pids.max", str(5 + OWN_TASKS)), ("cpuset.cpus", "0-1")):
        (own / name).write_text(f"{value}\n")
    known = {name: WHOLE[name] for name in Record.__dataclass_fields__ if name in WHOLE}
    return Record(**{**known, "cgroup": str(own)})


def says(run, name):
    return (Path(run.cgroup) / name).read_text().strip()


def test_every_change_is_written(run):
    change_limits(run, (MEMORY, PIDS))
    assert (says(run, "memory.max"), says(run, "pids.max")) == ("1024", "12")


def test_when_one_is_refused_the_others_are_what_they_were(run, monkeypatch):
    plain = limits._write

    def refusing(file, value):
        if (file.name, value) == ("pids.max", "12"):
            raise OSError(errno.EINVAL, "Invalid argument", str(file))
        plain(file, value)

    monkeypatch.setattr(limits, "_write", refusing)
    with pytest.raises(VoltError, match=r"pids\.max: Invalid argument"):
        change_limits(run, (MEMORY, PIDS))
    assert says(run, "memory.max") == "max"


def test_a_controller_that_is_missing_is_enabled_above(run):
    (Path(run.cgroup).parent / "cgroup.subtree_control").write_text("memory\n")
    change_limits(run, (PIDS,))
    assert (Path(run.cgroup).parent / "cgroup.subtree_control").read_text() == "+pids\n"


def test_one_that_cannot_be_enabled_is_explained(run, monkeypatch):
    (Path(run.cgroup).parent / "cgroup.subtree_control").write_text("\n")

    def busy(file, _value):
        raise OSError(errno.EBUSY, "Device or resource busy", str(file))

    monkeypatch.setattr(limits, "_write", busy)
    with pytest.raises(VoltError, match="was started where no such limit can be held"):
        change_limits(run, (PIDS,))


def test_a_run_that_has_ended_is_told(run):
    for file in Path(run.cgroup).iterdir():
        file.unlink()
    Path(run.cgroup).rmdir()
    with pytest.raises(StateError, match="has ended meanwhile"):
        change_limits(run, (MEMORY,))


def test_a_record_that_names_another_cgroup_is_not_believed(run):
    from dataclasses import replace

    with pytest.raises(StateError, match="not its own"):
        change_limits(replace(run, cgroup="/sys/fs/cgroup/system.slice"), (MEMORY,))


def test_what_the_kernel_has_is_read_back_in_the_manifests_terms(run):
    assert read_limits(run) == {"memory_limit": "max", "cpu_set": "0-1", "pids_max": "5"}
