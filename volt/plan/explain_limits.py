"""What a workload shares with its host, and how much it may take, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from volt.model.explanation import CGROUP, LIMITS, MOUNTS, LimitClaim, Section, SharedClaim, Statement
from volt.model.limits import OWN_TASKS
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    NO_LIMIT,
    AttachInside,
    LoadModules,
    MakeFilesystem,
    MakeIdmap,
    MountLoop,
    OpenTerminal,
    SealFile,
    SetControl,
    SetLimit,
    SetMount,
    StartPayload,
    StartScope,
    TimeLimit,
)
from volt.model.text import Slot
from volt.plan.explain_network import is_private
from volt.plan.explain_places import View, sources
from volt.plan.explain_words import joined, paths, plain, size

# The note of a volume's steps; of the host's own folders, root.py has another.
VOLUME = "volume "


def shared_section(plan: LaunchPlan, view: View) -> Section:
    """What of the host is inside."""
    found = (
        *_root(plan),
        *_folders(plan, view),
        *_volumes(plan, view),
        *(() if is_private(plan) else (Statement("The network of the host: its interfaces, addresses and ports."),)),
        *_streams(plan),
        *_modules(plan),
        Statement("The kernel, as every container does: a hole in it is a hole in these walls."),
    )
    return Section("shared", "What it shares with the host", found)


def _root(plan: LaunchPlan) -> Iterator[Statement]:
    known = sources(plan.host)
    if "lower" in known:
        host = known["lower"]
        claim = SharedClaim(host, "/", readonly=True)
        yield Statement(f"{host} is its root, read-only: what it changes is not written there.", (MOUNTS,), (claim,))
    for one in plan.host:
        if isinstance(one, (MakeFilesystem, MountLoop)) and one.to == "lower":
            yield Statement(
                f"{one.note.capitalize()} is its root: nothing changes what is in the store.", (MOUNTS,), ()
            )
    if "layer" in known:
        yield Statement(f"{known['layer']} keeps what it changes in its root.", (), ())


def _folders(plan: LaunchPlan, view: View) -> Iterator[Statement]:
    """What the host itself has, and every such workload sees."""
    noted = {plain(one.path) for one in plan.init if isinstance(one, AttachInside) and not one.note.startswith(VOLUME)}
    found = [one for one in view.places if one.host and one.path in noted]
    if found:
        claims = tuple(SharedClaim(one.host, one.path, readonly=not one.writable) for one in found)
        how = "read-only" if not any(one.writable for one in found) else "writable"
        text = f"Of the host's own files {paths(one.host for one in found)}, {how}."
        yield Statement(text, (MOUNTS,) if how == "read-only" else (), claims)


def _volumes(plan: LaunchPlan, view: View) -> Iterator[Statement]:
    maps = {one.to: one for one in plan.host if isinstance(one, MakeIdmap)}
    mounted = {one.mount: one for one in plan.host if isinstance(one, SetMount)}
    for step in plan.init:
        if isinstance(step, AttachInside) and step.note.startswith(VOLUME):
            place = view.place(plain(step.path))
            idmap = maps[mounted[step.mount].idmap]
            owner = max((_owner(part) for part in (plain(idmap.uids), plain(idmap.gids))), key=lambda one: one == 0)
            root = place.writable and (owner == 0 or _whole(idmap))
            how = "read and written" if place.writable else "read-only"
            text = f"{place.host} is {place.path}, {how}; {_whose(idmap)}."
            text += " It writes there as the host's root." if root else ""
            claim = SharedClaim(place.host, place.path, not place.writable, root)
            yield Statement(text, () if place.writable else (MOUNTS,), (claim,))


def _owner(line: str) -> int:
    """The id on disk that a line of a map begins with."""
    return int(line.split(maxsplit=1)[0])


def _whole(idmap: MakeIdmap) -> bool:
    return int(plain(idmap.uids).split()[-1]) > 1


def _whose(idmap: MakeIdmap) -> str:
    """Whose files are whose inside."""
    if _whole(idmap):
        return "owners are inside what they are on disk"
    inside = [next((part.plus for part in one if isinstance(part, Slot)), 0) for one in (idmap.uids, idmap.gids)]
    outside = [_owner(plain(one)) for one in (idmap.uids, idmap.gids)]
    return f"what uid {outside[0]} and gid {outside[1]} own there uid {inside[0]} and gid {inside[1]} own inside"


def _streams(plan: LaunchPlan) -> Iterator[Statement]:
    if any(isinstance(one, OpenTerminal) for one in plan.init):
        yield Statement("The caller's terminal, through one of its own.")
    for one in plan.init:
        if isinstance(one, StartPayload) and (handed := [name for name in one.stdio if name]):
            yield Statement(f"What the caller has open as {joined(handed)}.")
    for sealed in plan.host:
        if isinstance(sealed, SealFile):
            yield Statement(f"What {plain(sealed.path)} says, in its environment.")


def _modules(plan: LaunchPlan) -> Iterator[Statement]:
    for one in plan.host:
        if isinstance(one, LoadModules):
            names = joined([plain(name) for name in one.modules])
            many = "s" if len(one.modules) > 1 else ""
            yield Statement(f"The kernel module{many} {names}: loaded before it starts if need be, and left so.")


# ── limits ──────────────────────────────────────────────────────────────────────────────────────

_BYTES = {
    "memory.max": "It has {} of memory, and is killed beyond that",
    "memory.high": "Beyond {} of memory it is slowed down",
}
_NUMBERS = {
    "cpu.weight": "Its share of the processors weighs {}, where 100 is usual",
    "cpuset.cpus": "It runs on the processors {}",
    "io.weight": "Its share of the disks weighs {}, where 100 is usual",
    "io.bfq.weight": "Its share of the disks weighs {}, where 100 is usual",
    "CPUWeight": "Its share of the processors weighs {}, where 100 is usual",
    "IOWeight": "Its share of the disks weighs {}, where 100 is usual",
}
_KINDS = {
    "memory": ("memory.max", "memory.high"),
    "processors": ("cpu.weight", "cpuset.cpus", "CPUWeight"),
    "disks": ("io.weight", "io.bfq.weight", "IOWeight"),
    "processes": ("pids.max",),
}


def limits_section(plan: LaunchPlan, view: View) -> Section:
    """How much it may take."""
    controls = dict(_controls(plan))
    return Section(
        "limits",
        "Limits",
        (
            *(_control(file, value) for file, value in controls.items() if file != "memory.swap.max"),
            *_no_swap(controls),
            *_unlimited(controls),
            *_memory_folders(plan, view),
            *_resources(plan),
            *_time(plan),
        ),
    )


def _controls(plan: LaunchPlan) -> Iterator[tuple[str, str]]:
    """Files of the run's cgroup, and properties of its scope, that limit something."""
    for one in plan.host:
        if isinstance(one, SetControl) and one.note.startswith("resources."):
            yield plain(one.path).rpartition("/")[2], plain(one.value)
        elif isinstance(one, StartScope):
            yield from (
                (name, value)
                for name, _, value in (word.partition("=") for word in one.note.split())
                if name in _NUMBERS
            )


