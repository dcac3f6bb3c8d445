"""The plan that a living run was started with: its supervisor keeps the file open that it came from."""

# What a link of /proc says may be no path.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.runs.processes import GONE

if TYPE_CHECKING:
    from volt.runs.record import Record

HANDED = "/memfd:volt-plan"  # volt/launch/handover.py
ENTRIES = "/plans/"  # the plan cache, below the state folder
MOST = 17 << 20  # bytes; a plan is at most 16 MiB


def kept_plan(record: Record) -> bytes:
    """The plan's binary form, or the cache entry with it. Raises StateError."""
    try:
        for name in os.listdir(f"/proc/{record.pid}/fd"):
            path = f"/proc/{record.pid}/fd/{name}"
            target = os.readlink(path)
            if target.startswith(HANDED) or ENTRIES in target:
                with open(path, "rb") as file:
                    return file.read(MOST)
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except PermissionError as error:
        raise StateError(f"{record.name}: its plan cannot be read", hint="run it with sudo") from error
    raise StateError(f"{record.name} was started by a volt that did not keep its plan", hint="start it again")
