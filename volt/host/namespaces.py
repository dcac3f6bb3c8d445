"""Which network namespaces there are: those of processes and threads, and those that a descriptor or a mount holds."""

# ruff: noqa: PTH115, PTH116, PTH123, PTH208 (paths are text here)

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

PROC = "/proc"
_GONE = (FileNotFoundError, ProcessLookupError)  # a process that has ended meanwhile
_ALL_OF_THEM = f"pid:[{0xEFFFFFFC}]"  # PROC_PID_INIT_INO, linux/proc_ns.h: a pid namespace below it sees its own alone
_NAMED = re.compile(r"net:\[(\d+)\]", re.ASCII)  # namespaces(7)


def network_namespaces(proc: str = PROC) -> frozenset[int] | None:
    """The inodes of all that there are, None where not every process could be looked at: then there may be others."""
    try:
        if os.readlink(f"{proc}/self/ns/pid") != _ALL_OF_THEM:
            return None
        return frozenset(number for pid in os.listdir(proc) if pid.isdecimal() for number in _of(f"{proc}/{pid}"))
    except OSError:
        return None


def _of(process: str) -> Iterator[int]:
    """Raises OSError."""
    with suppress(*_GONE):
        for thread in os.listdir(f"{process}/task"):
            with suppress(*_GONE):
                yield os.stat(f"{process}/task/{thread}/ns/net").st_ino
    with suppress(*_GONE):
        for descriptor in os.listdir(f"{process}/fd"):
            with suppress(*_GONE):
                yield from map(int, _NAMED.findall(os.readlink(f"{process}/fd/{descriptor}")))
    # One of a mount may be of a mount namespace that only this process is in. A zombie has none.
    with suppress(*_GONE), open(f"{process}/mountinfo", errors="replace") as mounts:
        yield from map(int, _NAMED.findall(mounts.read()))
