"""A session behind a running workload's wall: attempts are handed to its init, which forks who makes them.

The control socket has no name that anything could connect to. Who may trace the supervisor takes a copy of its end with
pidfd_getfd(2), and sends one frame with a socket of the session's own; all else goes over that.

An attempt is `count u32`, then for each call `number u64`, six arguments u64, `places u32` and `previous u32` as bits,
then the data.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.attempts import Attempt, Tried, Tries
from volt.model.protocol import FRAME_LIMIT, MAGIC, OLDEST, SESSION_ATTEMPTS, VERSION, Frame
from volt.runs.processes import GONE, between_starts, descriptors

if TYPE_CHECKING:
    from volt.runs.record import Record

UNSPOKEN_HINT = "volt stop ends it all the same; volt restart launches it with this version"
SECONDS = 10.0  # that an answer may take: an attempt is ended after five
_PIDFD_GETFD = 438  # asm-generic/unistd.h
_HEAD = struct.Struct("<IHHI")
_CALL = struct.Struct("<Q6QII")
_CREDENTIALS = struct.Struct("<iII")  # struct ucred, unix(7)
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def tried(record: Record, attempts: Iterable[Attempt]) -> Tries:
    """What comes of each attempt. Raises StateError where the init does not answer in time."""
    try:
        with closing(open_session(record, SESSION_ATTEMPTS)) as session:
            dumpable = greeting(session, record.protocol)
            if dumpable < 0:
                raise StateError(f"{record.name}: its init cannot read its plan again: {os.strerror(-dumpable)}")
            found = tuple(_try(session, attempt, record.protocol) for attempt in attempts)
            session.shutdown(socket.SHUT_WR)
            session.recv(1)  # nothing: it has closed its end
            return Tries(dumpable, found)
    except TimeoutError as error:
        raise StateError(f"{record.name}: its init does not answer within {SECONDS:.0f} seconds") from error
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except (OSError, EOFError) as error:
        message = f"{record.name}: nothing can be tried behind its wall: {error}"
        raise StateError(message, hint="a pids_max that is used up, or a payload that kills, ends a session") from error


def send_number(record: Record, kind: Frame, number: int) -> None:
    """A frame with one number for the init of a run, as its supervisor sends them. Raises StateError, OSError."""
    _require_spoken(record)
    with closing(_control(record)) as control:
        control.send(frame_of(kind, struct.pack("<I", number), record.protocol), socket.MSG_DONTWAIT)


def unspoken(record: Record) -> str:
    """Why nothing can be said to the init of a run, in words; "" where it can."""
    if OLDEST <= record.protocol <= VERSION:
        return ""
    theirs = f"speaks protocol {record.protocol}" if record.protocol else "does not say which protocol it speaks"
    known = f"{OLDEST} to {VERSION}" if OLDEST < VERSION else VERSION
    return f"{record.name} was started by another version of volt: its supervisor {theirs}, this one knows {known}"


def _require_spoken(record: Record) -> None:
    """An init that meets a frame of another version ends its run. Raises StateError."""
    if reason := unspoken(record):
        raise StateError(reason, hint=UNSPOKEN_HINT)


def _control(record: Record) -> socket.socket:
    """The supervisor's end of the control socket: of its sockets, the one that it made itself in pairs of packets."""
    pidfd = os.pidfd_open(record.pid)
    try:
        for number, target in descriptors(record.pid):
            if not target.startswith("socket:"):
                continue
            one = _copied(pidfd, number)
            if one and _is_control(one, record.pid):
                return one
            if one:
                one.close()
    finally:
        os.close(pidfd)
    raise between_starts(record) or StateError(f"{record.name} has no control socket")


def _copied(pidfd: int, number: int) -> socket.socket | None:
    """A socket of the supervisor's; None where it has closed that meanwhile, and made no other. Raises OSError."""
    copied = -1
    try:
        copied = copy_descriptor(pidfd, number)
        return _shared(copied)
    except OSError as error:
        if copied >= 0:
            os.close(copied)
        if error.errno in (errno.EBADF, errno.ENOTSOCK):
            return None
        raise


def _shared(descriptor: int) -> socket.socket:
    """A socket that others have too: whether it blocks stays as it is for them, socket.setdefaulttimeout or not."""
    blocks = os.get_blocking(descriptor)
    one = socket.socket(fileno=descriptor)
    if os.get_blocking(descriptor) != blocks:
        os.set_blocking(descriptor, blocks)
    return one


def copy_descriptor(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2). Raises OSError."""
    copied: int = _syscall(ctypes.c_long(_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(descriptor), ctypes.c_uint(0))
    if copied < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copied


def _is_control(one: socket.socket, pid: int) -> bool:
    if one.family != socket.AF_UNIX or one.type != socket.SOCK_SEQPACKET:
        return False
    found = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[0] == pid)


def open_session(record: Record, kind: int) -> socket.socket:
    """Our end of a new session's socket; the init has the other. Raises StateError, OSError."""
    _require_spoken(record)
    with closing(_control(record)) as control:
        return _session(control, kind, record.protocol)


def greeting(session: socket.socket, version: int = VERSION) -> int:
    """The first answer of a session: PR_GET_DUMPABLE of the init, or an error, negative. Raises OSError, EOFError."""
    return _answer(session, version).result


def _session(control: socket.socket, kind: int, version: int) -> socket.socket:
    own, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.setblocking(True)  # the init reads it when it is to, whatever socket.setdefaulttimeout says here
    with far:
        handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far.fileno()]))]
        control.sendmsg([frame_of(Frame.SESSION, struct.pack("<I", kind), version)], handed, socket.MSG_DONTWAIT)
    own.settimeout(SECONDS)
    return own


def frame_of(kind: Frame, body: bytes, version: int = VERSION) -> bytes:
    """A frame as it is sent."""
    return _HEAD.pack(MAGIC, version, kind, len(body)) + body


def _try(session: socket.socket, attempt: Attempt, version: int) -> Tried:
    session.send(frame_of(Frame.ATTEMPT, encode(attempt), version))
    return _answer(session, version)


def encode(attempt: Attempt) -> bytes:
    """The body of its frame."""
    calls = b"".join(
        _CALL.pack(call.number, *_six(call.arguments), _bits(call.places), _bits(call.previous))
        for call in attempt.calls
    )
    return struct.pack("<I", len(attempt.calls)) + calls + attempt.data


def _six(arguments: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value & (2**64 - 1) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6])


def _bits(positions: tuple[int, ...]) -> int:
    return sum(1 << position for position in positions)


def receive(session: socket.socket, version: int = VERSION) -> tuple[int, bytes]:
    """The type and the body of the next frame. Raises StateError, OSError, EOFError where the session was ended."""
    try:
        data = session.recv(_HEAD.size + FRAME_LIMIT)
    except ConnectionResetError:  # closed with our last frame unread: told once, and before what was sent ahead of that
        data = session.recv(_HEAD.size + FRAME_LIMIT)
    if not data:
        raise EOFError("the session was ended")
    magic, theirs, kind, length = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (0, 0, 0, 0)
    if (magic, theirs, length) != (MAGIC, version, len(data) - _HEAD.size):
        raise StateError("an answer of the init is damaged")
    return kind, data[_HEAD.size :]


def _answer(session: socket.socket, version: int) -> Tried:
    kind, body = receive(session, version)
    if kind != Frame.ANSWER or len(body) != 8:
        raise StateError("an answer of the init is damaged")
    return Tried(*struct.unpack("<Ii", body))
