"""A workload and facts, assembled into a launch plan: the one place that knows the order of things."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from volt.backends import container
from volt.errors import HostUnfit, ManifestError
from volt.model.facts import Call, Facts
from volt.model.filter import Filter
from volt.model.folders import UIDS_FOLDER
from volt.model.landlock import FILES
from volt.model.part import STAGE, Part
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    CAPABILITIES,
    Attach,
    ClaimName,
    ClaimRun,
    ClaimUids,
    DieWithParent,
    Execute,
    ExpectInit,
    KeepCapabilities,
    Lifeline,
    MakeFilesystem,
    MakeFolder,
    MakeSocket,
    NewSession,
    OpenTerminal,
    PrivateMounts,
    ProtectInit,
    Report,
    SealFile,
    SealInside,
    SealProgram,
    StartGuard,
    StartInit,
    StartPayload,
    Step,
    TakeTerminal,
    TimeLimit,
    WriteFile,
)
from volt.model.text import CLOCK, PID, RUN, STARTED, UIDS, Text, text
from volt.model.workload import Workload
from volt.plan import environment
from volt.plan.capabilities import beyond_default, payload_sets
from volt.plan.cgroup import Place, place
from volt.plan.check import Accounts, check
from volt.plan.confinement import below_part, init_part, inside_part, payload_part, raised_limits, sessions_limits
from volt.plan.detached import apart, detach_part, log_folder, log_part, standard
from volt.plan.image import image_notes, require_mountable
from volt.plan.landlock import Applied, apply, check_enforced, landlock_part
from volt.plan.landlock import notes as landlock_notes
from volt.plan.landlock import unenforced as landlock_unenforced
from volt.plan.limits import unenforced
from volt.plan.machine import machine_steps
from volt.plan.mounts import Mount, mounts, mounts_part
from volt.plan.ready import await_steps, check_reached, ready_notes, shown_steps
from volt.plan.record import known_of, stop_by
from volt.plan.restarting import restart_steps
from volt.plan.root import HOST, attach_root, root_part
from volt.plan.uids import candidates
from volt.plan.unit import owned
from volt.plan.users import HOST_GROUP, HOST_PASSWD, Identity, identify

if TYPE_CHECKING:
    from volt.backends import Backend

FilterFor = Callable[[tuple[str, ...]], Filter]

STANDARD = ("stdin", "stdout", "stderr")
# What the init keeps besides what a session may be given: signals, and what bounds, ids and sets take.
OF_INIT = ("KILL", "SETGID", "SETUID", "SETPCAP")


def make_plan(workload: Workload, facts: Facts, call: Call, filter_for: FilterFor) -> LaunchPlan:
    """The launch of `workload` on the host that `facts` describe, with the filter that `filter_for` gives for the
    capabilities that a payload could ever gain: they decide which calls are permitted.

    Raises ManifestError with every finding, HostUnfit where no plan is possible on this host at all.
    """
    facts = apart(owned(workload, facts, call), call)
    if workload.boots:
        from volt.plan.boot import on_console

        call = on_console(call)
    accounts = _accounts(workload, facts)
    findings = check(workload, facts, call, accounts)
    if findings:
        raise ManifestError(findings)
    if not facts.cgroup_root:
        raise HostUnfit("cgroup v2 is not mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    require_mountable(facts)
    return _assemble(workload, facts, call, filter_for, accounts)


def _accounts(workload: Workload, facts: Facts) -> Accounts:
    fresh = workload.storage.rootfs == HOST
    return Accounts(facts.passwd or (HOST_PASSWD if fresh else ""), facts.group or (HOST_GROUP if fresh else ""))


def _assemble(workload: Workload, facts: Facts, call: Call, filter_for: FilterFor, accounts: Accounts) -> LaunchPlan:
    backend = _backend(workload)
    identity = identify(None if workload.boots else workload.user, accounts.passwd, accounts.group)
    found = _mounts(workload, facts, call, accounts)
    sets = payload_sets(workload, identity.uid)
    filtered = filter_for(sets.bounding)
    streams = _standard(workload, call)
    env_file = _env_file(workload, facts)
    home = place(workload, facts, call.waived)
    waived = unenforced(workload.resources, facts, call.waived)
    landlock = _landlock(workload, facts, call)
    part = (
        _call_part(workload, facts, call)
        + _claims(workload, facts, call)
        + _record(workload, facts, call, home, _unenforced(waived, landlock))
        + _network(workload, facts)
        + _guard_start(sets.bounding, facts)
        + Part(host=home.before)
        + backend.cgroup_part(facts, home.path)
        + Part(host=home.after)
        + root_part(workload, facts, tuple((mount.path, mount.folder) for mount in found), call)
        + mounts_part(found)
        + attach_root()
        + env_file
        + Part(guard=raised_limits(workload, facts))
        + inside_part(facts)
        + Part(init=(*shown_steps(workload, call), ProtectInit(), *_open_terminal(workload, call)))
        + landlock_part(landlock, workload, call, streams)
        + _start(workload, streams, call, sets.bounding, filtered.init)
        + payload_part(workload, identity, filtered.program, unit=bool(call.command or workload.command))
        + Part(payload=(_execute(workload, facts, call, identity, env_file.inherited),))
    )
    handed = ("program", "control", "inside", *(name for name in streams if name), *part.inherited)
    part += backend.start_part(workload, facts, handed, sets.bounding)
    part += Part(host=(*_terminal(call), *machine_steps(workload, facts, call, home.unit), StartGuard(cgroup="cgroup")))
    return LaunchPlan(
        name=workload.name,
        mode=str(workload.mode),
        host=part.host,
        guard=part.guard,
        init=part.init,
        payload=part.payload,
        inherited=handed,
        notes=(*_notes(workload, facts, call, landlock), *ready_notes(workload, call), *_weaker(filtered, waived)),
    )


def _mounts(workload: Workload, facts: Facts, call: Call, accounts: Accounts) -> tuple[Mount, ...]:
    """All that the init attaches; an image's init is root, and the command that it starts who the manifest says."""
    more: tuple[Mount, ...] = ()
    if workload.boots:
        from volt.plan.boot import boot_mounts

        more = boot_mounts(workload, facts, identify(workload.user, accounts.passwd, accounts.group), call)
    return mounts(workload, facts, accounts.passwd, accounts.group, more)


