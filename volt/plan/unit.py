"""Workloads that a unit of systemd owns: its name, what it keeps of the manifest, and whether a launch lies in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from volt.errors import HostUnfit
from volt.model.facts import Call, Facts
from volt.model.findings import Finding
from volt.model.sizes import Duration
from volt.model.values import replace
from volt.model.workload import Workload
from volt.plan.ready import TIMEOUT as READY_TIMEOUT
from volt.plan.restarting import kept_by_volt

TEMPLATE = "volt@.service"
STOP_TIMEOUT = Duration(10_000)  # where service.stop_timeout says nothing
STOP, START = "service.stop_timeout", "service.ready_timeout"
# What a unit may wait longer for than the workload asks, and start it again though that does not ask.
LONGER = (STOP, START)
HARMLESS = (*LONGER, "service.restart")
PULL = 900_000  # milliseconds that bringing in an image may take
WATCHDOG = 1000  # milliseconds: the shortest that can be kept
MAKE = "volt generate systemd FILE writes a unit that does"
GENERATE = "volt generate systemd FILE writes the unit"

# What a unit keeps, each as it is written; None where nothing has to be kept. A run in the foreground keeps none of it.
KEPT: Mapping[str, Callable[[Workload], object]] = {
    "service.restart": lambda w: w.service.restart,
    "service.restart_sec": lambda w: w.service.restart_sec,
    "service.watchdog": lambda w: w.service.watchdog,
    "service.after": lambda w: ",".join(sorted(w.service.after)) or None,
    "service.requires": lambda w: ",".join(sorted(w.service.requires)) or None,
}
# What volt itself keeps of a detached run.
BY_VOLT = ("service.restart", "service.restart_sec")
# What is kept without a unit too, and in one by that alone: weights compare siblings, which units are.
WEIGHTS: Mapping[str, Callable[[Workload], object]] = {
    "resources.cpu_weight": lambda w: w.resources.cpu_weight,
    "resources.io_weight": lambda w: w.resources.io_weight,
}


def unit_name(workload: str) -> str:
    """Of the unit that owns a workload: a file of that name comes before the template. systemd.unit(5)."""
    return TEMPLATE.replace("@", f"@{workload}")


def kept(workload: Workload) -> dict[str, str]:
    """The keys that the workload's unit has to keep, each with the value: as --unit-keeps has them."""
    found = {key: value(workload) for key, value in {**KEPT, **WEIGHTS}.items()}
    found |= {STOP: stop_timeout(workload), "service.stop_signal": workload.service.stop_signal}
    found[START] = start_timeout(workload)
    return {key: str(value) for key, value in found.items() if value is not None}


def stop_timeout(workload: Workload) -> Duration:
    return workload.service.stop_timeout or STOP_TIMEOUT


def start_timeout(workload: Workload) -> Duration | None:
    """What a launch may take besides the start itself: to bring in an image, and to be ready."""
    service = workload.service
    ready = (service.ready_timeout or Duration(READY_TIMEOUT)).milliseconds if service.ready else 0
    return Duration(ready + (PULL if workload.image else 0)) if ready or workload.image else None


def check_unit(workload: Workload, call: Call) -> Iterator[Finding]:
    """What is asked for that no unit keeps, or that the one that launches it is not written to keep."""
    yield from _check_watchdog(workload)
    if not call.unit:
        yield from _check_without(workload, call)
        return
    keeps, asked = dict(call.keeps), kept(workload)
    for key in keeps.keys() - asked.keys() - {*HARMLESS}:
        message = f"{key}: {call.unit} keeps {keeps[key]}, and nothing asks for it any more"
        yield Finding("no-unit", key, message, MAKE)
    for key, wanted in asked.items():
        if not _enough(key, keeps.get(key), wanted):
            does = f"keeps {keeps[key]}" if key in keeps else "keeps nothing of it"
            yield Finding("no-unit", key, f"{key} = {wanted}: {call.unit} {does}", MAKE)


def _check_without(workload: Workload, call: Call) -> Iterator[Finding]:
    """What nobody would keep: a run in the foreground is its caller's to start again."""
    for key, value in KEPT.items():
        if value(workload) in (None, "no") or (key in BY_VOLT and kept_by_volt(call)):
            continue
        message, hint = f"{key}: a unit of systemd keeps it, and this is launched by none", GENERATE
        if key in BY_VOLT:
            message = f"{key}: a detached run keeps it, or a unit of systemd; this is neither"
            hint = f"volt run --detach starts it in the background; {GENERATE}"
        yield Finding("no-unit", key, message, hint)


def _check_watchdog(workload: Workload) -> Iterator[Finding]:
    key, given, sign = "service.watchdog", workload.service.watchdog, workload.service.ready
    if given and workload.boots:
        message = f"{key}: what is booted tells nobody that it lives: systemd as process 1 sends no WATCHDOG=1"
        yield Finding("no-notify", key, message, "remove it, and write WatchdogSec= into the service's own unit")
    elif given and not (sign and sign.kind == "notify"):
        message = f"{key}: who does not notify is never heard of"
        yield Finding("no-notify", key, message, 'add ready = "notify", or remove it')
    elif given and given.milliseconds < WATCHDOG:
        message = f"{key} = {given}: a sign of life may take as long to be passed on"
        yield Finding("no-notify", key, message, f"write {Duration(WATCHDOG)} or more")


def _enough(key: str, does: str | None, wanted: str) -> bool:
    """Of a unit that waits longer than it is asked to the workload notices nothing."""
    if key not in LONGER or does is None:
        return does == wanted
    try:
        return Duration.parse(does).milliseconds >= Duration.parse(wanted).milliseconds
    except ValueError:  # somebody else's text
        return False


def owned(workload: Workload, facts: Facts, call: Call) -> Facts:
    """The facts with the unit that owns this launch. Raises HostUnfit where it is another workload's, where this is
    no process of it, and where it cannot do what is asked."""
    unit = call.unit
    if not unit:
        return facts
    if unit != unit_name(workload.name):
        message = f"{unit} launches the workload {workload.name}, whose unit has to be {unit_name(workload.name)}"
        raise HostUnfit(
            message, hint="give the workload the name that stands in the unit's, or the unit the workload's"
        )
    own, delegated = facts.control.own.path, facts.control.delegated
    place = own if own.endswith(f"/{unit}") else own.rpartition("/")[0]
    if not place.endswith(f"/{unit}"):
        raise HostUnfit(f"{unit} does not launch this: it lies in {own}", hint=f"systemctl start {unit}")
    if delegated is None or delegated.path != place:
        raise HostUnfit(f"{unit} has no cgroup that it may divide", hint="write Delegate=yes into its [Service]")
    ready = workload.service.ready
    if ready and ready.kind == "log":
        message = f"service.ready = {ready} cannot be seen: the journal has what the workload of a unit writes"
        raise HostUnfit(message, hint="choose notify, tcp:, http: or file:")
    return replace(facts, control=replace(facts.control, unit=unit))
