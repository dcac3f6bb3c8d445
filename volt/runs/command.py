"""A command in a workload that runs: the init forks a session, which does the payload's steps with other words.

The words travel in a file: argv, defaults and env as texts, folder as text, then whether it is another user (u32), uid,
gid, and the groups as texts; texts as in volt/model/binary.py.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.asked import Asked, Ended
from volt.model.protocol import ON_TERMINAL, SESSION_COMMAND, Frame
from volt.runs.processes import GONE
from volt.runs.session import SECONDS, frame_of, greeting, open_session, receive

if TYPE_CHECKING:
    from volt.runs.record import Record

LONGEST = (2**31 - 1) // 1000  # seconds, of poll(2)
FULL = "no process can be started in it"
FULL_HINT = "its pids_max is used up: volt update --pids-max raises it"


class Command:
    """One that was started, or refused. Not for several threads at once."""

    def __init__(self, record: Record, session: socket.socket) -> None:
        self.name = record.name
        self._version = record.protocol
        self._session = session
        self._ended: Ended | None = None

    def fileno(self) -> int:
        """To be polled: readable when there is something for `poll` to learn."""
        return self._session.fileno()

    def signal(self, number: int) -> None:
        """To the command: INT, QUIT, HUP, STOP and CONT to its process group. Nothing where it has ended."""
        try:
            self._session.send(frame_of(Frame.SIGNAL, struct.pack("<I", number), self._version))
        except OSError:
            return

    def poll(self, seconds: float | None = 0) -> Ended | None:
        """How it ended, None where it has not within so many seconds (None: for ever). Raises StateError where the
        session was ended before it."""
        if self._ended is None:
            # Who would wait longer than poll(2) can, 24 days, is told then that it still runs.
            self._session.settimeout(None if seconds is None else min(seconds, LONGEST))
            try:
                self._ended = _ended(*receive(self._session, self._version))
            except (TimeoutError, BlockingIOError):
                return None
            except (OSError, EOFError) as error:
                raise _lost(self.name) from error
        return self._ended

    def close(self) -> None:
        """What still runs of it is killed."""
        self._session.close()

    def await_start(self) -> None:
        """Until its exec has succeeded, or has not. Raises StateError, OSError, EOFError."""
        self._session.settimeout(SECONDS)
        kind, body = receive(self._session, self._version)
        if kind != Frame.STARTED:
            self._ended = _ended(kind, body)


def begin(
    record: Record, asked: Asked, stdio: Sequence[int], *, terminal: bool = False, kind: int = SESSION_COMMAND
) -> Command:
    """Start a command with three standard descriptors, which stay the caller's to close. Raises StateError."""
    _refuse_paused(record)
    try:
        command = Command(record, open_session(record, kind))
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except OSError as error:
        raise StateError(f"{record.name}: nothing can be started in it: {error}") from error
    try:
        _ask(record, command, asked, stdio, terminal)
    except BaseException:
        command.close()
        raise
    return command


def _ask(record: Record, command: Command, asked: Asked, stdio: Sequence[int], terminal: bool) -> None:
    session = command._session  # noqa: SLF001 (made here, and used by nobody else yet)
    session.settimeout(SECONDS)
    try:
        first = greeting(session, record.protocol)
        if first < 0:
            raise StateError(
                f"{record.name}: {FULL}: {os.strerror(-first)}", hint=FULL_HINT if first == -errno.EAGAIN else ""
            )
        _send_words(record, session, asked, stdio, terminal)
        command.await_start()
    except TimeoutError as error:
        raise StateError(f"{record.name}: its init does not answer within {SECONDS:.0f} seconds") from error
    except (OSError, EOFError) as error:
        hint = "a payload that ends, or that kills, ends a session; a volt before 0.3 has none for commands"
        raise StateError(f"{record.name}: its init has closed the session", hint=hint) from error


def _send_words(record: Record, session: socket.socket, asked: Asked, stdio: Sequence[int], terminal: bool) -> None:
    words = os.memfd_create("volt-command")
    try:
        with os.fdopen(os.dup(words), "wb") as file:
            file.write(encode(asked))
        handed = array.array("i", [words, *stdio])
        flags = struct.pack("<I", ON_TERMINAL if terminal else 0)
        frame = frame_of(Frame.EXECUTE, flags, record.protocol)
        session.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
    finally:
        os.close(words)


def encode(asked: Asked) -> bytes:
    """What the session reads. Raises ValueError for a NUL byte."""
    numbers = struct.pack("<III", asked.uid is not None, asked.uid or 0, asked.gid)
    lists = b"".join(_texts(words) for words in (asked.argv, asked.defaults, asked.env))
    return lists + _text(asked.folder) + numbers + _texts(map(str, asked.groups))


def _texts(words: Iterable[str]) -> bytes:
    found = [_text(word) for word in words]
    return struct.pack("<I", len(found)) + b"".join(found)


def _text(word: str) -> bytes:
    data = os.fsencode(word).replace(b"\1", b"\1\0")
    if "\0" in word:
        raise ValueError("a NUL byte cannot be part of a command")
    return struct.pack("<I", len(data)) + data


def _ended(kind: int, body: bytes) -> Ended:
    if kind == Frame.EXITED and len(body) == 4:
        return Ended(wait=struct.unpack("<i", body)[0])
    if kind == Frame.FAILED and len(body) >= 8:
        status, error = struct.unpack_from("<Ii", body)
        return Ended(status=status, error=error, message=body[8:].decode(errors="replace"))
    raise StateError("an answer of the init is damaged")


def _lost(name: str) -> StateError:
    return StateError(f"{name}: the session ended before its command", hint="the workload has ended, or killed it")


def _refuse_paused(record: Record) -> None:
    """A frozen init answers nothing: cgroup.events, Documentation/admin-guide/cgroup-v2.rst."""
    try:
        with open(f"{record.cgroup}/cgroup.events", encoding="ascii") as file:  # noqa: PTH123 (no pathlib: it costs)
            events = file.read().splitlines()
    except OSError:
        return
    if "frozen 1" in events:
        raise StateError(f"{record.name} is paused", hint=f"volt unpause {record.name}")
