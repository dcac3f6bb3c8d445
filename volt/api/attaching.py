"""At the input and the output of a detached workload that runs."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from volt.api.looking import looked
from volt.errors import NoSuchRun, StateError
from volt.host.folders import folders
from volt.model.run import RunState
from volt.runs.attached import Turn, input_of, log_from_now
from volt.runs.ending import QUICK, SLOW
from volt.runs.logs import Log, Wanted
from volt.runs.supervisor import hold

if TYPE_CHECKING:
    from volt.runs.log_files import LogFiles
    from volt.runs.logs import Sink
    from volt.runs.supervisor import Supervisor


class Attachment:
    """A run that goes on without it; a context manager. Not for several threads at once.

    `terminal` says whether its payload has one. `input` is a descriptor to write to, which does not block, or None
    where it was started with neither `-i` nor `-t`. Several may be attached at once: each has all output, what they
    write comes in the order in which they do, and the terminal's size is the last one's.
    """

    def __init__(self, supervisor: Supervisor, files: LogFiles, input_: int | None) -> None:
        self.name = supervisor.record.name
        self.terminal = supervisor.record.terminal
        self.input = input_
        self._supervisor = supervisor
        self._files = files
        self._pause = QUICK

    def fileno(self) -> int:
        """For select(2): readable when the run has ended."""
        return self._supervisor.pidfd

    def copy(self, stdout: Sink, stderr: Sink, turn: Callable[[bool], bool] | None = None) -> None:
        """Write what the payload writes from the attaching on, until it ends; what volt says of the log, to `stderr`.

        `turn` is called again and again with whether there was something new, waits a moment, and returns whether to go
        on. To be called once.
        """
        Log(self._files, Wanted(), Turn(turn or self._turn)).copy(stdout, stderr)

    def _turn(self, fresh: bool) -> bool:
        self._pause = QUICK if fresh else min(SLOW, self._pause * 2)
        return not self._supervisor.wait(self._pause)

    def resize(self, rows: int, columns: int) -> None:
        """The size of its terminal, where it has one."""
        if self.terminal and self.input is not None:
            import fcntl
            import termios

            fcntl.ioctl(self.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Send the payload a signal. Raises StateError where it has ended."""
        self._supervisor.send(number)

    def wait(self, timeout: float | None = None) -> RunState | None:
        """How it ended; None where it still runs after `timeout` seconds. Raises StateError where that is not known."""
        return self._supervisor.end() if self._supervisor.wait(timeout) else None

    def close(self) -> None:
        """Let go of it; it goes on."""
        self._files.close()
        self._supervisor.close()
        if self.input is not None:
            os.close(self.input)
            self.input = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(workload: str, *, stdin: bool = True) -> Attachment:
    """At the input and output of a detached workload, from now on; without `stdin` at its output alone.

    Raises StateError where no such workload runs, or it is not detached, HostUnfit without root.
    """
    where = folders()
    found = looked(where, workload)
    record = found.record
    if not record.detached:
        hint = "volt run --detach starts one that can be attached to; volt exec runs a command in any"
        raise StateError(f"{record.name} was not detached: its input and output are its caller's", hint=hint)
    supervisor = hold(where, record.id) if found.lives else None
    if supervisor is None:
        raise NoSuchRun(f"{record.name} has ended", hint=f"volt logs {record.name} prints what it has written")
    with ExitStack() as held:
        held.callback(supervisor.close)
        files = log_from_now(f"{where.log}/{record.id}", record.name)
        held.callback(files.close)
        attachment = Attachment(supervisor, files, input_of(record, supervisor.pidfd) if stdin else None)
        held.pop_all()
        return attachment
