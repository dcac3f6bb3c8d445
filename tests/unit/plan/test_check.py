"""What a plan refuses, with the code and the key of each finding."""

from dataclasses import replace

import pytest

from volt.model.facts import Call, Facts, Folders, PathFact
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.workload import Network, Security, Storage, User, Volume, Workload
from volt.plan.check import LATER, Accounts, check

FOLDER = PathFact("folder", 1, 42, 1000, 1000, "ext4", idmappable=True)
FACTS = Facts(
    architecture="x86_64",
    kernel=(6, 1),
    kernel_release="6.1.0",
    root=True,
    capabilities=0,
    nspawn="/usr/bin/systemd-nspawn",
    nspawn_version=252,
    cgroup_root="/sys/fs/cgroup",
    landlock_abi=2,
    program="/usr/lib/volt",
    boot_id="b",
    libseccomp="libseccomp.so.2",
    folders=Folders(),
    limits={"nofile": (1024, 4096)},
    paths={"/srv/root": FOLDER, "/srv/data": FOLDER},
)
GOOD = Workload(
    name="web",
    mode=Mode.CONTAINER,
    command=("true",),
    network=Network(mode=NetworkMode.NONE),
    storage=Storage(rootfs="/srv/root"),
)


def codes(workload=GOOD, facts=FACTS, call=None, passwd="root:x:0:0::/root:/bin/sh\n"):
    found = check(workload, facts, call or Call(), Accounts(passwd, ""))
    return [(finding.code, finding.key) for finding in found]


def stored(**values):
    return replace(GOOD, storage=replace(GOOD.storage, **values))


def at(**values):
    return replace(FACTS, paths={**FACTS.paths, **values.pop("paths", {})}, **values)


def test_a_good_workload_has_no_finding():
    assert codes() == []


def test_there_must_be_one_root():
    assert codes(stored(rootfs=None)) == [("no-root", "storage")]
    assert ("two-roots", "storage.rootfs") in codes(replace(GOOD, image="debian"))


@pytest.mark.parametrize("kind", ["missing", "file", "socket", "unreadable"])
def test_the_root_must_be_a_folder(kind):
    assert codes(facts=at(paths={"/srv/root": PathFact(kind)})) == [("bad-rootfs", "storage.rootfs")]


def test_what_cannot_be_idmapped_is_refused_with_its_name():
    on_nfs = replace(FOLDER, filesystem="nfs4", idmappable=False)
    facts = at(paths={"/srv/root": on_nfs})
    (finding,) = check(GOOD, facts, Call(), Accounts("", ""))
    assert (finding.code, finding.key) == ("no-idmap", "storage.rootfs")
    assert "nfs4" in finding.message


def test_there_must_be_something_to_run():
    idle = replace(GOOD, command=())
    assert codes(idle) == [("no-command", "workload.command")]
    assert codes(idle, call=Call(command=("sh",))) == []


def test_an_absent_network_mode_is_refused_with_the_line_to_add():
    (finding,) = check(replace(GOOD, network=Network()), FACTS, Call(), Accounts("", ""))
    assert (finding.code, finding.key) == ("no-network-mode", "network.mode")
    assert 'mode = "none"' in finding.hint


def test_custom_needs_a_network_and_a_policy():
    custom = replace(GOOD, network=Network(mode=NetworkMode.CUSTOM), security=Security(landlock_profile="custom"))
    assert {"no-network", "no-policy"} <= {code for code, _ in codes(custom)}


def test_a_user_must_be_in_the_image():
    assert codes(replace(GOOD, user=User("web"))) == [("unknown-user", "workload.user")]
    assert codes(replace(GOOD, user=User(4711))) == []


def volume(**values):
    return stored(volumes=(Volume(host="/srv/data", container="/data", **values),))


ROOTS = at(paths={"/srv/data": replace(FOLDER, uid=0, gid=0)})


@pytest.mark.parametrize("more", [{"readonly": True}, {"owner_root": True}])
def test_a_folder_of_roots_is_readonly_or_spelled_out(more):
    assert codes(volume(), ROOTS) == [("root-owner", "storage.volumes[0].host")]
    assert codes(volume(**more), ROOTS) == []


def test_a_folder_with_roots_group_counts_as_roots():
    assert codes(volume(), at(paths={"/srv/data": replace(FOLDER, gid=0)})) == [
        ("root-owner", "storage.volumes[0].host")
    ]


def test_all_ids_one_to_one_lets_the_inside_write_as_root():
    assert codes(volume(ids="same")) == [("root-owner", "storage.volumes[0].host")]
    assert codes(volume(ids="same", readonly=True)) == []


@pytest.mark.parametrize(("kind", "code"), [("missing", "missing-volume"), ("device", "device-volume")])
def test_a_volume_must_be_something_that_can_be_shared(kind, code):
    assert codes(volume(), at(paths={"/srv/data": PathFact(kind)})) == [(code, "storage.volumes[0].host")]


def test_a_layer_of_another_root_is_refused_unless_it_is_discarded():
    facts = replace(FACTS, layer='{"version": 1, "root": "/srv/other", "inode": 42}\n')
    assert codes(facts=facts) == [("other-root", "storage.rootfs")]
    assert codes(facts=facts, call=Call(fresh=True)) == []
    assert codes(stored(writable_layer=WritableLayerMode.TMPFS), facts) == []


def test_a_hard_limit_above_our_own_needs_cap_sys_resource():
    greedy = replace(GOOD, limits={"nofile": (10, 5000)})
    assert codes(greedy) == [("limit-too-high", "limits.nofile")]
    assert codes(greedy, replace(FACTS, capabilities=1 << 24)) == []


def test_every_later_field_is_refused_by_its_own_name():
    """No two rows share a key, and each names a field that the workload has."""
    keys = [key for key, _ in LATER]
    assert len(keys) == len(set(keys))
    for key in keys:
        section, name = key.split(".")
        holder = GOOD if section == "workload" else getattr(GOOD, section)
        assert hasattr(holder, name), key


@pytest.mark.parametrize(
    ("workload", "key"),
    [
        (replace(GOOD, mode=Mode.HYBRID_KVM), "workload.mode"),
        (replace(GOOD, security=Security(landlock_profile="strict")), "security.landlock_profile"),
        (replace(GOOD, security=Security(seccomp_profile="strict")), "security.seccomp_profile"),
        (replace(GOOD, network=Network(mode=NetworkMode.BRIDGE)), "network.mode"),
        (stored(rootfs="cas://sha256:0"), "storage.rootfs"),
    ],
)
def test_a_later_field_is_a_finding_and_never_ignored(workload, key):
    assert ("not-in-this-version", key) in codes(workload)


def test_the_default_filter_may_be_named():
    assert codes(replace(GOOD, security=Security(seccomp_profile="default"))) == []
