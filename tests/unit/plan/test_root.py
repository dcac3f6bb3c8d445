"""The steps that build a root: what lies below, what above, and what a kept layer remembers."""

import json
from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, FOLDER, GOOD, stored
from volt.model.facts import Call, ImageFact
from volt.model.modes import WritableLayerMode
from volt.model.steps import (
    Attach,
    CloneMount,
    MakeFile,
    MakeFilesystem,
    MakeFolder,
    MakeIdmap,
    MakeLink,
    MountLoop,
    Open,
    PinFile,
    SetAside,
    SetMount,
)
from volt.model.text import show, text
from volt.model.workload import Security, Tmpfs, Volume
from volt.plan.check import Accounts, check
from volt.plan.image import image_notes, way_to_mount
from volt.plan.root import HOST_LINKS, HOST_VAR_LINKS, MOUNT_POINTS, attach_root, layer_base, root_part

HOST = stored(rootfs="host")
TMPFS = stored(writable_layer=WritableLayerMode.TMPFS)
NONE = stored(writable_layer=WritableLayerMode.NONE)
READ_ONLY = replace(GOOD, security=Security(read_only_rootfs=True))


IMAGE = ImageFact("storage.rootfs", "ab" * 32, "/i", "/o", "/l", "ext4", workdir="/srv/app")
IMAGE = replace(IMAGE, volumes=("/data/a", "/data/b", "/etc/hosts", "/etc/hosts/below", "/tmp/x"))


def part(workload=GOOD, points=(), facts=FACTS, fresh=False):
    return root_part(workload, facts, tuple(points), Call(fresh=fresh))


def only(steps, kind, **values):
    found = [step for step in steps if isinstance(step, kind) and all(getattr(step, n) == v for n, v in values.items())]
    assert len(found) == 1, found
    return found[0]


def overlay(workload):
    step = only(part(workload).guard, MakeFilesystem, to="merged")
    return [show(option) for option in step.options], step.attrs


def skeleton(workload, points=(), facts=FACTS):
    """Name below the lowest layer → the step that makes it; no name is made twice, each after its folder."""
    made = {}
    for step in part(workload, points, facts).guard:
        path = show(step.path) if isinstance(step, (MakeFolder, MakeFile, MakeLink)) else ""
        if path.startswith("/run/skeleton/"):
            name = path.removeprefix("/run/skeleton/")
            assert name not in made
            folder = name.rpartition("/")[0]
            assert not folder or isinstance(made[folder], MakeFolder), name
            made[name] = step
    return made


def test_the_root_is_the_folder_that_was_seen_and_is_never_written():
    host = part().host
    assert only(host, Open, to="root-folder") == Open(
        path=("/srv/root",), device=1, inode=42, to="root-folder", note="storage.rootfs"
    )
    assert only(host, SetMount, mount="lower").attrs == ("ro", "nodev")
    assert only(host, SetMount, mount="lower").idmap == only(host, MakeIdmap).to


def test_ids_on_disk_are_ids_inside():
    assert show(only(part().host, MakeIdmap).uids) == "0 {uids} 65536\n"


def test_what_is_mounted_below_the_root_on_the_host_is_not_inside():
    assert not only(part().host, CloneMount, to="lower").recursive


@pytest.mark.parametrize("workload", [NONE, READ_ONLY], ids=["none", "read-only"])
def test_read_only_is_the_overlay_mounted_so(workload):
    options, attrs = overlay(workload)
    assert "ro" in attrs
    assert not [option for option in options if option.startswith(("upperdir", "workdir"))]
    assert not [step for step in part(workload).host if isinstance(step, PinFile)]


def test_a_kept_layer_is_a_folder_of_the_state_and_remembers_its_root():
    host = part().host
    pin = only(host, PinFile)
    assert show(pin.path) == "/var/lib/volt/layers/web/root"
    assert json.loads(pin.content[0]) == {"version": 1, "root": "/srv/root", "inode": 42}
    assert "--fresh" in show(pin.otherwise)
    assert not [step for step in host if isinstance(step, SetAside)]
    assert overlay(GOOD)[1] == ("nodev",)