def _backend(workload: Workload) -> Backend:
    if not workload.boots:
        return container
    from volt.backends import native

    return native


def _standard(workload: Workload, call: Call) -> tuple[str, ...]:
    """The names of the payload's standard descriptors, "" for a terminal or /dev/null."""
    if workload.boots:
        return ("", "", "")
    if call.detach:
        return standard(call)
    return tuple("" if call.terminal >> n & 1 else name for n, name in enumerate(STANDARD))


def _landlock(workload: Workload, facts: Facts, call: Call) -> Applied:
    """The Landlock policy on this host. Raises HostUnfit."""
    if facts.landlock is None:
        raise ValueError("these facts are without the Landlock policy that the workload has")
    applied = apply(facts.landlock, workload, facts)
    check_enforced(applied, facts.landlock, facts, call)
    check_reached(workload, call, applied)
    return applied


def _unenforced(waived: Mapping[str, str], landlock: Applied) -> tuple[str, ...]:
    """What is asked for and not held, as the record has it."""
    rights = (f"landlock.{right}" for right in landlock_unenforced(landlock))
    return (*(f"resources.{key}" for key in waived), *rights)


def _call_part(workload: Workload, facts: Facts, call: Call) -> Part:
    """What the caller asked to be told, when the run has to end, and how."""
    steps: list[Step] = []
    if isinstance(call.report, str):
        steps.append(Report(path=text(call.report), note="--outcome"))
    elif call.report is not None:
        steps.append(Report(descriptor=call.report))
    if call.lifeline is not None:
        steps.append(Lifeline(descriptor=call.lifeline, note="the caller"))
    if call.time_limit is not None:
        steps.append(TimeLimit(milliseconds=call.time_limit, note="the caller's time limit"))
    if stop := stop_by(workload, facts, call):
        steps.append(stop)
    if workload.boots:
        steps.append(ExpectInit(note=f"workload.mode = {workload.mode}"))
    return Part(host=tuple(steps)) + detach_part(call)