def _control(file: str, value: str) -> Statement:
    claim = (LimitClaim(file, value),)
    if file == "pids.max":
        own = int(value) - OWN_TASKS
        return Statement(f"It has up to {own} processes and threads at a time.", (CGROUP,), claim)
    shown = size(int(value)) if file in _BYTES else value
    return Statement((_BYTES | _NUMBERS)[file].format(shown) + ".", (CGROUP,), claim)


def _no_swap(controls: Mapping[str, str]) -> Iterator[Statement]:
    if controls.get("memory.swap.max") == "0":
        yield Statement("None of its memory is swapped out.", (CGROUP,), (LimitClaim("memory.swap.max", "0"),))


def _unlimited(controls: Mapping[str, str]) -> Iterator[Statement]:
    free = [kind for kind, files in _KINDS.items() if not {*files} & {*controls}]
    if free:
        yield Statement(f"Nothing limits its {joined(free, 'or')}.")


def _memory_folders(plan: LaunchPlan, view: View) -> Iterator[Statement]:
    """Folders in memory with a size of their own."""
    attached = {one.mount: plain(one.path) for one in plan.init if isinstance(one, AttachInside)}
    bounded: dict[int, list[str]] = {}
    for one in (step for step in plan.steps() if isinstance(step, MakeFilesystem)):
        sizes = [plain(option) for option in one.options]
        number = next((int(option[5:]) for option in sizes if option.startswith("size=") and option[5:].isdigit()), 0)
        path = attached.get(one.to, "its root's layer" if one.to == "layer" else "") if number else ""
        if number and path and (path.startswith("its") or view.place(path).writable):
            bounded.setdefault(number, []).append(path)
    for number, found in bounded.items():
        yield Statement(
            f"{paths(found)} {'holds' if len(found) == 1 else 'each hold'} up to {size(number)}.", (MOUNTS,)
        )


def _resources(plan: LaunchPlan) -> Iterator[Statement]:
    found = [one for one in plan.payload if isinstance(one, SetLimit)]
    for one in found:
        soft, hard = ("unlimited" if value == NO_LIMIT else str(value) for value in (one.soft, one.hard))
        text = f"Its limit of {one.resource} is {soft}" + (f", which it may raise to {hard}." if soft != hard else ".")
        yield Statement(text, (LIMITS,), (LimitClaim(one.resource, f"{soft}:{hard}"),))


def _time(plan: LaunchPlan) -> Iterator[Statement]:
    for one in plan.host:
        if isinstance(one, TimeLimit):
            yield Statement(f"It is ended after {one.milliseconds / 1000:g} seconds.")
