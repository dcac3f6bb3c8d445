"""[resources] as files of cgroup v2, and where the cgroup lies that can hold them."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.facts import Cgroup, Control, Facts
from volt.model.findings import Finding
from volt.model.limits import MOST_TASKS, OWN_TASKS
from volt.model.sizes import Size
from volt.model.steps import NO_LIMIT
from volt.model.values import Value, kinds
from volt.model.workload import Resources

SECTION = "resources"
# The controller of each field, Documentation/admin-guide/cgroup-v2.rst.
CONTROLLERS = {
    "memory_limit": "memory",
    "memory_soft": "memory",
    "cpu_weight": "cpu",
    "cpu_set": "cpuset",
    "io_weight": "io",
    "pids_max": "pids",
}
BFQ_MOST = 1000  # of io.bfq.weight, Documentation/block/bfq-iosched.rst
# Weights compare siblings: under systemd those are the scopes, which systemd writes to itself.
UNIT_PROPERTIES = {"cpu_weight": "CPUWeight", "io_weight": "IOWeight"}
SLICE = "volt.slice"
FOLDER = "volt"  # at the top, where there is no systemd

ALLOW = "or launch with --allow-unenforced resources"
LEGACY = "boot with systemd.unified_cgroup_hierarchy=1, which leaves every controller to cgroup v2"


class Home(Value):
    """The cgroup below which a run's own lies, and the controllers that its children can have there.

    `scope` says that it is a scope that systemd makes for the run, `unit` that it is the unit's that owns it, `fresh`
    that it is volt's own folder at the top. `enabled` are the controllers that its children have already.
    """

    path: str
    reachable: frozenset[str]
    enabled: tuple[str, ...] = ()
    scope: bool = False
    unit: bool = False
    fresh: bool = False


class Limit(Value):
    """One value for one file of the run's cgroup."""

    key: str
    file: str
    value: str


def asked(resources: Resources) -> tuple[str, ...]:
    """The fields that are set."""
    return tuple(name for name in kinds(Resources) if getattr(resources, name) is not None)


def home(facts: Facts, needs: frozenset[str]) -> Home:
    """The first place that can give all that is needed, else the last one that was looked at.

    The unit's that owns the launch; the caller's own where systemd has delegated it; under systemd a scope in
    volt.slice; elsewhere the caller's own if its children have what is needed, or a folder of volt's own at the top.
    """
    found = tuple(_homes(facts.control))
    return next((one for one in found if needs <= one.reachable), found[-1])


def _homes(control: Control) -> Iterator[Home]:
    if control.unit and control.delegated:  # which the supervisor leaves for a leaf of its own
        yield Home(control.delegated.path, frozenset(control.delegated.controllers), unit=True)
        return
    if control.delegated:
        yield _within(control.delegated)
    if control.bus:
        yield Home(f"{control.manager}/{SLICE}", frozenset(control.top.controllers), scope=True)
        return
    if not control.delegated:
        yield Home(control.own.path, frozenset(control.own.enabled), control.own.enabled)
    if control.manager is None:
        top = _within(control.top)
        yield Home(f"{top.path.rstrip('/')}/{FOLDER}", top.reachable, top.enabled, fresh=True)


def _within(place: Cgroup) -> Home:
    return Home(place.path, frozenset(place.controllers if place.free else place.enabled), place.enabled)


