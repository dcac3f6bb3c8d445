"""The limits of a run that lives: changed all or none, read back as the kernel holds them."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.model.limits import OWN_TASKS
from volt.runs.cgroup import check_path
from volt.runs.processes import between_starts

if TYPE_CHECKING:
    from volt.model.limits import Change
    from volt.runs.record import Record

# The files of each field, Documentation/admin-guide/cgroup-v2.rst; the first that is there is read back.
FILES: Mapping[str, tuple[str, ...]] = {
    "memory_limit": ("memory.max",),
    "memory_soft": ("memory.high",),
    "cpu_weight": ("cpu.weight",),
    "cpu_set": ("cpuset.cpus",),
    "io_weight": ("io.bfq.weight", "io.weight"),
    "pids_max": ("pids.max",),
}
WEIGHTS = ("cpu_weight", "io_weight")
ENABLE = "cgroup.subtree_control"
BUS_ANSWERS = 10.0  # seconds


def change_limits(record: Record, changes: Sequence[Change]) -> None:
    """Give the run its new limits; when one cannot be set the others are what they were.

    Raises VoltError when the kernel or systemd refuses one, StateError when the run has ended meanwhile.
    """
    check_path(record.cgroup, record.id)
    files = [change for change in changes if not change.unit_property]
    weights = {change.unit_property: change.weight for change in changes if change.unit_property}
    written: list[tuple[Path, str]] = []
    try:
        for change in files:
            _enable(record, change.controller)
        for change in files:
            file = _holder(record, change.key) / change.file
            before = _read(file) or ""
            _write(file, change.value)
            written.append((file, before))
        if weights:  # at last: systemd takes all of them or none, and what it has taken needs no undo
            _tell_systemd(record.scope, weights)
    except OSError as error:
        _restore(written)
        raise _explained(record, error) from error
    except VoltError:
        _restore(written)
        raise


def read_limits(record: Record) -> dict[str, str]:
    """Every field's value as the kernel has it, `max` for none; what has no controller is left out."""
    found = {}
    for key, names in FILES.items():
        values = (_read(_holder(record, key) / name) for name in names)
        value = next((value for value in values if value is not None), None)
        if value is not None:
            found[key] = _shown(key, value)
    return found


def _shown(key: str, value: str) -> str:
    """Without what is volt's own, or the kernel's way of writing."""
    if key == "pids_max" and value.isdecimal():
        return str(int(value) - OWN_TASKS)
    return value.removeprefix("default ")


def _holder(record: Record, key: str) -> Path:
    """Weights compare siblings: in a scope of its own that is the scope."""
    own = Path(record.cgroup)
    return own.parent if record.scope and key in WEIGHTS else own


def _read(file: Path) -> str | None:
    """What it says, None where there is no such file."""
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _write(file: Path, value: str) -> None:
    """At once and whole, as the kernel takes it. Raises OSError that names the file."""
    try:
        file.write_text(f"{value}\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _restore(written: Sequence[tuple[Path, str]]) -> None:
    for file, before in reversed(written):
        try:
            _write(file, before or _every_core(file))
        except OSError:
            continue  # the run has ended, and its limits with it


def _every_core(cpus: Path) -> str:
    """In the place of an empty cpuset.cpus, which one with processes in it cannot have again: what it came to."""
    return _read(cpus.parent.parent / "cpuset.cpus.effective") or ""


def _enable(record: Record, controller: str) -> None:
    """The controller for the run's own cgroup, from the one above. In a scope the supervisor makes way first: a
    cgroup whose children have controllers holds no process itself, cgroups(7)."""
    above = Path(record.cgroup).parent
    if controller in (above / ENABLE).read_text().split():
        return
    if record.scope:
        leaf = above / "supervisor"
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", str(record.pid))
    _write(above / ENABLE, f"+{controller}")


def _tell_systemd(unit: str, weights: Mapping[str, int]) -> None:
    """SetUnitProperties, for as long as the unit lives, all or none: org.freedesktop.systemd1(5). Raises VoltError."""
    from jeepney import DBusAddress, new_method_call
    from jeepney.io.blocking import open_dbus_connection
    from jeepney.wrappers import DBusErrorResponse, unwrap_msg

    manager = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
    values = [(name, ("t", weight)) for name, weight in weights.items()]
    asked = new_method_call(manager, "SetUnitProperties", "sba(sv)", (unit, True, values))
    try:
        with open_dbus_connection(bus="SYSTEM") as bus:
            unwrap_msg(bus.send_and_get_reply(asked, timeout=BUS_ANSWERS))
    except DBusErrorResponse as error:
        raise VoltError(f"systemd does not set {' and '.join(weights)} of {unit}: {error}") from error
    except (OSError, TimeoutError) as error:
        raise VoltError(f"systemd cannot be reached: {error}", hint="systemctl status dbus") from error


def _explained(record: Record, error: OSError) -> VoltError:
    if not os.path.lexists(record.cgroup):
        return between_starts(record) or StateError(f"{record.name} has ended meanwhile")
    where = error.filename or record.cgroup
    if error.errno in (errno.EBUSY, errno.ENOENT) and where.endswith(ENABLE):
        message = f"{record.name} was started where no such limit can be held: {where}"
        return VoltError(message, hint="start it again with the limit in its manifest")
    return VoltError(f"{where}: {error.strerror}")
