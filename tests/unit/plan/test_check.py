"""What a plan refuses, with the code and the key of each finding."""

from dataclasses import replace

import pytest

from volt.errors import HostUnfit
from volt.model.facts import Bridge, Call, Facts, Folders, ImageFact, PathFact, ProfileText
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.workload import Network, Port, Security, Storage, User, Volume, Workload
from volt.plan.check import LATER, Accounts, check
from volt.plan.image import require_mountable

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


BRIDGE = Bridge("volt0", "10.189.0.0/16", "fd12:3456:789a::/64", 1500, 4026531840)


@pytest.mark.parametrize("mode", [None, NetworkMode.BRIDGE])
def test_the_bridge_is_joined_by_default_where_it_can_have_its_subnet(mode):
    joining = replace(GOOD, network=Network(mode=mode))
    assert codes(joining, at(bridge=BRIDGE)) == []
    assert codes(joining, at(bridge=replace(BRIDGE, problem="taken"))) == [("no-subnet", "network.mode")]


def test_an_address_is_one_of_the_subnets_and_nobody_elses():
    good = ("10.189.0.2", "10.189.255.254", "10.189.0.7/16", "fd12:3456:789a::abd:7", "fd12:3456:789a::abd:7/64")
    bad = ("10.189.0.0", "10.189.0.1", "10.189.255.255", "10.190.0.7", "10.189.0.7/24", "fd12:3456:789a::7")
    bad += ("fd12:3456:789a:0:1::abd:7", "fd13::abd:7", "2001:db8::1")
    for address in (*good, *bad):
        joining = replace(GOOD, network=Network(address=address))
        expected = [] if address in good else [("foreign-address", "network.address")]
        assert codes(joining, at(bridge=BRIDGE)) == expected, address


def test_a_network_of_ones_own_is_one_that_there_is():
    joining = replace(GOOD, network=Network(mode=NetworkMode.CUSTOM, name="lan"))
    assert codes(joining, at(bridge=replace(BRIDGE, network="lan"))) == []
    assert codes(joining, at(bridge=replace(BRIDGE, network="lan", problem="taken"))) == [("no-subnet", "network.name")]
    absent = Bridge("", "", "", 0, 4026531840, network="lan", near="lam")
    (found,) = check(joining, at(bridge=absent), Call(), Accounts("", ""))
    assert (found.code, found.key) == ("unknown-network", "network.name")
    assert found.hint == "did you mean 'lam'? else make it first: volt net create lan"


def test_nothing_is_published_on_an_internal_network():
    joining = replace(GOOD, network=Network(mode=NetworkMode.CUSTOM, name="lan", ports=(Port(80),)))
    inside = at(bridge=replace(BRIDGE, network="lan", internal=True))
    assert ("published-internal", "network.ports") in codes(joining, inside)
    assert ("published-internal", "network.ports") not in codes(joining, at(bridge=replace(BRIDGE, network="lan")))


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
    ],
)
def test_a_later_field_is_a_finding_and_never_ignored(workload, key):
    assert ("not-in-this-version", key) in codes(workload)


DIGEST = "ab" * 32
TREE = f"cas://sha256:{DIGEST}"


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (ImageFact("storage.rootfs", DIGEST, "/i", "/o", "/l", "ext4"), []),
        (ImageFact("storage.rootfs", state="malformed"), [("bad-digest", "storage.rootfs")]),
        (ImageFact("storage.rootfs", state="absent"), [("no-image", "storage.rootfs")]),
        (ImageFact("storage.rootfs", state="no-tree"), [("no-tree", "storage.rootfs")]),
        (None, [("no-image", "storage.rootfs")]),
    ],
)
def test_an_image_that_is_not_there_is_a_finding_where_it_is_named(image, found):
    assert codes(stored(rootfs=TREE), at(image=image)) == found
    by_name = replace(stored(rootfs=None), image="web:1")
    image = image and replace(image, key="workload.image")
    assert codes(by_name, at(image=image)) == [(code, "workload.image") for code, _ in found]


def test_a_layer_of_another_tree_is_a_finding():
    image = ImageFact("storage.rootfs", DIGEST, "/i", "/o", "/l", "ext4")
    same = f'{{"version": 1, "root": "{TREE}", "inode": 0}}\n'
    assert codes(stored(rootfs=TREE), at(image=image, layer=same)) == []
    for other in (same.replace("ab", "cd"), '{"version": 1, "root": "/srv/root", "inode": 42}\n'):
        assert codes(stored(rootfs=TREE), at(image=image, layer=other)) == [("other-root", "storage.rootfs")]
    assert codes(stored(), at(layer=same)) == [("other-root", "storage.rootfs")]


