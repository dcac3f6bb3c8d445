"""The order of a plan, and what it is made from: the workload, the facts and the call, and nothing else."""

from dataclasses import replace

import pytest

from tests.plans.test_plans import shipped_policy
from tests.unit.plan.test_check import FACTS, GOOD
from volt.errors import HostUnfit, ManifestError
from volt.host.profiles import shipped_profile
from volt.model.facts import Call, Folders
from volt.model.modes import NetworkMode
from volt.model.steps import (
    AttachInside,
    ClaimName,
    ClaimRun,
    ClaimUids,
    CoverBelow,
    Execute,
    FilterCalls,
    FilterInit,
    KeepCapabilities,
    Lifeline,
    MakeCgroup,
    MakeFilesystem,
    MakeFolder,
    MakeRuleset,
    Mask,
    NoNewPrivileges,
    OpenTerminal,
    PrivateMounts,
    ProtectInit,
    ProtectPath,
    Report,
    RestrictSelf,
    SealFile,
    ShareMount,
    StartGuard,
    StartPayload,
    TakeTerminal,
    TimeLimit,
    WriteFile,
)
from volt.model.text import show
from volt.model.workload import Kernel, Network, Security, User
from volt.plan import seccomp
from volt.plan.assemble import make_plan

PROFILE = shipped_profile("seccomp", "default")


def plan(workload=GOOD, facts=FACTS, call=None):
    facts = facts if facts.landlock else replace(facts, landlock=shipped_policy(workload))
    return make_plan(workload, facts, call or Call(), lambda caps: seccomp.filter_of(PROFILE, caps, facts))


def kinds(steps):
    return [type(step) for step in steps]


def only(steps, kind):
    (step,) = [step for step in steps if isinstance(step, kind)]
    return step


def test_claims_come_before_the_record_and_the_record_before_all_that_a_crash_could_leave():
    order = kinds(plan().host)
    wanted = [ClaimRun, ClaimName, ClaimUids, WriteFile, MakeCgroup, StartGuard]
    assert [kind for kind in order if kind in wanted] == wanted
    assert order[-1] is StartGuard
    assert all(kind is MakeFolder for kind in order[: order.index(ClaimRun)])


def test_each_section_ends_as_what_it_becomes():
    made = plan()
    assert [show(word) for word in made.guard[-1].argv][:1] == ["/usr/bin/systemd-nspawn"]
    assert isinstance(made.guard[-1], Execute)
    assert StartPayload in kinds(made.init)
    assert kinds(made.payload)[-2:] == [FilterCalls, Execute]


def test_the_folders_are_made_from_the_top():
    folders = [show(step.path) for step in plan().host if isinstance(step, MakeFolder) and step.shared]
    assert folders == [
        "/run/volt",
        "/run/volt/uids",
        "/run/volt/runs",
        "/run/volt/names",
        "/var/lib/volt",
        "/var/lib/volt/layers",
    ]


def test_volt_root_moves_all_but_the_claims_on_ids():
    moved = replace(FACTS, folders=Folders("/t/state", "/t/run", "/t/log", "/t"))
    steps = plan(facts=moved).host
    assert show(only(steps, ClaimRun).folder) == "/t/run/runs"
    assert show(only(steps, ClaimName).folder) == "/t/run/names"
    assert show(only(steps, ClaimUids).folder) == "/run/volt/uids"


def test_no_folder_that_holds_layers_runs_or_claims_is_open_to_others():
    modes = {show(step.path): step.mode for step in plan().host if isinstance(step, MakeFolder)}
    closed = {path for path, mode in modes.items() if mode == 0o700}
    assert closed >= {"/run/volt/uids", "/run/volt/runs", "/run/volt/runs/{run}", "/var/lib/volt/layers"}
    assert set(modes.values()) <= {0o700, 0o711, 0o755}


def test_every_finding_is_raised_at_once():
    with pytest.raises(ManifestError) as caught:
        plan(replace(GOOD, command=(), user=User("nobody-here")))
    assert [finding.code for finding in caught.value.findings] == ["no-command", "unknown-user"]


def test_without_cgroup_v2_no_plan_is_possible():
    with pytest.raises(HostUnfit, match="cgroup v2 is not mounted"):
        plan(facts=replace(FACTS, cgroup_root=""))


def test_without_libseccomp_no_plan_is_possible(monkeypatch):
    def missing(*_args, **_options):
        raise seccomp.LibraryMissingError("libseccomp is missing")

    monkeypatch.setattr(seccomp, "compile_filter", missing)
    with pytest.raises(HostUnfit, match="libseccomp is missing"):
        plan()


def test_a_call_adds_its_outcome_its_lifeline_and_its_end_before_all_else():
    call = Call(report=7, lifeline=8, time_limit=1500)
    assert plan(call=call).host[:3] == (
        Report(descriptor=7),
        Lifeline(descriptor=8, note="the caller"),
        TimeLimit(milliseconds=1500, note="the caller's time limit"),
    )
    assert show(plan(call=Call(report="/o.json")).host[0].path) == "/o.json"


def test_an_outcome_on_descriptor_0_is_an_outcome():
    assert plan(call=Call(report=0)).host[0] == Report(descriptor=0)


def test_the_calls_command_replaces_the_workloads():
    assert [show(word) for word in plan().payload[-1].argv] == ["true"]
    assert [show(word) for word in plan(call=Call(command=("sh", "-c", "x"))).payload[-1].argv] == ["sh", "-c", "x"]


