"""The plan that a living run was started with: its supervisor keeps the file open that it came from."""

# A link of /proc may be no path.
# ruff: noqa: PTH123

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.runs.processes import GONE, descriptors

if TYPE_CHECKING:
    from volt.runs.record import Record

HANDED = "/memfd:volt-plan"  # volt/launch/handover.py
MOST = 17 << 20  # bytes; a plan is at most 16 MiB


def kept_plan(record: Record, state: str) -> bytes:
    """The plan's binary form, or the entry of the plan cache in the folder `state` with it; no other file that the
    caller may have handed in. Raises StateError."""
    entries = os.path.realpath(f"{state}/plans") + "/"
    try:
        for number, target in descriptors(record.pid):
            if target.startswith((HANDED, entries)):
                with open(f"/proc/{record.pid}/fd/{number}", "rb") as file:
                    return file.read(MOST)
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except PermissionError as error:
        raise StateError(f"{record.name}: its plan cannot be read", hint="run it with sudo") from error
    raise StateError(f"{record.name} was started by a volt that did not keep its plan", hint="start it again")