def test_a_layer_in_memory_touches_no_state():
    assert not [step for step in part(TMPFS).host if isinstance(step, (PinFile, MakeFolder))]
    assert only(part(TMPFS).guard, MakeFilesystem, to="layer").attrs == ("nodev",)
    assert "upperdir=/run/layer/upper" in overlay(TMPFS)[0]


def test_fresh_sets_the_kept_layer_aside_before_another_is_made():
    host = part(fresh=True).host
    aside = only(host, SetAside)
    assert (show(aside.path), show(aside.to)) == ("/var/lib/volt/layers/web", "/var/lib/volt/layers/.old-{run}")
    assert host.index(aside) < host.index(only(host, MakeFolder, path=aside.path))
    assert not [step for step in part(TMPFS, fresh=True).host if isinstance(step, SetAside)]


def test_a_root_whose_device_number_has_changed_is_the_same_root():
    """After a reboot a disk may have another number; the layer is still its own, and what is opened is what was
    seen this time."""
    moved = replace(FACTS, paths={"/srv/root": replace(FOLDER, device=99)})
    assert layer_base(GOOD, moved) == layer_base(GOOD, FACTS)
    assert only(part(facts=moved).host, Open, to="root-folder").device == 99
    assert check(GOOD, replace(moved, layer=layer_base(GOOD, FACTS)), Call(), Accounts("", "")) == ()


@pytest.mark.parametrize("other", [replace(FOLDER, inode=43)])
def test_another_folder_at_the_path_is_another_root(other):
    changed = replace(FACTS, paths={"/srv/root": other}, layer=layer_base(GOOD, FACTS))
    assert [finding.code for finding in check(GOOD, changed, Call(), Accounts("", ""))] == ["other-root"]


def test_the_hosts_programs_are_one_root_whatever_their_inode():
    assert json.loads(layer_base(HOST, FACTS)) == {"version": 1, "root": "host", "inode": 0}


def test_the_lowest_layer_has_what_a_root_may_lack():
    made = skeleton(GOOD)
    assert set(made) == {*MOUNT_POINTS, "tmp"}
    assert all(isinstance(step, MakeFolder) for step in made.values())
    assert made["tmp"].mode == 0o1777


def test_mount_points_come_with_the_folders_above_them():
    made = skeleton(GOOD, [("/srv/a/b", True), ("/etc/deep/file", False)])
    assert {"srv", "srv/a", "srv/a/b", "etc/deep", "etc/deep/file"} <= set(made)
    assert isinstance(made["etc/deep/file"], MakeFile)
    assert isinstance(made["srv/a/b"], MakeFolder)


def test_a_fresh_root_has_links_accounts_and_places_to_write():
    made = skeleton(HOST)
    for name, target in {**HOST_LINKS, **HOST_VAR_LINKS}.items():
        assert (type(made[name]), show(made[name].target)) == (MakeLink, target)
    assert show(made["etc/passwd"].content).startswith("root:x:0:0:")
    assert (made["root"].mode, made["var/tmp"].mode, made["tmp"].mode) == (0o700, 0o1777, 0o1777)
    assert overlay(HOST)[0][0] == "lowerdir=/run/skeleton:/run/empty"  # a mount without an upper one needs two


@pytest.mark.parametrize(
    ("point", "name", "mode"),
    [
        ("/tmp/x", "tmp", 0o1777),
        ("/tmp", "tmp", 0o1777),
        ("/var/tmp/x/y", "var/tmp", 0o1777),
        ("/root/.cache", "root", 0o700),
    ],
)
def test_a_mount_leaves_the_folder_above_it_the_mode_it_has(point, name, mode):
    """/tmp is everybody's, also where a volume lies in it."""
    assert skeleton(HOST, [(point, True)])[name].mode == mode