def _claims(workload: Workload, facts: Facts, call: Call) -> Part:
    run, state = facts.folders.run, facts.folders.state
    base, count, first = candidates(workload.name, facts)
    holder = text('{"run":"', RUN, '","pid":', PID, ',"name":', json.dumps(workload.name), "}\n")
    folders = (
        *(((facts.folders.root, 0o711),) if facts.folders.root else ()),
        ("/run/volt", 0o711),
        (UIDS_FOLDER, 0o700),
        (run, 0o711),
        (f"{run}/runs", 0o700),
        (f"{run}/names", 0o700),
        *(((f"{run}/ended", 0o700),) if call.keep else ()),
        (state, 0o711),
        (f"{state}/layers", 0o700),
    )
    made = dict(folders)
    return Part(
        host=(
            *(MakeFolder(path=text(path), mode=mode, keep=True, shared=True) for path, mode in made.items()),
            ClaimRun(folder=text(f"{run}/runs")),
            ClaimName(folder=text(f"{run}/names"), label=text(workload.name), content=holder),
            ClaimUids(folder=text(UIDS_FOLDER), base=base, count=count, first=first),
        )
    ) + _address(workload, facts)


def _address(workload: Workload, facts: Facts) -> Part:
    if not workload.network.bridged:
        return Part()
    from volt.plan import names, network

    return network.claims(workload, facts) + names.claims(workload, facts, network.folder_of(facts))


def _network(workload: Workload, facts: Facts) -> Part:
    """What connects it, once the run is recorded."""
    if not workload.network.bridged:
        return Part()
    from volt.plan import names, network

    return network.network_part(workload, facts) + names.resolver_part(workload, facts, network.folder_of(facts))


def _record(workload: Workload, facts: Facts, call: Call, home: Place, waived: tuple[str, ...]) -> Part:
    """The run's folder and record, from which the next command removes what a crash left, and its log. A kept run's
    folder moves when it ends, with its outcome."""
    folder: Text = text(f"{facts.folders.run}/runs/", RUN)
    known = known_of(workload, facts, call, waived)
    rest = json.dumps(known, ensure_ascii=True)[1:]
    head = ('{"version": 1, "id": "', RUN, '", "pid": ', PID, ', "clock": ', CLOCK)
    ids = (', "started": ', STARTED, ', "uids": ', UIDS, ', "cgroup": "')
    log: Text = (*log_folder(facts), "/0.log") if call.detach else ()
    own = _addresses(workload, facts)
    places = (*home.absolute(facts), '", "scope": "', *home.unit, '", "log": "', *log, *own, '", ')
    content = text(*head, *ids, *places, rest, "\n")
    ended = text(f"{facts.folders.run}/ended/", RUN) if call.keep else ()
    outcome = (Report(path=(*folder, "/outcome.json"), note="how it ended"),) if call.keep else ()
    note = "what a crash leaves is found by it"
    return Part(
        host=(
            MakeFolder(path=folder, mode=0o700, ended=ended),
            *await_steps(workload, call, folder),
            *restart_steps(workload, call, folder),
            WriteFile(path=(*folder, "/record.json"), content=content, keep=call.keep, note=note),
            *outcome,
        )
    ) + log_part(workload, facts, call)


def _addresses(workload: Workload, facts: Facts) -> Text:
    if not workload.network.bridged or facts.bridge is None:
        return ()
    from volt.plan.network import addresses, published

    own, own6 = addresses(facts.bridge)
    ports = [part for one in published(workload, facts.bridge) for part in (', "', *one, '"')]
    listed = ('", "ports": ["', *ports[1:], '], "address": "') if ports else ('", "address": "',)
    return (*listed, *own, '", "address6": "', *own6)


def _guard_start(bounding: tuple[str, ...], facts: Facts) -> Part:
    started = Part(
        host=(
            MakeSocket(to="control"),
            SealProgram(unreadable="SYS_PTRACE" in bounding, to="program", note="nothing of ours lies in the root"),
            SealInside(to="inside"),
        ),
        guard=(
            DieWithParent(),
            NewSession(),
            PrivateMounts(),
            MakeFilesystem(type=text("proc"), attrs=("nosuid", "nodev", "noexec"), to="proc"),
            Attach(mount="proc", path=text("/proc")),
            MakeFilesystem(type=text("tmpfs"), options=(text("mode=0755"),), attrs=("nosuid", "nodev"), to="stage"),
            Attach(mount="stage", path=text(STAGE), note="the run's own, gone with it"),
        ),
    )
    return started + below_part(facts)


