"""What is mounted inside, in which order, with which attributes and ids."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, FOLDER, GOOD, stored
from volt.model.modes import WritableLayerMode
from volt.model.sizes import Size
from volt.model.steps import MAKE_FILE, MAKE_FOLDER, AttachInside, CloneMount, MakeFilesystem, MakeIdmap, Open, SetMount
from volt.model.text import show
from volt.model.workload import Tmpfs, User, Volume
from volt.plan.mounts import mounts, mounts_part

PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/srv:/bin/sh\n"
GIB = 1 << 30


def found(workload=GOOD, facts=FACTS):
    return {mount.path: mount for mount in mounts(workload, facts, PASSWD, "")}


def steps(workload=GOOD, facts=FACTS):
    part = mounts_part(mounts(workload, facts, PASSWD, ""))
    return [*part.host, *part.guard, *part.init]


def only(all_steps, kind, **values):
    (one,) = [s for s in all_steps if isinstance(s, kind) and all(getattr(s, n) == v for n, v in values.items())]
    return one


def options(path, workload, facts=FACTS):
    (make,) = found(workload, facts)[path].part.init
    assert isinstance(make, MakeFilesystem)
    return [show(option) for option in make.options]


def volume(container="/data", host="/srv/data", **values):
    return Volume(host=host, container=container, **values)


def with_volumes(*volumes):
    return stored(volumes=volumes)


def test_every_payload_finds_three_files_and_shared_memory():
    assert list(found()) == ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm"]


@pytest.mark.parametrize(("layer", "ro"), [("overlay", False), ("tmpfs", False), ("none", True)])
def test_generated_files_can_be_written_where_the_root_can(layer, ro):
    workload = stored(writable_layer=WritableLayerMode(layer))
    assert ("ro" in only(steps(workload), SetMount, mount="hosts").attrs) is ro


def test_a_deeper_path_comes_after_the_path_above_it():
    workload = stored(volumes=(volume("/a/b/c"), volume("/a"), volume("/a/b")), tmpfs=(Tmpfs("/a/b/c/d"), Tmpfs("/z")))
    order = [show(step.path) for step in steps(workload) if isinstance(step, AttachInside)]
    for path in order:
        above = [other for other in order if path.startswith(f"{other}/")]
        assert all(order.index(other) < order.index(path) for other in above)


def test_a_folder_is_mounted_with_all_below_it_and_a_file_alone():
    facts = replace(FACTS, paths={**FACTS.paths, "/srv/file": replace(FOLDER, kind="file", inode=7)})
    all_steps = steps(with_volumes(volume(), volume("/file", "/srv/file")), facts)
    assert only(all_steps, CloneMount, to="volume0").recursive
    assert only(all_steps, SetMount, mount="volume0").recursive
    assert not only(all_steps, CloneMount, to="volume1").recursive
    assert only(all_steps, Open, to="volume1:source").inode == 7
    kinds = {show(step.path): step.kind for step in all_steps if isinstance(step, AttachInside)}
    assert (kinds["/data"], kinds["/file"]) == (MAKE_FOLDER, MAKE_FILE)


@pytest.mark.parametrize(("readonly", "attrs"), [(False, ("nosuid", "nodev")), (True, ("nosuid", "nodev", "ro"))])
def test_a_volume_has_no_set_uid_programs_and_no_devices(readonly, attrs):
    assert only(steps(with_volumes(volume(readonly=readonly))), SetMount, mount="volume0").attrs == attrs


@pytest.mark.parametrize(
    ("as_user", "uids", "gids"),
    [
        (None, "1000 {uids} 1\n", "1000 {uids} 1\n"),
        (User("web"), "1000 {uids+1000} 1\n", "1000 {uids+1001} 1\n"),
        (User(7, 8), "1000 {uids+7} 1\n", "1000 {uids+8} 1\n"),
    ],
)
def test_the_paths_owner_stands_for_one_identity_inside(as_user, uids, gids):
    idmap = only(steps(with_volumes(volume(as_user=as_user))), MakeIdmap)
    assert (show(idmap.uids), show(idmap.gids)) == (uids, gids)


def test_all_ids_one_to_one_is_the_roots_own_map():
    all_steps = steps(with_volumes(volume(ids="same")))
    assert not [step for step in all_steps if isinstance(step, MakeIdmap)]
    assert only(all_steps, SetMount, mount="volume0").idmap == "ids"


def test_the_same_map_is_made_once_and_before_it_is_used():
    workload = with_volumes(volume("/a/b/c"), volume("/a"), volume("/b", as_user=User("web")), volume("/c/d"))
    made = set()
    for step in steps(workload):
        if isinstance(step, MakeIdmap):
            assert step.to not in made
            made.add(step.to)
        if isinstance(step, SetMount) and step.mount.startswith("volume"):
            assert step.idmap in made
    assert len(made) == 2


def test_the_hosts_programs_are_read_only_and_not_idmapped():
    names = ("/usr", "/etc/services", "/etc/ssl/certs")
    facts = replace(FACTS, host_etc=("services", "ssl/certs"), paths=dict.fromkeys(names, FOLDER))
    workload = stored(rootfs="host")
    assert set(names) <= set(found(workload, facts))
    for name in names:
        one = only(steps(workload, facts), SetMount, mount=f"host:{name}")
        assert (one.attrs, one.idmap, one.recursive) == (("ro", "nosuid", "nodev"), "", False)


def test_nothing_of_the_host_is_in_another_root():
    facts = replace(FACTS, host_etc=("services",))
    assert not [path for path in found(facts=facts) if path.startswith("/usr")]


def test_shared_memory_has_64_mib_unless_it_is_given_a_size():
    assert options("/dev/shm", GOOD) == ["mode=1777", f"size={64 << 20}"]
    assert options("/dev/shm", stored(shm_size=Size.parse("1G"))) == ["mode=1777", f"size={GIB}"]


def test_a_tmpfs_has_the_size_and_the_mode_that_it_is_given():
    workload = stored(tmpfs=(Tmpfs("/a", Size.parse("64M"), 0o700), Tmpfs("/b")))
    assert options("/a", workload) == ["mode=0700", f"size={64 << 20}"]
    assert options("/b", workload) == ["mode=1777"]


@pytest.mark.parametrize(
    ("written", "memory", "size"),
    [
        ("50%", 8 * GIB, 4 * GIB),
        ("12.5%", 8 * GIB, GIB),
        ("33.333333%", 3 * 10**8, 99_999_999),
        ("100%", GIB, GIB),
        ("0.000001%", GIB, 10),
        ("0.000001%", 1 << 20, 1),
        ("50%", 0, 1),  # facts that know no memory: never more than was asked for
    ],
)
def test_a_share_of_the_hosts_memory_is_written_in_bytes(written, memory, size):
    """tmpfs(5) takes whole percents alone."""
    facts = replace(FACTS, memory=memory)
    workload = stored(tmpfs=(Tmpfs("/a", Size.parse(written)),), shm_size=Size.parse(written))
    assert options("/a", workload, facts)[1] == f"size={size}"
    assert options("/dev/shm", workload, facts)[1] == f"size={size}"


def test_a_size_of_0_is_none_given_and_never_no_limit():
    """To tmpfs(5) itself size=0 is no limit."""
    workload = stored(tmpfs=(Tmpfs("/a", Size(0)),), shm_size=Size(0))
    assert options("/a", workload) == ["mode=1777"]
    assert options("/dev/shm", workload) == ["mode=1777", f"size={64 << 20}"]