@pytest.mark.parametrize("point", ["/bin/tool", "/lib/x/y", "/var/run/sock", "/var/lock", "/etc/os-release"])
def test_a_mount_behind_a_link_lies_where_the_link_leads(point):
    assert skeleton(HOST, [(point, False)]) == skeleton(HOST)
    assert point.strip("/") in skeleton(GOOD, [(point, False)])  # another root has no such link


@pytest.mark.parametrize("name", ["passwd", "group", "nsswitch.conf", "hosts"])
def test_a_mount_over_a_file_of_the_fresh_root_makes_no_second_one(name):
    made = skeleton(HOST, [(f"/etc/{name}", False), (f"/etc/{name}", False)])
    assert isinstance(made[f"etc/{name}"], MakeFile)


def test_the_merged_root_is_attached_as_the_hosts_root_again():
    back, folder, attach, *checked = attach_root().guard
    assert (show(back.uid), show(folder.path)) == ("0", "/run/root")
    assert attach == Attach(mount="merged", path=("/run/root",))
    assert [show(step.path) for step in checked] == [f"/run/root/{name}" for name in ("dev", "proc", "run", "sys")]


def test_the_folders_that_an_image_says_it_has_lie_below_it_where_they_can():
    facts = replace(FACTS, image=IMAGE)
    made = skeleton(stored(rootfs=f"cas://sha256:{IMAGE.digest}"), [("/etc/hosts", False)], facts)
    assert [isinstance(made[name], MakeFolder) for name in ("srv/app", "data/a", "data/b", "tmp/x")] == [True] * 4
    assert isinstance(made["etc/hosts"], MakeFile)
    assert "etc/hosts/below" not in made


@pytest.mark.parametrize(
    ("kernel", "filesystem", "loops", "way"),
    [
        ((6, 12), "ext4", False, "file"),
        ((6, 12), "ext4", True, "file"),
        ((6, 11), "ext4", True, "loop"),
        ((6, 5), "ext4", True, "loop"),
        ((6, 4), "ext4", True, "unpacked"),
        ((6, 11), "ext4", False, "unpacked"),
        ((6, 12), "overlay", True, "loop"),
        ((6, 12), "overlay", False, "unpacked"),
        ((6, 12), "tmpfs", True, "unpacked"),
    ],
)
def test_an_image_is_mounted_as_this_kernel_can(kernel, filesystem, loops, way):
    assert way_to_mount(kernel, filesystem, loops=lambda: loops) == way


def test_through_a_loop_device_the_root_is_the_same_in_all_else():
    ways = [part(facts=replace(FACTS, image=replace(IMAGE, loop=loop))) for loop in (False, True)]
    (file,), (loop,) = ([*{*one.host} - {*other.host}] for one, other in (ways, ways[::-1]))
    assert isinstance(file, MakeFilesystem)
    assert isinstance(loop, MountLoop)
    assert (loop.file, loop.type, loop.attrs, loop.to) == (text("/i"), file.type, file.attrs, file.to)
    assert ways[0].guard == ways[1].guard


def test_where_an_image_keeps_data_and_cannot_is_noted():
    facts = replace(FACTS, image=replace(IMAGE, volumes=("/a", "/b/c", "/b/d", "/bb", "/tmp/x", "/run")))
    assert image_notes(GOOD, facts) == image_notes(NONE, FACTS) == ()
    placed = stored(
        writable_layer=WritableLayerMode.NONE,
        volumes=(Volume(host="/srv", container="/b"),),
        tmpfs=(Tmpfs("/a/below"),),
    )
    for workload, lost in (
        (NONE, ["/a", "/b/c", "/b/d", "/bb"]),
        (READ_ONLY, ["/a", "/b/c", "/b/d", "/bb"]),
        (placed, ["/a", "/bb"]),
    ):
        assert [one.partition(":")[0] for one in image_notes(workload, facts)] == lost
