"""Ending a run's cgroup: a record is believed only so far, and what goes meanwhile has gone."""

import errno
import os

import pytest

from volt.errors import StateError
from volt.runs import cgroup
from volt.runs.cgroup import end_cgroup

RUN = "0123456789ab"
OWN = f"volt-{RUN}"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/system.slice",
        f"/sys/fs/cgroup/{OWN}/",
        f"/sys/fs/cgroup/{OWN}/below",
        f"/sys/fs/cgroup/x/../{OWN}",
        f"sys/fs/cgroup/{OWN}",
        OWN,
        f"/sys/fs/cgroup/volt-{'f' * 12}",
        f"/sys/fs/cgroup/{OWN}x",
    ],
)
def test_only_a_folder_that_bears_the_runs_name_is_its_own(path):
    with pytest.raises(StateError, match="not its own"):
        end_cgroup(path, RUN)


def test_nothing_there_is_no_error(tmp_path):
    end_cgroup(f"{tmp_path}/{OWN}", RUN)
    end_cgroup(f"{tmp_path}/missing/{OWN}", RUN)


def test_a_folder_that_is_no_cgroup_is_refused_and_stays(tmp_path):
    (tmp_path / OWN).mkdir()
    with pytest.raises(StateError, match="where none is mounted"):
        end_cgroup(f"{tmp_path}/{OWN}", RUN)
    assert (tmp_path / OWN).is_dir()


def test_a_link_is_refused_and_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / OWN).symlink_to("real")
    with pytest.raises(StateError, match="cannot be opened"):
        end_cgroup(f"{tmp_path}/{OWN}", RUN)
    assert (tmp_path / "real").is_dir()


def test_the_devices_are_those_of_cgroup_v2(tmp_path):
    rows = "25 1 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 c rw\n26 1 0:28 / /sys/fs/cgroup/memory rw - cgroup c rw\n"
    (tmp_path / "mountinfo").write_text(f"24 1 8:1 / /odd\r- rw - ext4 /dev/sda rw\n{rows}")
    assert cgroup._devices(f"{tmp_path}/mountinfo") == {os.makedev(0, 27)}


@pytest.fixture
def false_cgroup(tmp_path, monkeypatch):
    """A folder that passes for a cgroup: rmdir(2) and writing are what a cgroup is asked for, too."""
    folder = tmp_path / OWN
    (folder / "payload/deeper").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "_devices", lambda: {folder.stat().st_dev})
    return folder


def test_the_folders_below_are_removed_first(false_cgroup):
    end_cgroup(str(false_cgroup), RUN)
    assert not false_cgroup.exists()


def test_they_are_however_deep_they_lie(false_cgroup):
    """Deeper than a path can be long, and than there are descriptors; with others beside each."""
    here = os.open(false_cgroup, os.O_RDONLY)
    for level in range(300):
        for name in (f"{level:0255}", "beside"):
            os.mkdir(name, dir_fd=here)
        os.mkdir("beside/below", dir_fd=here)
        deeper = os.open(f"{level:0255}", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    end_cgroup(str(false_cgroup), RUN)
    assert not false_cgroup.exists()


def refusing(monkeypatch, errors):
    """rmdir(2) that fails with each of `errors` before it works."""
    real, left = os.rmdir, list(errors)

    def rmdir(path, **options):
        if left:
            number = left.pop(0)
            raise OSError(number, os.strerror(number), path)
        real(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    return left


def test_processes_in_it_are_killed_at_once_and_it_is_tried_again(false_cgroup, monkeypatch):
    """Writing 1 to cgroup.kill; a real one has that file, and it goes with the folder."""
    switch = false_cgroup.parent / "switch"
    switch.touch()
    real = os.open

    def opening(path, *args, **options):
        return real(switch, *args) if path == "cgroup.kill" else real(path, *args, **options)

    monkeypatch.setattr(os, "open", opening)
    refusing(monkeypatch, [errno.EBUSY] * 2)
    end_cgroup(str(false_cgroup), RUN)
    assert switch.read_text() == "1"
    assert not false_cgroup.exists()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_what_goes_while_it_is_removed_has_gone(false_cgroup, monkeypatch, number):
    refusing(monkeypatch, [number])
    end_cgroup(str(false_cgroup), RUN)
    assert not false_cgroup.exists()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_a_cgroup_that_goes_before_its_processes_are_killed_has_gone(false_cgroup, monkeypatch, number):
    real = os.open

    def opening(path, *args, **options):
        if path == "cgroup.kill":
            raise OSError(number, os.strerror(number), path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opening)
    refusing(monkeypatch, [errno.EBUSY])
    end_cgroup(str(false_cgroup), RUN)
    assert not false_cgroup.exists()


def test_no_process_is_ever_signalled_by_its_number(false_cgroup, monkeypatch):
    """A number may be another process's by now, and 0 is what a foreign pid namespace's processes look like."""
    (false_cgroup / "cgroup.procs").write_text(f"0\n{os.getpid()}\n")
    monkeypatch.setattr(cgroup, "DEADLINE", 0.02)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was signalled"))
    with pytest.raises(StateError, match="still there"):
        end_cgroup(str(false_cgroup), RUN)


def test_processes_that_stay_are_told_after_a_while(false_cgroup, monkeypatch):
    monkeypatch.setattr(cgroup, "DEADLINE", 0.02)
    refusing(monkeypatch, [errno.EBUSY] * 10_000)
    with pytest.raises(StateError, match=f"run {RUN}: its cgroup .* its processes are still there"):
        end_cgroup(str(false_cgroup), RUN)


def test_another_error_is_told_at_once(false_cgroup, monkeypatch):
    refusing(monkeypatch, [errno.EROFS])
    with pytest.raises(StateError, match="Read-only file system"):
        end_cgroup(str(false_cgroup), RUN)


def test_no_descriptor_is_left(false_cgroup):
    before = len(os.listdir("/proc/self/fd"))
    end_cgroup(str(false_cgroup), RUN)
    assert len(os.listdir("/proc/self/fd")) == before
