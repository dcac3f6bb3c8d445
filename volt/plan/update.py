"""New limits for a workload that runs: what is written to its cgroup, and what systemd is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from volt.errors import ManifestError, VoltError
from volt.model.facts import Facts
from volt.model.limits import Change
from volt.model.workload import Resources
from volt.plan.limits import CONTROLLERS, UNIT_PROPERTIES, asked, check_soft, limits, ranges

# A field without a limit again, as the kernel writes it; 100 is every weight's default. A cpuset with processes in
# it cannot be empty again: it gets every core.
EVERY_CORE = ""
LIFTED = {
    "memory_limit": (("memory.max", "max"), ("memory.swap.max", "max")),
    "memory_soft": (("memory.high", "max"),),
    "cpu_weight": (("cpu.weight", "100"),),
    "cpu_set": (("cpuset.cpus", EVERY_CORE),),
    "io_weight": (("io.weight", "100"),),
    "pids_max": (("pids.max", "max"),),
}
USUAL_WEIGHT = 100
NONE = ("none", "0")  # 0 is no limit in a manifest, too
NUMBERS = ("cpu_weight", "io_weight", "pids_max")
MOST_DIGITS = 20


def parts(name: str, wanted: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A manifest with the limits that are wanted, to be read as any other, and the fields that are lifted."""
    lifted = tuple(key for key, value in wanted.items() if value in NONE)
    given = {key: _typed(key, value) for key, value in wanted.items() if value not in NONE}
    return {"workload": {"name": name, "mode": "container"}, "resources": given}, lifted


def _typed(key: str, value: str) -> str | int:
    """Numbers are numbers in a manifest; anything else stays as it is, to be refused there."""
    number = key in NUMBERS and value.isascii() and value.isdecimal() and len(value) < MOST_DIGITS
    return int(value) if number else value


def changes(wanted: Resources, lifted: Sequence[str], facts: Facts, *, scope: bool) -> tuple[Change, ...]:
    """What gives a run these limits, and takes the lifted ones away. Raises VoltError for what cannot be here."""
    if wanted.io_weight is not None and not facts.control.io_weight:
        raise VoltError("nothing on this machine acts on I/O weights", hint="modprobe bfq")
    absent = sorted(set(wanted.cpu_set or ()) - set(facts.control.cores))
    if absent:
        message = f"this machine has no core {ranges(tuple(absent))}"
        raise VoltError(message, hint=f"it has {ranges(facts.control.cores)}")
    set_ = ((one.key, one.file, one.value) for one in limits(wanted, facts, asked(wanted)))
    return tuple(_change(wanted, *one, scope=scope) for one in (*set_, *_lifted(lifted, facts)))


def check_memory(found: Sequence[Change], held: Mapping[str, str]) -> None:
    """The memory of the run after these changes, of which one may meet what the other limit was before; `held` is
    each field's value now, `max` for none. Raises ManifestError when memory_soft would not be below memory_limit."""
    new = {one.key: one.value for one in found if one.file in ("memory.max", "memory.high")}
    after = {**held, **new}
    soft, limit = after.get("memory_soft", "max"), after.get("memory_limit", "max")
    if not new or "max" in (soft, limit):
        return
    key = "memory_soft" if "memory_soft" in new else "memory_limit"
    if wrong := tuple(check_soft(key, int(soft), int(limit))):
        raise ManifestError(wrong)


def _lifted(keys: Sequence[str], facts: Facts) -> Iterator[tuple[str, str, str]]:
    for key in keys:
        for file, value in LIFTED[key]:
            if file == "memory.swap.max" and not facts.control.swap:
                continue
            file_of = facts.control.io_weight or file if key == "io_weight" else file
            yield key, file_of, ranges(facts.control.cores) if value == EVERY_CORE else value


def _change(wanted: Resources, key: str, file: str, value: str, *, scope: bool) -> Change:
    if not scope or key not in UNIT_PROPERTIES:
        return Change(key, CONTROLLERS[key], file, value)
    weight = getattr(wanted, key) or USUAL_WEIGHT
    return Change(key, CONTROLLERS[key], file, value, UNIT_PROPERTIES[key], weight)
