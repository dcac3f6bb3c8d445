"""A living run's supervisor, held by a descriptor: signals for its payload, its end, and how it ended."""

# What a link of /proc says may be no path.
# ruff: noqa: PTH123

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from volt.errors import HostUnfit, StateError
from volt.model.modes import Mode
from volt.model.protocol import Frame
from volt.model.run import Outcome, RunState, read_outcome
from volt.runs.boot import is_of_this_boot
from volt.runs.processes import GONE
from volt.runs.session import send_number, unspoken
from volt.runs.states import ended, read_end, read_record, with_restarts

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

LONGEST = 2**31 - 1  # milliseconds, of poll(2)
START_CLOCK = 22  # proc_pid_stat(5): the field's number
# What the supervisor itself passes on, from before its control socket is there.
PASSED_ON = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2))


class Supervisor:
    """The supervisor of one run, as long as it is looked at: a context manager.

    Its pidfd is its own and no other process's, whatever happens to the number: it is opened first, and then start
    clock and boot are compared with the record.
    """

    def __init__(self, folders: Folders, record: Record, pidfd: int, lock: int) -> None:
        self.record = record
        self.pidfd = pidfd
        self._folders = folders
        self._lock = lock

    def send(self, number: int) -> None:
        """A signal for the payload, by the init: SIGKILL and SIGSTOP too. Raises StateError."""
        try:
            send_number(self.record, Frame.SIGNAL, number)
        except BlockingIOError as error:
            raise StateError(f"{self.record.name}: its init takes no more signals", hint="volt stop ends it") from error
        except (StateError, OSError) as error:
            if self.wait(0):
                raise StateError(f"{self.record.name} has ended meanwhile") from error
            # With an image's init the supervisor takes them for itself: as what asks it to end.
            if number not in PASSED_ON or self.record.mode == Mode.HYBRID_NATIVE:
                untaken = (
                    f"{self.record.name} takes no such signal: it has not started yet, or what takes them has ended"
                )
                raise StateError(unspoken(self.record) or untaken, hint="volt stop ends it") from error
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def forbid_restart(self) -> None:
        """Whatever ends its payload from now on, it is not started anew: told before it is ended. Where no file can
        say so SIGTERM does, by which it asks its payload to end, too."""
        if not self.record.restart:
            return
        path = f"{self._folders.run}/runs/{self.record.id}/ending"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except FileNotFoundError:  # it has ended meanwhile
            return
        except OSError:  # a full disk, say
            self.ask_to_end()

    def ask_to_end(self) -> None:
        """SIGTERM to the supervisor: it ends the run where that waits between two starts, and elsewhere asks an image's
        init, or its payload where what takes signals there is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the supervisor, with which all of the run dies."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self, timeout: float | None) -> bool:
        """Whether it has ended, `timeout` seconds from now at the latest."""
        ready = select.poll()
        ready.register(self.pidfd, select.POLLIN)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (ended := ready.poll(milliseconds_to(deadline))) and not has_come(deadline):
            continue
        return bool(ended)

    def end(self) -> RunState:
        """How the run ended, whose supervisor has: from its outcome, else from what it wrote last in its claim.

        A run that is neither kept nor was held open then is lost. Raises StateError, OSError.
        """
        run = self.record.id
        for folder in (f"{self._folders.run}/ended/{run}", f"{self._folders.run}/runs/{run}"):
            if end := read_end(folder, run):
                return with_restarts(ended(self.record, *end), folder)
        outcome = self._last_words()
        return ended(self.record, outcome, int(time.time()))

    def _last_words(self) -> Outcome | None:
        os.lseek(self._lock, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._lock), "rb") as file:
            _, _, document = file.read().partition(b"\n")
        try:
            return read_outcome(document) if document else None
        except ValueError:
            return None

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self.pidfd, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.pidfd = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def milliseconds_to(deadline: float | None) -> float | None:
    """For poll(2), to a moment by time.monotonic(): where there are more than it takes it ends before that."""
    return None if deadline is None else min(LONGEST, max(0.0, deadline - time.monotonic()) * 1000)


def has_come(deadline: float | None) -> bool:
    """Whether there is no time left. NaN is no time."""
    return deadline is not None and not time.monotonic() < deadline


def hold(folders: Folders, run: str) -> Supervisor | None:
    """The supervisor of the run with that id; None when it has ended. Raises StateError, HostUnfit."""
    folder = f"{folders.run}/runs/{run}"
    try:
        lock = os.open(f"{folder}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise HostUnfit("reaching a workload needs root", hint="run it with sudo") from error
    try:
        record = read_record(folder, run)
        pidfd = _open_process(record) if record else None
    except BaseException:
        os.close(lock)
        raise
    if record is None or pidfd is None:
        os.close(lock)
        return None
    return Supervisor(folders, record, pidfd, lock)


def _open_process(record: Record) -> int | None:
    """pidfd_open(2) of a record's process; None when that has ended."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    if _is_supervisor(record):
        return pidfd
    os.close(pidfd)
    return None


def _is_supervisor(record: Record) -> bool:
    """Whether the process with the record's number began when the record says, in the same boot."""
    try:
        with open(f"/proc/{record.pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name before it is in parentheses, and may hold anything.
            clock = int(file.read().rpartition(")")[2].split()[START_CLOCK - 3])
        return clock == record.clock and is_of_this_boot(record)
    except GONE:
        return False
