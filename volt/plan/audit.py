"""What a plan promises of a running workload, compared with what was seen of it: a pure function of both.

What a payload may do to itself is no hole: it can drop capabilities, lower limits, change to ids that it was given.
So a set holds when it is no larger than planned, and a hard limit when it is no higher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from volt.model.audit import NAMESPACES, SETS, Point, Process, Seen
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    CAPABILITIES,
    NO_LIMIT,
    BoundCapabilities,
    Execute,
    FilterCalls,
    FilterInit,
    KeepCapabilities,
    MakeCgroup,
    NoNewPrivileges,
    OpenTerminal,
    SealFile,
    SetCapabilities,
    SetControl,
    SetIdentity,
    SetLimit,
    StartPayload,
    Step,
    mask_of,
)
from volt.model.text import Slot, SlotKind, Text
from volt.plan.audit_mounts import mount_points
from volt.plan.audit_network import firewall_points

IDS = 65536  # of each workload
FILTERED = 2  # seccomp(2): a filter decides
NONE = "none"
# What the init keeps open, by the kind of its target: standard descriptors, control socket, signals, its program.
SOCKET, ENV_FILE, TERMINAL = "socket:", "/memfd:volt-file", "/dev/pts/"
ALWAYS = ("/dev/null", "/memfd:volt-messages", "/memfd:volt-inside", "anon_inode:[signalfd]")
OF_INIT = (*ALWAYS, SOCKET, ENV_FILE, TERMINAL)


def points(plan: LaunchPlan, run: str, uids: int, seen: Seen) -> tuple[Point, ...]:
    """Every point of the plan that shows from outside; `uids` is the first id of the run's range."""
    return (
        *_identity(plan, uids, seen),
        *_capabilities(plan, seen),
        *_switches(plan, seen),
        *_namespaces(plan, uids, seen),
        *mount_points(plan, seen),
        *_descriptors(plan, seen),
        *_resources(plan, run, seen),
        *_limits(plan, seen),
        *firewall_points(plan, seen.firewall),
    )


def one(steps: tuple[Step, ...], kind: type[Step]) -> Step | None:
    """The step of that kind, None where the plan has none."""
    return next((step for step in steps if isinstance(step, kind)), None)


def paths_of_controls(plan: LaunchPlan, run: str) -> dict[str, str]:
    """Every file of the run's own cgroup that the plan writes, with what it writes."""
    made = one(plan.host, MakeCgroup)
    if not isinstance(made, MakeCgroup):
        return {}
    own = written(made.path, run) + "/"
    found = {}
    for step in plan.host:
        if isinstance(step, SetControl) and written(step.path, run).startswith(own):
            found[written(step.path, run)] = written(step.value, run)
    return found


def written(value: Text, run: str) -> str:
    """The text as the launch wrote it, where the run's id is its only slot."""
    return "".join(_filled(part, run) for part in value)


def _filled(part: str | Slot, run: str) -> str:
    if isinstance(part, str):
        return part
    return run if part.kind == SlotKind.RUN else str(part)


# ── who


def first_user(plan: LaunchPlan) -> int:
    """The payload's own id inside."""
    step = one(plan.payload, SetIdentity)
    return step.uid if isinstance(step, SetIdentity) else 0


def _among(name: str, planned: str, processes: tuple[Process, ...], wrong: Callable[[Process], str]) -> Point:
    """A point of every process: `wrong` gives what is not as planned in one, "" where all is."""
    found = [f"{process}: {what}" for process in processes if (what := wrong(process))]
    return Point(name, planned, "; ".join(found) or planned, not found)


def _identity(plan: LaunchPlan, uids: int, seen: Seen) -> Iterator[Point]:
    step = one(plan.payload, SetIdentity)
    if not isinstance(step, SetIdentity):
        return
    bounding = one(plan.payload, BoundCapabilities)
    caps = bounding.caps if isinstance(bounding, BoundCapabilities) else ()
    # Without no_new_privs a set-uid program changes ids without a capability.
    free = one(plan.payload, NoNewPrivileges) is None
    groups = (step.gid, *(int(written(group, "")) for group in step.groups))
    inside = tuple(dict.fromkeys(groups))
    yield _ids(("user", "uid"), (step.uid,), uids, seen, free=free or "SETUID" in caps)
    yield _ids(("groups", "gid"), inside, uids, seen, free=free or "SETGID" in caps)