def enforced(resources: Resources, facts: Facts, waived: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that are set and held here; without a waiver all that are set, for then the rest is refused."""
    if SECTION not in waived:
        return asked(resources)
    obstacles = _obstacles(resources, facts)
    return tuple(key for key in asked(resources) if key not in obstacles)


def unenforced(resources: Resources, facts: Facts, waived: tuple[str, ...]) -> dict[str, str]:
    """The fields that are set, not held here, and waived, each with the reason."""
    return {key: message for key, (message, _) in _obstacles(resources, facts).items()} if SECTION in waived else {}


def needs(keys: tuple[str, ...]) -> frozenset[str]:
    """The controllers of these fields."""
    return frozenset(CONTROLLERS[key] for key in keys)


def check_limits(resources: Resources, facts: Facts, waived: tuple[str, ...]) -> Iterator[Finding]:
    """What cannot be held here, unless that is waived; cores that this machine has not; sizes in the wrong order."""
    if SECTION not in waived:
        for key, (message, hint) in _obstacles(resources, facts).items():
            yield Finding("no-controller", f"{SECTION}.{key}", message, f"{hint}, {ALLOW}" if hint else ALLOW[3:])
    absent = sorted(set(resources.cpu_set or ()) - set(facts.control.cores))
    if absent:
        message = f"this machine has no core {ranges(tuple(absent))}"
        yield Finding("no-core", f"{SECTION}.cpu_set", message, f"it has {ranges(facts.control.cores)}")
    soft, limit = resources.memory_soft, resources.memory_limit
    if soft and limit:
        yield from check_soft("memory_soft", soft.of(facts.memory), limit.of(facts.memory))


def check_soft(key: str, soft: int, limit: int) -> Iterator[Finding]:
    """Both in bytes, by which a share can be compared with a size; `key` is the field that was written last."""
    if soft >= limit:
        message = f"memory_soft is {Size(soft)} here, which is not below memory_limit, {Size(limit)}"
        hint = (
            "a smaller memory_soft" if key == "memory_soft" else "a larger memory_limit, or a smaller memory_soft too"
        )
        yield Finding("soft-above-limit", f"{SECTION}.{key}", message, f"write {hint}")


def _obstacles(resources: Resources, facts: Facts) -> dict[str, tuple[str, str]]:
    """Each field that cannot be held here, with the reason and what mends it."""
    keys = asked(resources)
    where = home(facts, needs(keys))
    found = ((key, _obstacle(CONTROLLERS[key], facts, where)) for key in keys)
    return {key: obstacle for key, obstacle in found if obstacle}


def _obstacle(controller: str, facts: Facts, where: Home) -> tuple[str, str] | None:
    control = facts.control
    if controller == "io" and not control.io_weight:
        return "neither a scheduler nor a cost model here acts on I/O weights", "modprobe bfq"
    if controller in where.reachable:
        return None
    if controller in control.legacy:
        return f"the {controller} controller is bound to cgroup v1", LEGACY
    if controller not in control.top.controllers:
        return f"cgroup v2 at {facts.cgroup_root} has no {controller} controller", ""
    if control.manager is not None and not control.bus:
        return "systemd keeps the cgroups here, and its bus cannot be reached", "apt install dbus"
    message = f"{facts.cgroup_root}{control.top.path.rstrip('/')} holds processes, so what is below has no {controller}"
    return message, "move them to a cgroup below it"


def limits(resources: Resources, facts: Facts, keys: tuple[str, ...]) -> tuple[Limit, ...]:
    """What is written to the run's own cgroup, in the order in which it has to be."""
    found = []
    for key in keys:
        found += [Limit(key, file, value) for file, value in _values(key, resources, facts)]
    return tuple(found)


def _values(key: str, resources: Resources, facts: Facts) -> Iterator[tuple[str, str]]:
    value = getattr(resources, key)
    match key:
        case "memory_limit":
            if facts.control.swap:
                yield "memory.swap.max", "0"
            yield "memory.max", str(value.of(facts.memory))
        case "memory_soft":
            yield "memory.high", str(value.of(facts.memory))
        case "cpu_weight":
            yield "cpu.weight", str(value)
        case "cpu_set":
            yield "cpuset.cpus", ranges(value)
        case "io_weight":
            yield facts.control.io_weight, str(io_weight(facts.control.io_weight, value))
        case "pids_max":
            yield "pids.max", str(min(value + OWN_TASKS, MOST_TASKS))


def io_weight(file: str, weight: int) -> int:
    """A weight of 1 to 10000 in the units of its file: BFQ's end at 1000, and 100 is usual in both."""
    if file != "io.bfq.weight" or weight <= 100:
        return weight
    return 100 + (weight - 100) * (BFQ_MOST - 100) // (10000 - 100)


def ranges(cores: tuple[int, ...]) -> str:
    """`0-2,5` of 0, 1, 2, 5."""
    parts: list[list[int]] = []
    for core in sorted(set(cores)):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def unit_properties(resources: Resources, keys: tuple[str, ...]) -> dict[str, int]:
    """What systemd sets on the run's scope: weights, and no limit of tasks where its default would be one."""
    weights = {UNIT_PROPERTIES[key]: int(getattr(resources, key)) for key in keys if key in UNIT_PROPERTIES}
    return {"TasksMax": NO_LIMIT, **weights}
