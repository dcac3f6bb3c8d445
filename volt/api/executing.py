"""Commands in workloads that run: behind the payload's whole wall, in its place."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self

from volt.errors import StateError, VoltError
from volt.model.asked import Asked, Ended
from volt.model.run import Outcome
from volt.model.values import replace

if TYPE_CHECKING:
    from volt.plan.users import Identity
    from volt.runs.command import Command
    from volt.runs.record import Record

PIPE = -1  # subprocess.PIPE, subprocess.DEVNULL
DEVNULL = -3

Stream = int | None


class Execution:
    """A command in a workload. A context manager that kills it at its end; not for several threads at once.

    `stdin`, `stdout` and `stderr` are streams where a pipe was asked for, else None. `master` is the descriptor of its
    terminal's master where it has one, else None; it is closed with this.
    """

    def __init__(self, command: Command, master: int | None, ends: Sequence[int | None]) -> None:
        self.name = command.name
        self.master = master
        self._command = command
        self.stdin: IO[bytes] | None = None if ends[0] is None else os.fdopen(ends[0], "wb", buffering=0)
        self.stdout: IO[bytes] | None = None if ends[1] is None else os.fdopen(ends[1], "rb")
        self.stderr: IO[bytes] | None = None if ends[2] is None else os.fdopen(ends[2], "rb")

    def fileno(self) -> int:
        """For select(2): readable when `poll` may have an outcome."""
        return self._command.fileno()

    def poll(self) -> Outcome | None:
        """The outcome, None while it runs. Raises StateError when the workload ended it."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The outcome, None where it still runs after `timeout` seconds. Raises StateError as `poll`."""
        ended = self._command.poll(timeout)
        return None if ended is None else _outcome(ended)

    def signal(self, number: int) -> None:
        """Send the command a signal; INT, QUIT, HUP, STOP and CONT go to its whole process group."""
        self._command.signal(number)

    def close(self) -> None:
        """Kill what still runs of it, and close the streams."""
        self._command.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                with suppress(OSError):  # a pipe that nobody reads any more
                    stream.close()
        if self.master is not None:
            os.close(self.master)
            self.master = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def execute(
    workload: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str = "",
    folder: str = "",
    stdin: Stream = DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    terminal: bool = False,
    term: str = "",
) -> Execution:
    """Start a command in a running workload, in the place of its payload: behind the same walls, with the same
    environment, limits and user, and return when its exec has succeeded or failed.

    `env` is added to the payload's environment. `user` is "USER" or "USER:GROUP", looked up in the workload, `folder`
    where it starts. The streams are descriptors, PIPE, DEVNULL, or None for this process's own; none may be a
    terminal. With `terminal` it has one of its own instead, whose master the execution has, and `term` is its TERM.
    A command that cannot be run is an outcome, by "volt", with 126 or 127; so is, with 125, a folder that is not there.

    Raises StateError when no such workload runs, or it is paused or full, HostUnfit without root, VoltError for a user
    that it does not know.
    """
    from volt.api.looking import running
    from volt.host.folders import folders
    from volt.runs.command import begin

    if not command:
        raise VoltError("there is no command to execute")
    record = running(folders(), workload)
    who = identity(record, user) if user else None
    asked = _asked(command, env or {}, folder, who)
    if terminal:
        return _on_terminal(record, replace(asked, defaults=(*asked.defaults, *([f"TERM={term}"] if term else []))))
    given, ends = _streams((stdin, stdout, stderr))
    try:
        started = begin(record, asked, given)
    except BaseException:
        _close([end for end in ends if end is not None])
        raise
    finally:
        _close([own for own, stream in zip(given, (stdin, stdout, stderr), strict=True) if _is_own(stream)])
    return Execution(started, None, ends)


def _on_terminal(record: Record, asked: Asked) -> Execution:
    from volt.runs.command import begin
    from volt.runs.inside import open_terminal

    uid = _payload_uid(record) if asked.uid is None else asked.uid
    master, slave = open_terminal(record, uid)
    try:
        return Execution(begin(record, asked, (slave,) * 3, terminal=True), master, (None,) * 3)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)


def identity(record: Record, user: str) -> Identity:
    """USER[:GROUP] by the workload's own account files. Raises VoltError."""
    from volt.model.workload import User
    from volt.plan.users import UnknownUserError, identify
    from volt.runs.inside import account_files

    name, colon, group = user.partition(":")
    if not name or (colon and not group):
        raise VoltError(f"'{user}' is no user", hint="write USER or USER:GROUP, names or numbers")
    wanted = User(_name_or_number(name), _name_or_number(group) if group else None)
    try:
        return identify(wanted, *account_files(record))
    except UnknownUserError as error:
        raise VoltError(f"{record.name}: {error}", hint="a number needs no account") from error


def _name_or_number(word: str) -> str | int:
    return int(word) if word.isascii() and word.isdecimal() else word


def _asked(command: Sequence[str], env: Mapping[str, str], folder: str, who: Identity | None) -> Asked:
    added = tuple(f"{name}={value}" for name, value in env.items())
    if any("\0" in word for word in (*command, *added, folder)):
        raise VoltError("a NUL byte cannot be part of a command, its environment or its folder")
    if folder and not folder.startswith("/"):
        raise VoltError(f"the folder '{folder}' is relative", hint="write it from the workload's root: /…")
    asked = Asked(tuple(command), env=added, folder=folder)
    if who is None:
        return asked
    own = (f"HOME={who.home}", f"USER={who.name}")
    return replace(asked, defaults=own, uid=who.uid, gid=who.gid, groups=who.groups)


def _payload_uid(record: Record) -> int:
    """Whose the terminal is: the manifest's user, or root where the plan is of another version of volt."""
    from volt.host.folders import folders
    from volt.model.decode import decode
    from volt.model.steps import SetIdentity
    from volt.runs.kept import kept_plan

    with suppress(StateError):
        plan = decode(kept_plan(record, folders().state), record.name, record.mode)
        return next((step.uid for step in plan.payload if isinstance(step, SetIdentity)), 0)
    return 0


# ── streams


def _is_own(stream: Stream) -> bool:
    return stream in (PIPE, DEVNULL)


def _streams(wanted: Sequence[Stream]) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """The command's descriptors, and our ends of those that are pipes."""
    given: list[int] = []
    ends: list[int | None] = []
    for number, stream in enumerate(wanted):
        end = None
        if stream == PIPE:
            pair = os.pipe()
            own, end = pair if number == 0 else pair[::-1]
        elif stream == DEVNULL:
            own = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        else:
            own = number if stream is None else stream
            _refuse_terminal(own)
        given.append(own)
        ends.append(end)
    return tuple(given), tuple(ends)


def _refuse_terminal(descriptor: int) -> None:
    """Whoever is handed one can keep it, and read what is typed there long after."""
    if os.isatty(descriptor):
        raise VoltError(
            f"descriptor {descriptor} is a terminal, which a workload must not be given",
            hint="give it a pipe, or a terminal of its own",
        )


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _outcome(ended: Ended) -> Outcome:
    if ended.wait is None:
        name = errno.errorcode.get(ended.error)
        return Outcome(by="volt", status=ended.status, error=name, message=ended.message)
    signal = os.WTERMSIG(ended.wait) if os.WIFSIGNALED(ended.wait) else None
    return Outcome(by="payload", status=128 + signal if signal else os.WEXITSTATUS(ended.wait), signal=signal)
