"""The probe: where the state lies, the machine as it is, and what one workload names on it."""

import os
from dataclasses import fields, replace

import pytest

from volt.errors import VoltError
from volt.host.facts import folders, probe, probe_machine
from volt.model.facts import Boot, Control, Facts, Folders
from volt.model.modes import Mode, WritableLayerMode
from volt.model.workload import Storage, Volume, Workload


def test_without_volt_root_the_state_lies_where_a_distribution_puts_it():
    assert folders({}) == folders({"VOLT_ROOT": ""}) == Folders()


@pytest.mark.parametrize("written", ["/srv/volt", "/srv/volt/", "/srv/volt//"])
def test_volt_root_moves_state_runs_and_logs(written):
    assert folders({"VOLT_ROOT": written}) == Folders("/srv/volt/state", "/srv/volt/run", "/srv/volt/log", "/srv/volt")


@pytest.mark.parametrize("written", ["volt", "./volt", "/srv/../etc", "/..", "~", " /srv"])
def test_volt_root_is_an_absolute_path(written):
    with pytest.raises(VoltError, match="no absolute path"):
        folders({"VOLT_ROOT": written})


@pytest.mark.parametrize("written", ["/", "//", "/.", "/./"])
def test_volt_root_is_not_the_whole_machine(written):
    """Below /run lie other programs' files, which a sweep would take for claims."""
    with pytest.raises(VoltError, match="cannot be /"):
        folders({"VOLT_ROOT": written})


@pytest.fixture(scope="module")
def machine():
    return probe_machine(folders({}))


def test_this_machine_is_read_without_root(machine):
    assert machine.root is (os.geteuid() == 0)
    assert machine.architecture == os.uname().machine
    assert machine.kernel >= (5, 0)
    assert machine.memory > 1 << 20
    assert machine.limits["nofile"][1] > 0
    assert machine.folders == Folders()
    assert machine.paths == {}
    assert machine.layer is None


def test_two_probes_agree(machine):
    """All but what other programs change from one moment to the next."""
    again = probe_machine(folders({}))
    assert replace(again, busy_uids=()) == replace(machine, busy_uids=())


def test_every_field_is_plain_data(machine):
    plain = (str, int, bool, tuple, dict, Boot, Folders, Control, type(None))
    assert all(isinstance(getattr(machine, field.name), plain) for field in fields(Facts))


@pytest.fixture
def at(tmp_path, machine):
    """The machine with its state in a folder of this test's own, and a root with accounts."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("web:x:1000:1000::/srv:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("web:x:1000:\n")
    return replace(machine, folders=folders({"VOLT_ROOT": str(tmp_path)}), host_etc=("services", "missing"))


def workload(rootfs, **storage):
    more = {name: storage.pop(name) for name in ("env_file",) if name in storage}
    return Workload(name="web", mode=Mode.CONTAINER, storage=Storage(rootfs=rootfs, **storage), **more)


def kept_layer(at, passwd):
    layer = at.folders.state + "/layers/web"
    os.makedirs(f"{layer}/upper/etc")
    with open(f"{layer}/upper/etc/passwd", "w") as file:
        file.write(passwd)
    with open(f"{layer}/root", "w") as file:
        file.write("the record\n")


def test_a_folder_gives_its_path_and_its_accounts(at, tmp_path):
    root = f"{tmp_path}/root"
    found = probe(workload(root), at)
    assert list(found.paths) == [root]
    assert found.paths[root].inode == os.stat(root).st_ino
    assert (found.passwd[:4], found.group[:4], found.layer) == ("web:", "web:", None)


def test_every_path_of_the_workload_is_looked_at(at, tmp_path):
    volumes = (Volume(host=f"{tmp_path}/data", container="/data"),)
    one = workload(f"{tmp_path}/root", volumes=volumes, env_file=f"{tmp_path}/env")
    assert {path: fact.kind for path, fact in probe(one, at).paths.items()} == {
        f"{tmp_path}/root": "folder",
        f"{tmp_path}/env": "missing",
        f"{tmp_path}/data": "missing",
    }


def test_the_hosts_programs_come_with_the_listed_part_of_etc(at):
    found = probe(workload("host"), at)
    assert [path for path in found.paths if not path.startswith("/usr/")] == ["/usr", "/etc/services", "/etc/missing"]
    assert found.paths["/usr"].kind == "folder"
    assert (found.passwd, found.group) == ("", "")


def test_a_kept_layer_counts_with_its_record(at, tmp_path):
    kept_layer(at, "changed:x:1:1::/:/bin/sh\n")
    found = probe(workload(f"{tmp_path}/root"), at)
    assert (found.passwd[:8], found.group[:4], found.layer) == ("changed:", "web:", "the record\n")
    assert probe(workload("host"), at).passwd.startswith("changed:")


@pytest.mark.parametrize(
    ("fresh", "storage"),
    [
        (True, {}),
        (False, {"writable_layer": WritableLayerMode.TMPFS}),
        (False, {"writable_layer": WritableLayerMode.NONE}),
    ],
)
def test_a_layer_that_the_run_will_not_have_counts_for_nothing(at, tmp_path, fresh, storage):
    kept_layer(at, "changed:x:1:1::/:/bin/sh\n")
    found = probe(workload(f"{tmp_path}/root", **storage), at, fresh=fresh)
    assert (found.passwd[:4], found.layer) == ("web:", None)


@pytest.mark.parametrize("root", [None, "cas://sha256:0"])
def test_a_root_of_a_later_version_is_looked_for_nowhere(at, root):
    assert probe(workload(root), at).paths == {}