def _ids(called: tuple[str, str], ids: tuple[int, ...], base: int, seen: Seen, *, free: bool) -> Point:
    """The payload's ids, and those that it may change to: of its own range, if it has the power to change them."""
    name, what = called

    def wrong(process: Process) -> str:
        own = process.uids if what == "uid" else (*process.gids, *process.groups)
        outside = [i for i in own if not (base <= i < base + IDS and (free or i - base in ids))]
        return f"{what} {', '.join(map(str, sorted(set(outside))))} of the host" if outside else ""

    changing = "; it may change to others of its range" if free else ""
    planned = f"{what} {', '.join(map(str, ids))} inside, {base} and up outside{changing}"
    return _among(name, planned, seen.inside, wrong)


def _capabilities(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    bound, given = one(plan.payload, BoundCapabilities), one(plan.payload, SetCapabilities)
    if isinstance(bound, BoundCapabilities) and isinstance(given, SetCapabilities):
        # An exec of root's, or of a file with capabilities, gives what is bounded back.
        for key, name in SETS.items():
            caps = given.ambient if key in ("CapInh", "CapAmb") else bound.caps
            yield _set(f"capabilities.{name}", key, caps, seen.inside)
    kept = one(plan.init, KeepCapabilities)
    if isinstance(kept, KeepCapabilities):
        yield _set("init.capabilities", "CapPrm", kept.caps, (seen.init,))


def _set(name: str, key: str, caps: tuple[str, ...], processes: tuple[Process, ...]) -> Point:
    def wrong(process: Process) -> str:
        beyond = process.capabilities[key] & ~mask_of(caps)
        return f"{_names(beyond)} too" if beyond else ""

    return _among(name, f"at most {','.join(caps)}" if caps else NONE, processes, wrong)


def _names(mask: int) -> str:
    named = [cap for bit, cap in enumerate(CAPABILITIES) if mask >> bit & 1]
    rest = mask >> len(CAPABILITIES)
    return ",".join([*named, *([f"{rest << len(CAPABILITIES):#x}"] if rest else [])])


def _switches(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    """The init's filter holds for all that it starts, so that the payload's own shows in their number alone."""
    own, inherited = (
        sum(isinstance(step, kind) for step in section)
        for section, kind in ((plan.payload, FilterCalls), (plan.init, FilterInit))
    )
    for name, section, count, processes in (
        ("", plan.payload, own and own + inherited, seen.inside),
        ("init.", plan.init, inherited, (seen.init,)),
    ):
        if one(section, NoNewPrivileges):
            yield _among(f"{name}no_new_privs", "set", processes, lambda found: "" if found.no_new_privs else "not set")
        if count:
            yield _among(f"{name}seccomp", _deciding(count), processes, _fewer_filters(count))


def _fewer_filters(planned: int) -> Callable[[Process], str]:
    def wrong(process: Process) -> str:
        if process.seccomp != FILTERED:
            return f"mode {process.seccomp}: no filter"
        return "" if process.filters >= planned else f"of {planned} filters {process.filters}"

    return wrong


def _deciding(filters: int) -> str:
    return "a filter decides" if filters == 1 else f"{filters} filters decide"


# ── where


def _namespaces(plan: LaunchPlan, uids: int, seen: Seen) -> Iterator[Point]:
    argv = _nspawn(plan)
    own = dict.fromkeys(NAMESPACES, True) | {"net": "--private-network" in argv}
    for kind, apart in own.items():
        planned = "its own" if apart else "the host's"
        yield _among(f"namespace.{kind}", planned, (seen.init, *seen.inside), _joined(kind, seen, apart=apart))
    planned = f"0 {uids} {IDS}"
    for name in ("uid_map", "gid_map"):

        def wrong(process: Process, name: str = name) -> str:
            found = getattr(process, name)
            # One that it made for itself, inside its own, maps no more.
            nested = process.namespaces["user"] != seen.init.namespaces["user"]
            return "" if nested or found == (0, uids, IDS) else " ".join(map(str, found)) or NONE

        yield _among(name, planned, (seen.init, *seen.inside), wrong)


def _joined(kind: str, seen: Seen, *, apart: bool) -> Callable[[Process], str]:
    def wrong(process: Process) -> str:
        shared = process.namespaces.get(kind) == seen.host.get(kind)
        return "the host's" if apart and shared else ""

    return wrong


def _nspawn(plan: LaunchPlan) -> tuple[str, ...]:
    last = plan.guard[-1] if plan.guard else None
    return tuple(written(word, "") for word in last.argv) if isinstance(last, Execute) else ()


# ── with what


def _init_descriptors(plan: LaunchPlan, seen: Seen) -> Point:
    strange = [f"{each.number} → {each.target}" for each in seen.init.descriptors if not _of_init(each.target)]
    files = sum(isinstance(step, SealFile) for step in plan.host)
    terminals = sum(isinstance(step, OpenTerminal) for step in plan.init)
    for kind, words, most in (
        (SOCKET, "sockets", 1),
        (ENV_FILE, "env files", files),
        (TERMINAL, "terminals", terminals),
    ):
        count = sum(each.target.startswith(kind) for each in seen.init.descriptors)
        if count > most:
            strange.append(f"{count} {words}")
    more = ", env files" * bool(files) + ", the terminal" * bool(terminals)
    planned = f"its standard ones, the control socket, its signals, its program{more}"
    return Point("init.descriptors", planned, ", ".join(strange) or planned, not strange)


def _descriptors(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    yield _init_descriptors(plan, seen)
    handed = {name for name in ("stdin", "stdout", "stderr") if name in plan.inherited}
    known = {seen.standard.get(number) for number, name in enumerate(("stdin", "stdout", "stderr")) if name in handed}
    mounts = {mount.id for mount in seen.mounts}
    start = one(plan.init, StartPayload)
    # What it is not given is the init's own, the host's /dev/null.
    empty = {n for n, name in enumerate(start.stdio) if not name} if isinstance(start, StartPayload) else set()

    def wrong(process: Process) -> str:
        if process.namespaces["mnt"] != seen.init.namespaces["mnt"]:
            return ""  # it has mounted for itself: its own mounts are not ours to tell apart
        found = (
            f"{each.number} → {each.target}"
            for each in process.descriptors
            if each.target.startswith("/")
            and each.file not in known
            and each.mount not in mounts
            and not _memory(each.target)
            and not (each.number in empty and each.target == "/dev/null")
        )
        return ", ".join(found)

    yield _among("descriptors", f"{', '.join(sorted(handed)) or NONE} of the host", seen.inside, wrong)


def _of_init(target: str) -> bool:
    return target.startswith(OF_INIT)


def _memory(target: str) -> bool:
    """A file that no mount shows: memfd_create(2), shared memory."""
    return target.startswith(("/memfd:", "/SYSV", "/dev/zero (deleted)", "/[aio]"))


# ── how much


def _resources(plan: LaunchPlan, run: str, seen: Seen) -> Iterator[Point]:
    made = one(plan.host, MakeCgroup)
    if isinstance(made, MakeCgroup):
        name = f"volt-{run}"

        def wrong(process: Process) -> str:
            return "" if name in process.cgroup.split("/") else process.cgroup

        yield _among("cgroup", name, (seen.init, *seen.inside), wrong)
    for path, value in paths_of_controls(plan, run).items():
        found = seen.controls.get(path)
        shown = NONE if found is None else found.removeprefix("default ")
        yield Point(f"resources.{path.rpartition('/')[2]}", value, shown, _same(value, shown, seen.page))


def _same(planned: str, found: str, page: int) -> bool:
    """The kernel keeps memory in whole pages."""
    if planned.isdecimal() and found.isdecimal():
        return int(found) in (int(planned), int(planned) // page * page)
    return planned == found


def _limits(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    for step in plan.payload:
        if not isinstance(step, SetLimit):
            continue
        hard, name = step.hard, step.resource

        def wrong(process: Process, name: str = name, hard: int = hard) -> str:
            found = process.limits.get(name, (NO_LIMIT, NO_LIMIT))[1]
            return "" if found <= hard else f"up to {_amount(found)}"

        yield _among(f"limits.{name}", f"at most {_amount(hard)}", seen.inside, wrong)


def _amount(value: int) -> str:
    return "unlimited" if value == NO_LIMIT else str(value)