@pytest.mark.parametrize(
    ("kernel", "filesystem", "message"),
    [
        (
            (6, 1),
            "tmpfs",
            "the store lies on tmpfs, from which Linux 6.1 mounts no image, and which it cannot idmap: /i",
        ),
        ((6, 12), "overlay", "the store lies on overlay, from which Linux 6.12 mounts no image"),
        ((6, 11), "zfs", "the store lies on zfs, from which Linux 6.11 mounts no image"),
    ],
)
def test_a_machine_that_can_mount_neither_an_image_nor_its_tree_unpacked_is_named(kernel, filesystem, message):
    image = ImageFact("storage.rootfs", DIGEST, "/i", "/o", "/l", filesystem)
    with pytest.raises(HostUnfit, match=message):
        require_mountable(at(image=image, kernel=kernel))
    require_mountable(at(image=replace(image, folder=PathFact("folder")), kernel=kernel))
    require_mountable(at(image=replace(image, filesystem="ext4"), kernel=(6, 12)))
    if kernel >= (6, 5) and filesystem != "tmpfs":
        require_mountable(at(image=replace(image, loop=True), kernel=kernel))
    require_mountable(at(kernel=kernel))  # without one nothing is asked


@pytest.mark.parametrize("name", ["default", "strict", "unconfined"])
def test_a_filter_that_volt_ships_may_be_named(name):
    assert codes(replace(GOOD, security=Security(seccomp_profile=name))) == []


PATH = "/srv/seccomp.json"
OWN = replace(GOOD, security=Security(seccomp_profile=PATH))


def profile(text="", **values):
    return at(seccomp=ProfileText(PATH, text, **values))


def messages(facts):
    return [finding.message for finding in check(OWN, facts, Call(), Accounts("root:x:0:0::/root:/bin/sh\n", ""))]


def test_a_profile_of_ones_own_has_to_be_readable():
    facts = profile(problem="cannot be read: No such file or directory")
    assert codes(OWN, facts) == [("bad-seccomp-file", "security.seccomp_profile")]
    assert messages(facts) == [f"{PATH} cannot be read: No such file or directory"]


def test_everything_that_is_wrong_with_a_profile_is_told_at_once():
    facts = profile('{"wall": 1, "flags": ["LOG"]}')
    assert [code for code, _ in codes(OWN, facts)] == ["bad-seccomp-file"] * 2 + ["unkept-seccomp-rule"]
    assert all(message.startswith(f"{PATH}: ") for message in messages(facts))
    assert [code for code, _ in codes(OWN, profile("format = 1"))] == ["bad-seccomp-file"] * 3


def test_of_very_many_mistakes_some_are_counted():
    facts = profile("format = 1\n" + "".join(f"key{number} = 0\n" for number in range(50)))
    told = messages(facts)
    assert len(told) == 21
    assert told[-1] == f"{PATH}: and 33 more"


def test_a_profile_that_sudos_user_cannot_read_is_not_quoted():
    facts = profile('{"secret": 1, "flags": ["secret"]}', quotable=False)
    assert [code for code, _ in codes(OWN, facts)] == ["bad-seccomp-file", "unkept-seccomp-rule"]
    assert "secret" not in str(messages(facts))


def test_rules_that_would_mean_something_else_here_are_told():
    rules = '{"names": ["read"], "action": "SCMP_ACT_ERRNO"}, {"names": ["read"], "action": "SCMP_ACT_ALLOW"}'
    facts = profile(f'{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}')
    assert codes(OWN, facts) == [("unkept-seccomp-rule", "security.seccomp_profile")]


def test_rules_for_capabilities_that_the_payload_lacks_are_not_looked_at():
    other = '{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}'
    rules = f'{{"names": ["read"], "action": "SCMP_ACT_ERRNO"}}, {other}'
    facts = profile(f'{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}')
    assert codes(OWN, facts) == []
    admin = replace(OWN, security=replace(OWN.security, capabilities=("SYS_ADMIN",)))
    assert codes(admin, facts) == [("unkept-seccomp-rule", "security.seccomp_profile")]


def test_ports_of_the_hosts_network_are_declared():
    assert codes(replace(GOOD, network=Network(mode=NetworkMode.HOST, ports=(Port(8080),)))) == []


@pytest.mark.parametrize("key", ["security.landlock_profile", "security.landlock_policy"])
def test_a_policy_that_cannot_be_read_is_a_finding_at_the_key_that_names_it(key):
    named = {"landlock_profile": "custom", "landlock_policy": "/p.toml"}
    security = Security(**named) if key.endswith("policy") else Security(landlock_profile="/p.toml")
    facts = replace(FACTS, landlock=ProfileText("/p.toml", problem="cannot be read: No such file or directory"))
    (finding,) = check(replace(GOOD, security=security), facts, Call(), Accounts("", ""))
    assert (finding.code, finding.key, finding.place) == ("bad-landlock-policy", key, None)
    assert "No such file" in finding.message
