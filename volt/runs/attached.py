"""The input and the output of a detached run, while it runs: its log as it grows, and the end of a pipe or of a
terminal that its supervisor holds.

Whoever may trace the supervisor takes a copy of that end with pidfd_getfd(2): the supervisor need not know of it, any
number can, and none can keep another from it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.runs.log_files import BLOCK, LogFiles
from volt.runs.processes import GONE, between_starts, descriptors, tree_of
from volt.runs.session import copy_descriptor

if TYPE_CHECKING:
    from volt.runs.record import Record

PTMX = os.makedev(5, 2)  # Documentation/admin-guide/devices.txt


def input_of(record: Record, supervisor: int) -> int | None:
    """What the payload of a detached run reads, as a descriptor to write to that blocks nobody: the pipe of `-i`, or
    the master of its terminal. None where it has neither, or nothing in it reads any more, or yet: between two starts.
    `supervisor` is the pidfd of its supervisor. Raises StateError."""
    if not (record.terminal or record.interactive) or between_starts(record):
        return None
    try:
        return _found(record, supervisor)
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except OSError as error:
        raise StateError(f"{record.name}: its input cannot be reached: {error}") from error


def _found(record: Record, pidfd: int) -> int | None:
    """What it leads to is looked at on the copy: the number may be another's by then. Of the pipes that the supervisor
    writes to it is the one that something inside holds too: no other of them is ever handed in."""
    inside = set() if record.terminal else _pipes_inside(record)
    for number, target in descriptors(record.pid):
        if not ("ptmx" in target if record.terminal else target in inside):
            continue
        copied = copy_descriptor(pidfd, number)
        if record.terminal and _is_master(copied):  # whose description the supervisor has set not to block
            return copied
        try:  # a description of our own: that this one does not block must not be another's concern
            if not record.terminal and _is_written(copied):
                return os.open(f"/proc/self/fd/{copied}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(copied)
    return None


def _is_master(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == PTMX


def _pipes_inside(record: Record) -> set[str]:
    found: set[str] = set()
    for pid in tree_of(record).inside:
        with suppress(*GONE):
            found.update(target for _, target in descriptors(pid) if target.startswith("pipe:"))
    return found


def _is_written(descriptor: int) -> bool:
    writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    return writes and stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def log_from_now(folder: str, name: str) -> LogFiles:
    """The log of a run, to be read from the end of its last whole line on. Raises StateError where it has none."""
    files = LogFiles(folder)
    if not files.files:
        raise StateError(f"{name} has no log")
    newest = files.files[-1]
    size = os.fstat(newest).st_size
    begin = max(0, size - BLOCK)
    files.seek(len(files.files) - 1, begin + os.pread(newest, size - begin, begin).rfind(b"\n") + 1)
    return files


class Turn:
    """What following a log waits by; `wait` is called with whether there was something new, and says whether to go
    on."""

    def __init__(self, wait: Callable[[bool], bool]) -> None:
        self._wait = wait

    def __call__(self, fresh: bool) -> bool:
        return self._wait(fresh)

    def close(self) -> None:
        """Nothing is held."""
