"""Changing the limits of a run: all or none, and each value read back."""

import errno
from dataclasses import replace
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
CORES = Change("cpu_set", "cpuset", "cpuset.cpus", "0")
WEIGHTS = (
    Change("cpu_weight", "cpu", "cpu.weight", "70", "CPUWeight", 70),
    Change("io_weight", "io", "io.weight", "30", "IOWeight", 30),
)


@pytest.fixture
def run(tmp_path):
    """A cgroup made of plain files: what is written is there to be read."""
    own = tmp_path / f"volt-{RUN}"
    own.mkdir()
    (tmp_path / "cgroup.subtree_control").write_text("cpuset memory pids\n")
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


@pytest.fixture
def scoped(run):
    """The same in a scope, as systemd makes one."""
    return replace(run, scope="volt-0.scope")


def test_systemd_hears_of_every_weight_at_once_and_of_all_else_nothing(scoped, monkeypatch):
    told = []
    monkeypatch.setattr(limits, "_tell_systemd", lambda *asked: told.append((*asked, says(scoped, "pids.max"))))
    change_limits(scoped, (*WEIGHTS, MEMORY, PIDS))
    assert told == [("volt-0.scope", {"CPUWeight": 70, "IOWeight": 30}, "12")]  # the files were written before


def test_when_a_file_is_refused_systemd_hears_nothing(scoped, monkeypatch):
    monkeypatch.setattr(limits, "_tell_systemd", lambda *_: pytest.fail("it was told"))
    (Path(scoped.cgroup) / "pids.max").unlink()
    (Path(scoped.cgroup) / "pids.max").mkdir()
    with pytest.raises(VoltError, match=r"pids\.max"):
        change_limits(scoped, (*WEIGHTS, PIDS))


def test_when_systemd_cannot_be_reached_the_files_are_what_they_were(scoped, monkeypatch, tmp_path):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    with pytest.raises(VoltError, match="systemd cannot be reached"):
        change_limits(scoped, (*WEIGHTS, MEMORY, CORES, PIDS))
    assert [says(scoped, name) for name in ("memory.max", "cpuset.cpus", "pids.max")] == [
        "max",
        "0-1",
        str(5 + OWN_TASKS),
    ]


def test_a_cpuset_that_was_empty_gets_every_core_again(scoped, monkeypatch, tmp_path):
    """The kernel refuses to empty one with processes in it."""
    (Path(scoped.cgroup) / "cpuset.cpus").write_text("\n")
    (tmp_path / "cpuset.cpus.effective").write_text("0-3\n")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    with pytest.raises(VoltError, match="systemd cannot be reached"):
        change_limits(scoped, (*WEIGHTS, CORES))
    assert says(scoped, "cpuset.cpus") == "0-3"


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
    with pytest.raises(StateError, match="not its own"):
        change_limits(replace(run, cgroup="/sys/fs/cgroup/system.slice"), (MEMORY,))


def test_what_the_kernel_has_is_read_back_in_the_manifests_terms(run):
    assert read_limits(run) == {"memory_limit": "max", "cpu_set": "0-1", "pids_max": "5"}