@pytest.mark.parametrize("terminal", range(8))
def test_each_standard_descriptor_is_a_terminals_or_handed_in(terminal):
    made = plan(call=Call(terminal=terminal))
    start = only(made.init, StartPayload)
    names = tuple("" if terminal >> n & 1 else name for n, name in enumerate(("stdin", "stdout", "stderr")))
    assert (start.stdio, start.terminal) == (names, terminal)
    assert [name for name in made.inherited if name.startswith("std")] == [name for name in names if name]
    # Only who types on a terminal needs it raw.
    assert (TakeTerminal in kinds(made.host)) is bool(terminal & 1)


def test_an_env_file_is_sealed_at_launch_and_its_values_are_in_no_plan():
    facts = replace(FACTS, paths={**FACTS.paths, "/srv/web.env": replace(FACTS.paths["/srv/data"], kind="file")})
    made = plan(replace(GOOD, env_file="/srv/web.env"), facts)
    assert show(only(made.host, SealFile).path) == "/srv/web.env"
    assert made.payload[-1].env_files == ("env-file",)
    assert "env-file" in made.inherited


def test_what_the_init_finds_open_is_what_nspawn_hands_on():
    made = plan()
    assert made.guard[-1].descriptors == made.inherited
    assert made.inherited[:3] == ("program", "control", "inside")


def test_a_fresh_root_has_accounts_of_its_own_until_the_layer_has_changed_them():
    host = replace(GOOD, user=User("daemon"), storage=replace(GOOD.storage, rootfs="host"))
    usr = replace(FACTS.paths["/srv/root"], filesystem="ext4")
    facts = replace(FACTS, paths={"/usr": usr, "/usr/local": usr})
    assert plan(host, facts)
    with pytest.raises(ManifestError):
        plan(host, replace(facts, passwd="root:x:0:0::/root:/bin/sh\n"))
    with pytest.raises(ManifestError):
        plan(replace(GOOD, user=User("daemon")))  # a folder without accounts


def test_what_a_plan_does_not_do_is_said():
    quiet = plan()
    loud = replace(
        GOOD,
        kernel=Kernel(version=">=6.1", modules=("dummy",), cmdline="quiet"),
        network=Network(mode=NetworkMode.HOST),
    )
    said = "\n".join(plan(loud).notes)
    for key in ("kernel.version", "kernel.modules", "kernel.cmdline", "network.mode = host"):
        assert key in said
        assert key not in "\n".join(quiet.notes)


def test_a_capability_to_mount_is_said_to_be_none_where_files_are_withheld():
    def said(**security):
        return "SYS_ADMIN mounts nothing" in "\n".join(plan(replace(GOOD, security=Security(**security))).notes)

    assert said(capabilities=("SYS_ADMIN",))
    assert not said(capabilities=("SYS_ADMIN",), landlock_profile="permissive")
    assert not said(capabilities=())


def test_capabilities_beyond_the_default_are_noted():
    def noted(caps):
        return [note for note in plan(replace(GOOD, security=Security(capabilities=caps))).notes if "beyond" in note]

    assert noted(("NET_ADMIN", "CHOWN", "NET_RAW")) == [
        "security.capabilities: NET_ADMIN, NET_RAW: beyond the default set"
    ]
    assert noted(("CHOWN", "KILL")) == noted(None) == noted(()) == []


def test_the_init_enters_landlock_after_its_last_mount_and_before_it_starts_anything():
    """Once in it nothing can be mounted; two domains side by side could not signal each other."""
    order = kinds(plan(call=Call(terminal=0b111)).init)
    assert order.count(RestrictSelf) == 1
    mounts = [n for n, kind in enumerate(order) if kind in (AttachInside, Mask, ProtectPath, MakeFilesystem)]
    assert max(mounts) < order.index(ProtectInit) < order.index(OpenTerminal) < order.index(MakeRuleset)
    assert order.index(RestrictSelf) < order.index(StartPayload)


def test_the_init_takes_its_filter_when_it_is_set_up_and_before_it_starts_anything():
    assert kinds(plan().init)[-5:] == [RestrictSelf, NoNewPrivileges, FilterInit, StartPayload, KeepCapabilities]


def test_what_nspawn_leaves_below_the_root_is_covered_and_a_newer_one_leaves_nothing():
    """By the init's first step, when nspawn has mounted its own. What is mounted there has to reach its copies: shared
    once nothing reaches the host any more, and before nspawn starts."""
    old, new = plan(facts=replace(FACTS, nspawn_version=252)), plan(facts=replace(FACTS, nspawn_version=253))
    assert kinds(old.init)[0] is CoverBelow
    assert [show(step.path) for step in old.guard if isinstance(step, ShareMount)] == ["/proc", "/sys"]
    assert kinds(old.guard).index(PrivateMounts) < kinds(old.guard).index(ShareMount)
    assert not {CoverBelow, ShareMount} & {*kinds(new.guard), *kinds(new.init)}


def test_without_landlock_there_is_nothing_to_enter():
    assert RestrictSelf not in kinds(plan(facts=replace(FACTS, landlock_abi=0)).init)


def test_facts_without_a_policy_make_no_plan():
    """A caller that forgets to read it must not get a weaker plan."""
    with pytest.raises(ValueError, match="Landlock"):
        make_plan(GOOD, FACTS, Call(), lambda _: b"")


def test_what_is_waived_is_in_the_record():
    host = replace(GOOD, network=Network(mode=NetworkMode.HOST), security=Security(landlock_profile="strict"))
    with pytest.raises(HostUnfit, match="bind_tcp"):
        plan(host)
    record = show(only(plan(host, call=Call(waived=("landlock",))).host, WriteFile).content)
    assert '"unenforced": ["landlock.bind_tcp", "landlock.connect_tcp", "landlock.abstract_unix_socket"]' in record


def test_capabilities_decide_what_the_filter_permits():
    none = plan(replace(GOOD, security=Security(capabilities=())))
    assert only(none.payload, FilterCalls).filter != only(plan().payload, FilterCalls).filter
