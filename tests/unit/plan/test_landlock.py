"""A policy on a workload and a kernel: how the manifest extends it, and which wall holds what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from docs.landlock import missing, profile_on, profile_text
from tests.unit.plan.test_check import FACTS, GOOD
from volt.errors import HostUnfit
from volt.model.facts import Call, ProfileText
from volt.model.landlock import FILES, RIGHTS, abi_of
from volt.model.modes import NetworkMode, WritableLayerMode
from volt.model.steps import AllowBeneath, AllowOpened, AllowPorts, MakeRuleset, Open, RestrictSelf, SendNetlink
from volt.model.text import show
from volt.model.workload import Network, Port, Security, Tmpfs, Volume
from volt.plan.landlock import apply, check_enforced, landlock_part, notes, unenforced

STANDARD = ("stdin", "", "stderr")
NEWEST = 7
HOST = Network(mode=NetworkMode.HOST)


def workload(network=None, **storage):
    kept = {"writable_layer": WritableLayerMode.NONE, **storage}
    return replace(GOOD, network=network or GOOD.network, storage=replace(GOOD.storage, **kept))


def applied(source, work=None, abi=NEWEST):
    text = profile_text(source) if source in ("strict", "default", "permissive") else ProfileText("p.toml", source)
    return apply(text, work or workload(), replace(FACTS, landlock_abi=abi, nftables=True))


def steps(source, work=None, abi=NEWEST, call=None):
    work = work or workload()
    return landlock_part(applied(source, work, abi), work, call or Call(), STANDARD).init


def rights_at(path, source, work):
    """What the steps give at a path, by rules on it and above it."""
    found = set()
    for step in steps(source, work):
        if isinstance(step, AllowBeneath):
            at = show(step.path)
            if at in (path, "/") or path.startswith(f"{at}/"):
                found |= {*step.access}
    return found


# ── extension


@pytest.mark.parametrize("name", ["default", "strict"])
def test_a_writable_volume_can_be_written_and_a_read_only_one_cannot(name):
    volumes = (Volume("/srv/data", "/data"), Volume("/srv/data", "/assets", readonly=True))
    work = workload(volumes=volumes)
    assert {"write_file", "make_reg", "truncate"} <= rights_at("/data/x", name, work)
    assert "read_file" in rights_at("/assets/x", name, work)
    assert not {"write_file", "make_reg", "truncate"} & rights_at("/assets/x", name, work)
    assert "write_file" not in rights_at("/data", name, workload())


@pytest.mark.parametrize("name", ["default", "strict"])
def test_a_tmpfs_can_be_written(name):
    assert "write_file" in rights_at("/cache/x", name, workload(tmpfs=(Tmpfs("/cache"),)))
    assert "write_file" not in rights_at("/cache/x", name, workload())


@pytest.mark.parametrize("name", ["default", "strict"])
def test_a_writable_layer_gives_the_whole_root(name):
    for layer in (WritableLayerMode.OVERLAY, WritableLayerMode.TMPFS):
        assert "write_file" in rights_at("/srv/x", name, workload(writable_layer=layer))
    assert "write_file" not in rights_at("/srv/x", name, workload())
    read_only = replace(workload(writable_layer=WritableLayerMode.OVERLAY), security=Security(read_only_rootfs=True))
    assert "write_file" not in rights_at("/srv/x", name, read_only)


def in_app(**storage):
    return replace(workload(**storage), workdir="/app")


def test_the_folder_of_the_command_has_programs_where_nothing_inside_can_change_them():
    """Neither it nor what is mounted in it: a rule gives to all that is beneath."""
    assert "execute" in rights_at("/app/run", "strict", in_app())
    changed = (
        in_app(writable_layer=WritableLayerMode.OVERLAY),
        in_app(writable_layer=WritableLayerMode.TMPFS),
        in_app(volumes=(Volume("/srv/data", "/app"),)),
        in_app(volumes=(Volume("/srv/data", "/app/data"),)),
        in_app(tmpfs=(Tmpfs("/app/cache"),)),
    )
    for work in changed:
        assert {"read_file", "read_dir"} <= rights_at("/app/run", "strict", work)
        assert "execute" not in rights_at("/app/run", "strict", work)
    assert "execute" not in rights_at("/tmp/app/run", "strict", replace(workload(), workdir="/tmp/app"))
    assert "write_file" not in rights_at("/app/run", "strict", in_app())
    volume = in_app(volumes=(Volume("/srv/app", "/app", readonly=True),))
    assert "execute" in rights_at("/app/run", "strict", volume)
    read_only = in_app(writable_layer=WritableLayerMode.OVERLAY)
    assert "execute" in rights_at("/app/run", "strict", replace(read_only, security=Security(read_only_rootfs=True)))


def test_the_whole_root_has_no_programs():
    assert "execute" not in rights_at("/app/run", "strict", workload())
    assert "execute" not in rights_at("/app/run", "strict", replace(workload(), workdir="/"))


def test_strict_runs_nothing_where_data_lies():
    work = workload(volumes=(Volume("/srv/data", "/data"),), tmpfs=(Tmpfs("/cache"),))
    for path in ("/tmp/x", "/run/x", "/data/x", "/cache/x", "/var/x", "/home/x", "/dev/shm/x"):
        assert "execute" not in rights_at(path, "strict", work), path
        assert "execute" in rights_at(path, "default", work), path


# ── ports


def ports(source, network):
    made = [step for step in steps(source, workload(network)) if isinstance(step, AllowPorts)]
    (ruleset,) = [step for step in steps(source, workload(network)) if isinstance(step, MakeRuleset)]
    return ruleset.ports, [(step.first, step.last, step.access) for step in made]


DECLARED = (*(Port(number) for number in (8080, 9000, 9001, 9002)), Port(53, protocol="udp"))


def test_binding_is_free_in_permissive_and_where_nothing_is_reachable():
    assert ports("permissive", HOST) == ((), [])
    assert ports("default", Network(mode=NetworkMode.NONE)) == ((), [])


def test_binding_is_limited_to_the_declared_ports_in_the_hosts_network():
    withheld, given = ports("default", replace(HOST, ports=DECLARED))
    assert withheld == ("bind_tcp",)
    assert given == [(8080, 8080, ("bind_tcp",)), (9000, 9002, ("bind_tcp",))]


def test_strict_limits_binding_and_connecting_everywhere():
    both = ("bind_tcp", "connect_tcp")
    assert ports("strict", Network(mode=NetworkMode.NONE)) == (both, [])
    withheld, given = ports("strict", replace(HOST, ports=DECLARED))
    assert withheld == both
    assert given == [(53, 53, ("connect_tcp",)), (8080, 8080, both), (9000, 9002, both)]


def sent(source, abi=2, network=None):
    """What nftables opens, as the steps that send the rules say."""
    made = [step for step in steps(source, workload(network), abi) if isinstance(step, SendNetlink)]
    return [step.note for step in made]


BOTH = 'port = [0, 80, 443, 444]\nallowed_access = ["bind_tcp", "connect_tcp"]\n'


def test_nftables_holds_ports_where_landlock_has_none_and_nowhere_else():
    said = ["security.landlock_profile: bind_tcp 80, 443-444, 32768-60999; connect_tcp 80, 443-444"]
    assert sent(f"[[net_port]]\n{BOTH}") == said
    assert sent(f"[[net_port]]\n{BOTH}", abi=3) == said
    assert sent(f"[[net_port]]\n{BOTH}", abi=4) == []
    assert sent(f'[[net_port]]\nenforce = "use"\n{BOTH}', network=HOST) == []
    assert sent("strict") == ["security.landlock_profile: bind_tcp none; connect_tcp none"]
    assert sent("default") == sent("permissive") == []


def test_where_landlock_is_missing_altogether_the_rules_are_sent_all_the_same():
    assert [type(step) for step in steps(f"[[net_port]]\n{BOTH}", abi=0)] == [SendNetlink]


# ── the steps


def test_the_ruleset_is_made_first_and_entered_last():
    made = steps("strict")
    assert (type(made[0]), type(made[-1])) == (MakeRuleset, RestrictSelf)
    assert {type(step) for step in made[1:-1]} <= {AllowBeneath, AllowOpened, AllowPorts}


def test_what_the_caller_handed_in_can_be_opened_again():
    (opened,) = [step for step in steps("strict") if isinstance(step, AllowOpened)]
    assert opened.descriptors == ("stdin", "stderr")
    assert not [step for step in steps("permissive") if isinstance(step, AllowOpened)]


@pytest.mark.parametrize("abi", range(1, NEWEST + 1))
@pytest.mark.parametrize("name", ["default", "strict", "permissive"])
def test_a_kernel_is_asked_for_no_right_that_it_lacks(name, abi):
    made = steps(name, workload(replace(HOST, ports=DECLARED)), abi)
    if not made:
        assert (name, abi < 6) == ("permissive", True)
        return
    asked = {*made[0].files, *made[0].ports, *made[0].scopes}
    assert {abi_of(right) for right in asked} <= {*range(abi + 1)}
    for step in made[1:-1]:
        assert step.access
        assert {*step.access} <= asked, step


def test_links_are_told_by_the_root_below_where_a_payload_wrote_before():
    kept = workload(writable_layer=WritableLayerMode.OVERLAY)
    host = replace(kept, storage=replace(kept.storage, rootfs="host"))

    def trust(work, call=None):
        part = landlock_part(applied("default", work), work, call or Call(), STANDARD)
        found = {(step.links, step.image) for step in part.init if isinstance(step, AllowBeneath)}
        return found, part.inherited, [show(step.path) for step in part.guard if isinstance(step, Open)]

    assert trust(workload()) == ({(True, "")}, (), [])
    assert trust(kept) == ({(False, "lower")}, ("lower",), [])
    assert trust(host) == ({(False, "skeleton")}, ("skeleton",), ["/run/skeleton"])
    assert trust(kept, Call(fresh=True)) == ({(True, "")}, (), [])


# ── what holds it


@pytest.mark.parametrize("name", ["default", "strict", "permissive"])
def test_landlock_itself_holds_everything_from_abi_6_on(name):
    for mode in (NetworkMode.NONE, NetworkMode.HOST):
        assert {one.wall for one in profile_on(name, 6, mode).held} == {"Landlock"}


def test_on_linux_6_1_other_walls_hold_what_strict_requires():
    """In a network namespace of its own: so it starts there."""
    walls = {one.right: one.wall for one in profile_on("strict", 2, NetworkMode.NONE).held}
    assert walls["truncate"] == "read-only mounts"
    assert walls["bind_tcp"] == walls["connect_tcp"] == "nftables rules in the network namespace"
    assert walls["abstract_unix_socket"] == "the network namespace"
    assert walls["signal"] == "the pid namespace"
    assert walls["ioctl_dev"] == ""
    assert walls["write_file"] == walls["refer"] == "Landlock"


@pytest.mark.parametrize(
    ("abi", "lacks"),
    [
        (0, {"execute", "read_file", "read_dir", "make_char", "bind_tcp", "connect_tcp", "abstract_unix_socket"}),
        (2, {"bind_tcp", "connect_tcp", "abstract_unix_socket"}),
        (4, {"abstract_unix_socket"}),
        (6, set()),
    ],
)
def test_what_no_wall_holds_in_the_hosts_network_is_missing(abi, lacks):
    found = {*missing(profile_on("strict", abi, NetworkMode.HOST))}
    assert lacks <= found
    assert bool(lacks) == bool(found)


@pytest.mark.parametrize("abi", range(NEWEST + 1))
def test_default_and_permissive_start_on_every_kernel(abi):
    for name in ("default", "permissive"):
        for mode in (NetworkMode.NONE, NetworkMode.HOST):
            assert missing(profile_on(name, abi, mode)) == []


TRUNCATE = """
[[ruleset]]
handled_access_fs = ["truncate"]
[[path_beneath]]
allowed_access = ["truncate"]
parent = ["/tmp", "/run", "/dev/shm"]
enforce = "use"
"""


def test_a_read_only_mount_holds_only_where_all_that_can_be_written_has_a_rule():
    def wall(work, text=TRUNCATE):
        (held,) = applied(text, work, 2).held
        return held.wall

    assert wall(workload()) == "read-only mounts"
    assert wall(workload(volumes=(Volume("/srv/data", "/data", readonly=True),))) == "read-only mounts"
    assert wall(workload(volumes=(Volume("/srv/data", "/data"),))) == ""
    assert wall(workload(writable_layer=WritableLayerMode.TMPFS)) == ""
    assert wall(workload(), TRUNCATE.replace('"/run", ', "")) == ""


def test_a_right_that_only_a_rule_names_is_withheld_too():
    """As landlockconfig has it; the rule says how."""
    rule = '[[net_port]]\nport = [80]\nallowed_access = ["bind_tcp"]\n'
    (held,) = applied(rule, workload(HOST)).held
    assert (held.right, held.required) == ("bind_tcp", True)
    (held,) = applied(f'{rule}enforce = "use"', workload(HOST)).held
    assert not held.required
    (held,) = applied(f'{rule}[[ruleset]]\nenforce = "use"\nhandled_access_net = ["bind_tcp"]', workload(HOST)).held
    assert not held.required


# ── what is said


def enforced(name, work, abi, call=None, **others):
    facts = replace(FACTS, **{"landlock_abi": abi, "nftables": True, **others})
    source = profile_text(name)
    found = apply(source, work, facts)
    check_enforced(found, source, facts, call or Call())
    return found


def test_what_cannot_be_held_names_the_right_and_the_kernel_and_what_to_do():
    with pytest.raises(HostUnfit) as caught:
        enforced("strict", workload(HOST), 2)
    assert "strict" in caught.value.message
    assert "bind_tcp, connect_tcp (Linux 6.7); abstract_unix_socket (Linux 6.12)" in caught.value.message
    for words in ("Linux 6.12 or newer", 'mode = "none"', "--allow-unenforced landlock"):
        assert words in caught.value.hint


def test_without_landlock_the_boot_parameter_is_named():
    with pytest.raises(HostUnfit) as caught:
        enforced("strict", workload(), 0)
    assert "lsm=" in caught.value.hint
    assert 'mode = "none"' not in caught.value.hint  # it is


def test_without_nf_tables_no_port_is_held_and_that_is_the_reason():
    with pytest.raises(HostUnfit) as caught:
        enforced("strict", workload(), 2, nftables=False)
    assert "bind_tcp, connect_tcp (Linux 6.7)" in caught.value.message
    assert "abstract_unix_socket" not in caught.value.message
    assert caught.value.message.endswith("; its kernel has no nf_tables with nft_reject_inet")
    assert 'mode = "none"' not in caught.value.hint


@pytest.mark.parametrize("power", ["NET_ADMIN", "SYS_PTRACE"])
def test_where_the_payload_could_change_the_rules_they_hold_nothing(power):
    def given(*names):
        return replace(workload(), security=Security(capabilities=names))

    with pytest.raises(HostUnfit) as caught:
        enforced("strict", given("CHOWN", power), 2)
    assert f"could be changed with {power} of security.capabilities" in caught.value.message
    assert enforced("strict", given("CHOWN", "SYS_ADMIN", "NET_RAW"), 2)
    assert enforced("strict", given(power), NEWEST), "Landlock itself cannot be changed"
    found = applied('[[ruleset]]\nenforce = "use"\nhandled_access_net = ["bind_tcp"]', given(power), 2)
    assert "".join(notes(found)).endswith(
        f": without bind_tcp (Linux 6.7); nftables rules could be changed with {power} of security.capabilities"
    )


def test_a_waiver_starts_without_and_says_so():
    found = enforced("strict", workload(HOST), 2, Call(waived=("landlock",)))
    assert unenforced(found) == ("bind_tcp", "connect_tcp", "abstract_unix_socket")
    assert [note for note in notes(found) if "not enforced, as allowed: bind_tcp" in note]


def test_a_waiver_of_something_else_is_none():
    with pytest.raises(HostUnfit):
        enforced("strict", workload(HOST), 2, Call(waived=("resources",)))


def test_what_is_left_out_is_noted_and_on_a_new_kernel_nothing_is():
    said = "\n".join(notes(applied("default", workload(HOST), 2)))
    assert "without ioctl_dev (Linux 6.10); bind_tcp (Linux 6.7); abstract_unix_socket (Linux 6.12)" in said
    assert "signal by the pid namespace" in said
    for name in ("default", "strict", "permissive"):
        assert list(notes(applied(name, workload(HOST)))) == []


def test_every_right_has_one_wall_and_no_right_two():
    for abi in range(NEWEST + 1):
        held = [one.right for one in profile_on("strict", abi, NetworkMode.HOST).held]
        assert held == [right for right in RIGHTS if right in held]
        assert {*FILES} <= {*held}
