"""The sentences of an explanation, each from steps of the plan; whole explanations are stored in tests/plans."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans.test_plans import shipped_policy
from tests.unit.plan.test_check import FACTS, GOOD, at, stored
from volt.host.profiles import filter_profile, shipped_profile
from volt.model.explanation import FILE_RIGHTS, CapabilityClaim, PathClaim, PortClaim
from volt.model.facts import Call, PathFact
from volt.model.landlock import FILES
from volt.model.modes import NetworkMode, WritableLayerMode
from volt.model.sizes import Size
from volt.model.steps import (
    CAPABILITIES,
    OPERATIONS,
    FilterCalls,
    MakeFilesystem,
    NoNewPrivileges,
    RestrictSelf,
    SetMount,
)
from volt.model.workload import Network, Port, Security, Tmpfs, User, Volume
from volt.plan import seccomp
from volt.plan.assemble import make_plan
from volt.plan.explain import explain, left_section, profile_of
from volt.plan.explain_powers import POWERS

TOP = Path(__file__).parents[3]
NEW = replace(FACTS, kernel=(6, 18), kernel_release="6.18.0", landlock_abi=7)
LAYERLESS = stored(writable_layer=WritableLayerMode.NONE)
STRICT = replace(LAYERLESS, security=Security(landlock_profile="strict"))


def planned(workload=GOOD, facts=NEW, call=None):
    facts = facts if facts.landlock else replace(facts, landlock=shipped_policy(workload))
    text = filter_profile(workload.security.seccomp_profile or "default", boots=workload.boots)
    return make_plan(workload, facts, call or Call(), lambda caps: seccomp.filter_of(text, caps, facts))


def said_of(plan):
    return explain(plan, shipped_profile("seccomp", profile_of(plan)), "x86_64")


def section(subject, workload=GOOD, facts=NEW, call=None):
    """The statements on a subject: text → walls."""
    (found,) = [one for one in said_of(planned(workload, facts, call)).sections if one.subject == subject]
    return {one.text: one.walls for one in found.statements}


def altered(plan, kind, change):
    """The plan with each step of a kind changed, or left out for None."""

    def each(steps):
        made = (change(step) if isinstance(step, kind) else step for step in steps)
        return tuple(step for step in made if step is not None)

    return replace(plan, host=each(plan.host), guard=each(plan.guard), init=each(plan.init), payload=each(plan.payload))


# ── files


def test_a_kept_layer_is_written_where_it_is_kept():
    where = "a layer that is kept in /var/lib/volt/layers/web for the next run"
    assert section("write")[f"It may write, make and remove files in all of its root: {where}."] == ()


def test_a_layer_in_memory_is_gone_with_the_run():
    found = section("write", stored(writable_layer=WritableLayerMode.TMPFS))
    assert "It may write, make and remove files in all of its root: memory that is gone with the run." in found


def test_without_a_layer_two_walls_hold_the_root():
    assert section("write", LAYERLESS)["Elsewhere it writes nothing."] == ("Landlock", "mounts")
    assert section("write", LAYERLESS, replace(NEW, landlock_abi=0))["Elsewhere it writes nothing."] == ("mounts",)


def test_a_volume_is_the_hosts_wherever_the_root_is_writable_too():
    volume = Volume("/srv/data", "/data")
    for workload in (stored(volumes=(volume,)), stored(volumes=(volume,), writable_layer=WritableLayerMode.NONE)):
        assert "It may write, make and remove files in /data: the host's /srv/data." in section("write", workload)


def test_a_path_is_said_as_it_is_written():
    facts = at(paths={"/srv/{a} b": PathFact("folder", 1, 7, 1000, 1000, "ext4", idmappable=True)}, landlock_abi=7)
    said = section("write", stored(volumes=(Volume("/srv/{a} b", "/{data}"),)), facts)
    assert "It may write, make and remove files in /{data}: the host's /srv/{a} b." in said


def test_a_read_only_volume_below_a_writable_root_is_an_exception():
    found = section("write", stored(volumes=(Volume("/srv/data", "/data", readonly=True),)))
    assert found["Nothing is changed in /data, /run/host and /sys."] == ("mounts",)


def test_a_single_file_is_written_to_and_nothing_is_made_in_it():
    facts = at(paths={"/srv/a.conf": PathFact("file", 1, 7, 1000, 1000, "ext4", idmappable=True)}, landlock_abi=7)
    found = section("write", stored(volumes=(Volume("/srv/a.conf", "/etc/a.conf"),)), facts)
    assert "It may write to /etc/a.conf: the host's /srv/a.conf." in found


def test_strict_reads_what_its_rules_name():
    found = section("read", STRICT)
    assert found["Elsewhere it reads nothing."] == ("Landlock",)
    (listed,) = [text for text in found if text.startswith("It may read ")]
    assert "/etc, " in listed
    assert "/mnt" not in listed


def test_what_is_covered_is_said():
    (text,) = [text for text in section("read") if "covered" in text]
    assert "/sys/firmware" in text


def test_whether_what_is_written_can_be_executed():
    own = "Nothing that it writes itself can be executed, only handed to an interpreter."
    assert section("execute", STRICT)[own] == ("Landlock", "mounts")
    text = "What it writes itself it can execute in /run and /tmp, or hand to an interpreter."
    assert text in section("execute", LAYERLESS)


def test_a_custom_set_of_rights_is_said_word_by_word():
    found = section("write", LAYERLESS)
    text = "It may write to and remove, but not make, files in /dev: the few devices that every workload has."
    assert found[text] == ("Landlock",)


# ── ports and what is in reach


def test_a_network_namespace_of_its_own():
    assert list(section("bind")) == ["It may bind any TCP port, where nothing outside reaches it."]
    assert list(section("connect")) == ["It may connect to any TCP port of its own."]
    reach = section("reach")
    assert reach["It has a loopback interface of its own and no other network."] == ("network namespace",)
    assert reach["It sees and signals its own processes alone."] == ("pid namespace", "Landlock")
    assert reach["It reaches no abstract Unix socket of the host's."] == ("network namespace", "Landlock")


def test_low_ports_take_a_capability():
    found = section("bind", replace(GOOD, security=Security(capabilities=())))
    assert found["It cannot bind ports below 1024: it lacks NET_BIND_SERVICE."] == ("capabilities",)


def test_the_hosts_network_with_declared_ports():
    network = Network(mode=NetworkMode.HOST, ports=(Port(8080), Port(9000), Port(9001)))
    strict = replace(GOOD, network=network, security=Security(landlock_profile="strict"))
    assert section("bind", strict)["It binds TCP ports 8080 and 9000 to 9001 alone."] == ("Landlock",)
    assert section("connect", strict)["It connects to TCP ports 53, 8080 and 9000 to 9001 alone."] == ("Landlock",)
    assert section("reach", strict)["It reaches no abstract Unix socket of the host's."] == ("Landlock",)
    open_ = replace(GOOD, network=network, security=Security(landlock_profile="permissive"))
    assert section("bind", open_)["It may bind any TCP port of the host's."] == ()
    assert section("reach", open_)["It reaches the host's abstract Unix sockets."] == ()
    assert "The network of the host: its interfaces, addresses and ports." in section("shared", open_)


def test_ports_that_nftables_hold_in_landlocks_place():
    facts = replace(FACTS, nftables=True)
    assert section("bind", STRICT, facts)["It may bind any TCP port; none can be connected to."] == ("nftables",)
    assert section("connect", STRICT, facts)["It connects to no TCP port."] == ("nftables",)
    note = "In Landlock's place nftables rules in the network namespace withhold binding TCP ports and connecting"
    assert f"{note} to TCP ports." in section("unenforced", STRICT, facts)


def test_no_port_at_all():
    assert section("bind", STRICT)["It binds no TCP port."] == ("Landlock",)


def test_of_a_port_that_takes_a_capability_it_lacks_nothing_is_claimed_possible():
    network = Network(mode=NetworkMode.HOST, ports=(Port(80), Port(8080)))
    plan = planned(replace(GOOD, network=network, security=Security(landlock_profile="strict")))
    ports = [claim for claim in said_of(plan).claims() if isinstance(claim, PortClaim) and claim.act == "bind"]
    assert [(claim.first, claim.last, claim.allowed) for claim in ports] == [(8080, 8080, True), (1, 65535, False)]


# ── identity and capabilities


def test_what_it_begins_with_and_what_its_environment_has():
    workload = replace(GOOD, command=("echo", "a {b}"), workdir="/srv")
    found = section("identity", workload, call=Call(env=(("TOKEN", "secret"),)))
    assert "It begins with echo 'a {b}', in /srv." in found
    assert "Its environment has PATH, HOME, USER, HOSTNAME and TOKEN; of the caller's nothing else." in found


def test_who_it_is():
    found = section("identity", replace(GOOD, user=User(1000, 1001)))
    assert found["It starts as user 1000 and group 1001."] == ()
    assert found["No program that it starts gains rights: set-uid bits count for nothing."] == ("no_new_privs",)
    assert "Owners and modes of files count besides all that is said of files here." in found


def test_the_default_capabilities_are_called_so():
    (text,) = section("capabilities")
    assert text.startswith("It has the default 11: CHOWN, ")


def test_what_is_beyond_the_default_is_said_with_what_it_does():
    found = section("capabilities", replace(GOOD, security=Security(capabilities=("CHOWN", "NET_RAW"))))
    assert found["Beyond the default: NET_RAW: to send and receive raw packets."] == ("user namespace",)
    assert "It has 2: CHOWN and NET_RAW. They count in its own namespaces alone." in found


def test_no_capabilities():
    assert list(section("capabilities", STRICT)) == ["It has no capabilities."]


def test_a_user_who_is_not_root_starts_with_none():
    (text,) = section("capabilities", replace(GOOD, user=User(1000, 1000)))
    assert text.startswith("It starts with none; within it can be no more than CHOWN, ")


def test_every_capability_and_right_has_words():
    assert {*POWERS} == {*CAPABILITIES}
    assert {*FILE_RIGHTS.values()} <= {*FILES}


# ── what is shared, and limits


def test_who_owns_what_in_a_volume():
    text = "/srv/data is /data, read and written; what uid 1000 and gid 1000 own there uid 0 and gid 0 own inside."
    assert text in section("shared", stored(volumes=(Volume("/srv/data", "/data"),)))


@pytest.mark.parametrize("volume", [{"ids": "same"}, {}])
def test_writing_as_the_hosts_root_is_said(volume):
    roots = at(paths={"/srv/data": PathFact("folder", 1, 43, 0, 0, "ext4", idmappable=True)}, landlock_abi=7)
    workload = stored(volumes=(Volume("/srv/data", "/data", owner_root=True, **volume),))
    (text,) = [text for text in section("shared", workload, roots) if text.startswith("/srv/data")]
    assert text.endswith("It writes there as the host's root.")


def test_the_kernel_is_shared_always():
    assert "The kernel, as every container does: a hole in it is a hole in these walls." in section("shared")


def test_limits_and_their_absence():
    workload = replace(stored(tmpfs=(Tmpfs("/cache", Size.parse("3M")),)), limits={"nofile": (100, 200)})
    found = section("limits", workload)
    assert found["Its limit of nofile is 100, which it may raise to 200."] == ("resource limits",)
    assert found["/cache holds up to 3 MiB."] == ("mounts",)
    assert "Nothing limits its memory, processors, disks or processes." in found


# ── what is left out


def left(*notes):
    return [one.text for one in left_section(replace(planned(), notes=notes)).statements]


def test_what_the_kernel_lacks_is_said_with_the_kernel_that_has_it():
    note = "security.landlock_profile: without ioctl_dev (Linux 6.10)"
    assert left(note) == ["Nothing here withholds commands to devices; Linux 6.10 would. The profile can do without."]


def test_what_was_waived_is_said_so():
    landlock = (
        "security.landlock_profile: not enforced, as allowed: bind_tcp, connect_tcp (Linux 6.7); signal (Linux 6.12)"
    )
    required = "The profile requires it; the caller allowed to go without."
    assert left(landlock, "resources.pids_max: not enforced, as allowed: no controller") == [
        f"Nothing here withholds binding TCP ports and connecting to TCP ports; Linux 6.7 would. {required}",
        f"Nothing here withholds signalling processes outside; Linux 6.12 would. {required}",
        "resources.pids_max is not held, as the caller allowed: no controller.",
    ]


def test_another_wall_in_landlocks_place_is_named():
    note = "security.landlock_profile: truncate by read-only mounts; signal by the pid namespace"
    assert left(note) == [
        "In Landlock's place read-only mounts withhold cutting files short.",
        "In Landlock's place the pid namespace withholds signalling processes outside.",
    ]


def test_every_other_note_is_said_as_it_is():
    assert left("kernel.version: ignored in container mode") == ["kernel.version: ignored in container mode."]


# ── as a document, and from the plan alone


def test_the_document_is_json_with_every_claim():
    said = said_of(planned())
    document = json.loads(json.dumps(said.document()))
    assert (document["version"], document["name"], document["mode"]) == (1, "web", "container")
    statements = [one for section in document["sections"] for one in section["statements"]]
    claims = [claim for one in statements for claim in one["claims"]]
    assert len(claims) == len(said.claims())
    assert {"kind": "path", "path": "/", "allowed": ["read", "list"], "refused": []} in claims
    assert {claim["kind"] for claim in claims} >= {"path", "hidden", "port", "reach", "call", "capability", "identity"}


CHANGES = {
    "Landlock that is not entered": (RestrictSelf, lambda _: None, "reach"),
    "no filter": (FilterCalls, lambda _: None, "calls"),
    "no_new_privs": (NoNewPrivileges, lambda _: None, "identity"),
    "a mount's attributes": (SetMount, lambda step: replace(step, attrs=("ro", "noexec")), "write"),
    "a folder's size": (MakeFilesystem, lambda step: replace(step, options=()) if step.to == "shm" else step, "limits"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_sentence_changes_with_the_step_that_it_is_made_from(name):
    kind, change, subject = CHANGES[name]
    plan = planned(stored(volumes=(Volume("/srv/data", "/data"),)))
    before, after = (
        {one.subject: one for one in said_of(each).sections}.get(subject)
        for each in (plan, altered(plan, kind, change))
    )
    assert before != after


def test_claims_on_paths_and_capabilities_are_the_plans():
    claims = said_of(planned(LAYERLESS)).claims()
    assert PathClaim("/", (), ("write", "truncate", "make", "remove")) in claims
    assert CapabilityClaim("ambient", ()) in claims


# Steps that give and withhold nothing by themselves: what they prepare is said where it is used.
SILENT = set(
    """
    Report Lifeline MakeFolder ClaimName ClaimRun WriteFile PinFile SetAside MakeCgroup JoinCgroup WatchLimits
    MakeSocket MemoryFile Seal SealInside SealProgram OpenNull TakeTerminal DieWithParent NewSession PrivateMounts
    RegisterMachine ClaimAddress ForgetConnections RelayLoopback PreparePorts
    Attach ActAs StopBy Detach MakePipe OpenLog ShareMount ShowRoot ShowNetwork
    ExpectInit LockMount MakeMachineId StartInit RestartBy
    MakeFile ProtectInit CoverBelow AllowOpened KeepCapabilities FilterInit
    """.split()
)


def test_every_step_is_read_or_has_nothing_to_say():
    """A new operation is given its sentence, or its place in SILENT."""
    sources = "".join(path.read_text() for path in (TOP / "volt/plan").glob("explain*.py"))
    assert {one.__name__ for one in OPERATIONS if f"{one.__name__})" in sources} == {
        one.__name__ for one in OPERATIONS
    } - SILENT
