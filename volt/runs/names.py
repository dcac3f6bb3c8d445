"""Which workloads there are, in as few system calls as a shell waits for: no record is judged, none is reported."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from volt.model.values import Value
from volt.runs.claims import is_held

if TYPE_CHECKING:
    from volt.model.folders import Folders

_LOCK = ".lock"
_MOST = 1 << 20


class Named(Value):
    """A run that has a record: its id, the workload's name, and whether it lives."""

    id: str
    name: str
    living: bool


def named_runs(folders: Folders) -> list[Named]:
    """Every run with a record that can be read, living or kept after its end, by name; none where the caller may not
    look."""
    places = [(folder, run) for folder in ("runs", "ended") for run in _entries(f"{folders.run}/{folder}")]
    found = (_named(f"{folders.run}/{folder}", run) for folder, run in places)
    return sorted(filter(None, found), key=lambda one: (one.name, one.id))


def _entries(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.endswith(_LOCK)]  # noqa: PTH208 (a shell waits)
    except OSError:
        return []


def _named(folder: str, run: str) -> Named | None:
    """None for a record that is torn, missing or no record at all."""
    try:
        descriptor = os.open(f"{folder}/{run}/record.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            values = json.loads(file.read(_MOST))
        name = values["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(name, str) or not name.isprintable():
        return None
    return Named(run, name, is_held(f"{folder}/{run}{_LOCK}"))