def _env_file(workload: Workload, facts: Facts) -> Part:
    if not workload.env_file:
        return Part()
    path, fact = workload.env_file, facts.paths[workload.env_file]
    step = SealFile(path=text(path), device=fact.device, inode=fact.inode, to="env-file", note="workload.env_file")
    return Part(host=(step,), inherited=("env-file",))


def _open_terminal(workload: Workload, call: Call) -> tuple[Step, ...]:
    opened = OpenTerminal(input=bool(call.terminal & 1), console=workload.boots)
    return (opened,) if call.terminal else ()


def _start(workload: Workload, standard: tuple[str, ...], call: Call, given: tuple[str, ...], bpf: bytes) -> Part:
    caps = tuple(cap for cap in CAPABILITIES if cap in (*OF_INIT, *given))
    note = "to signal a payload of any id; the others are for sessions, which do the payload's steps"
    start = StartPayload(stdio=standard, terminal=call.terminal)
    begun = (StartInit(terminal=call.terminal), *sessions_limits(workload)) if workload.boots else (start,)
    return init_part(workload, bpf) + Part(init=(*begun, KeepCapabilities(caps=caps, note=note)))


def _execute(workload: Workload, facts: Facts, call: Call, identity: Identity, env_files: tuple[str, ...]) -> Execute:
    if workload.boots:
        from volt.plan.boot import init_execute

        return init_execute(workload, call, identity, facts)
    return Execute(
        argv=tuple(text(word) for word in call.command or workload.command),
        env=environment.given(workload, call),
        env_files=env_files,
        defaults=environment.defaults(workload, identity, call, facts.image),
        note="workload.command",
    )


def _terminal(call: Call) -> tuple[Step, ...]:
    return (TakeTerminal(descriptor=0),) if call.terminal & 1 and not call.detach else ()


def _weaker(filtered: Filter, waived: Mapping[str, str]) -> Iterator[str]:
    yield from (f"security.seccomp_profile: {note}" for note in filtered.notes)
    for key, reason in waived.items():
        yield f"resources.{key}: not enforced, as allowed: {reason}"


def _notes(workload: Workload, facts: Facts, call: Call, landlock: Applied) -> tuple[str, ...]:
    """What this plan does not do, said rather than left out."""
    notes = [*landlock_notes(landlock), *image_notes(workload, facts)]
    if "SYS_ADMIN" in (workload.security.capabilities or ()) and {*FILES} & {*landlock.handled()}:
        notes.append(
            "security.capabilities: SYS_ADMIN mounts nothing, since Landlock withholds files: permissive does not"
        )
    if beyond := beyond_default(workload.security.capabilities or ()):
        notes.append(f"security.capabilities: {', '.join(beyond)}: beyond the default set")
    kernel = workload.kernel
    for key in ("version", "path", "modules", "cmdline"):
        if getattr(kernel, key) and not workload.boots:
            notes.append(f"kernel.{key}: ignored in container mode")
    if workload.boots:
        from volt.plan.boot import boot_notes

        notes += boot_notes(workload, call)
    if workload.network.bridged:
        notes += _network_notes(workload, facts)
    if workload.network.joined == "host":
        notes.append(f"network.mode = host: the host's {_shared(landlock)} are inside")
        if workload.security.capabilities is None:
            notes.append("network.mode = host: without NET_BIND_SERVICE, which has no effect there")
    return tuple(notes)


def _network_notes(workload: Workload, facts: Facts) -> Iterator[str]:
    from volt.plan import names

    yield from names.notes(workload, facts)
    asks = workload.network.dns or names.answering(facts) or "nameserver" in facts.upstream
    if not asks:
        yield "network.dns: absent, and none of the host's resolvers can be reached from the bridge"


def _shared(landlock: Applied) -> str:
    """What of the host's network a payload there can reach."""
    withheld = landlock.handled()
    sockets = "" if "abstract_unix_socket" in withheld else ", abstract sockets"
    return f"interfaces{sockets} and {'the declared ports' if 'bind_tcp' in withheld else 'ports'}"
