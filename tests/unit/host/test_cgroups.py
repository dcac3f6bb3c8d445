"""What can be limited, as the kernel's files tell it."""

import os

import pytest

from volt.host import cgroups
from volt.host.cgroups import cgroup, cores, io_weight, legacy, manager
from volt.host.mounts import Mount
from volt.model.facts import Cgroup

V2 = Mount(1, "/", "/sys/fs/cgroup", "cgroup2", idmapped=False)
V1 = Mount(2, "/", "/sys/fs/cgroup/memory", "cgroup", idmapped=False)


@pytest.fixture
def folder(tmp_path):
    """A cgroup as the kernel shows it, below the first."""
    files = {"cgroup.type": "domain\n", "cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": "memory\n"}
    (tmp_path / "a").mkdir()
    for name, content in {**files, "cgroup.procs": ""}.items():
        (tmp_path / "a" / name).write_text(content)
    return tmp_path


def test_a_cgroup_is_its_controllers_and_what_it_hands_down(folder):
    assert cgroup(str(folder), "/a") == Cgroup("/a", ("cpu", "memory"), ("memory",), free=True)


def test_one_that_holds_processes_has_no_more_to_give(folder):
    (folder / "a/cgroup.procs").write_text("12\n")
    assert not cgroup(str(folder), "/a").free
    (folder / "a/cgroup.type").unlink()  # the very first has none
    assert cgroup(str(folder), "/a").free


@pytest.mark.parametrize(
    ("written", "expected"), [("0\n", (0,)), ("0-3\n", (0, 1, 2, 3)), ("0-1,4\n", (0, 1, 4)), ("", ()), ("x", ())]
)
def test_cores_that_are_online(written, expected):
    assert cores(written) == expected


def test_controllers_of_v1_are_named_as_v2_names_them(monkeypatch):
    table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t15\t1\nblkio\t7\t1\t1\npids\t0\t1\t1\n"
    monkeypatch.setattr(cgroups, "read_text", lambda _path: table)
    assert legacy((V2, V1)) == ("io", "memory")
    assert legacy((V2,)) == ()


def test_the_cost_model_is_looked_for_before_the_scheduler(folder, monkeypatch):
    monkeypatch.setattr(cgroups, "schedulers", lambda: (str(folder / "scheduler"),))
    assert io_weight(str(folder), "/a") == ""
    (folder / "scheduler").write_text("none [mq-deadline] bfq\n")
    assert io_weight(str(folder), "/a") == "io.bfq.weight"
    (folder / "io.cost.qos").touch()
    assert io_weight(str(folder), "/a") == "io.weight"


@pytest.mark.parametrize(
    ("line", "expected"),
    [("0::/init.scope\n", ""), ("0::/machine/guest/init.scope\n", "/machine/guest"), ("0::/\n", "")],
)
def test_systemd_keeps_its_units_beside_its_own_scope(tmp_path, monkeypatch, line, expected):
    (tmp_path / "cgroup").write_text(line)
    own = cgroups.own_cgroup
    monkeypatch.setattr(cgroups, "own_cgroup", lambda found, _path: own(found, str(tmp_path / "cgroup")))
    assert manager((V2,)) == expected


def test_this_machine_is_probed():
    from volt.host.mounts import mounts

    root, control = cgroups.probe_cgroups(mounts())
    assert (root != "") == any(mount.filesystem == "cgroup2" for mount in mounts())
    assert len(control.cores) >= len(os.sched_getaffinity(0)) or not root


@pytest.mark.parametrize("there", [(), ("BUS",), ("MACHINED",), ("BUS", "MACHINED")])
def test_systemd_machined_is_reached_over_a_bus_that_would_start_it(tmp_path, monkeypatch, there):
    from volt.host.mounts import mounts

    monkeypatch.setattr(cgroups, "SYSTEMD", str(tmp_path))
    for name in ("BUS", "MACHINED"):
        monkeypatch.setattr(cgroups, name, str(tmp_path / name))
        if name in there:
            (tmp_path / name).touch()
    root, control = cgroups.probe_cgroups(mounts())
    assert (control.bus != "", control.machined) == (bool(root) and "BUS" in there, bool(root) and len(there) == 2)
