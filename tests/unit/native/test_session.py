"""Sessions of the init: who holds the control socket has calls tried behind the payload's own steps."""

from __future__ import annotations

import array
import errno
import os
import platform
import signal
import socket
import struct
from contextlib import contextmanager

import pytest

from tests.unit.native.test_init import HEAD, ON_TERMINAL, START, running, shell, terminal
from volt.model import protocol
from volt.model.attempts import Attempt, Invoked
from volt.model.protocol import GO_ON, SESSION_ATTEMPTS, Frame
from volt.model.steps import SetLimit
from volt.runs.session import encode

# asm/unistd.h
NUMBERS = {
    "x86_64": {"read": 0, "openat": 257, "getpid": 39, "kill": 62, "fcntl": 72},
    "aarch64": {"read": 63, "openat": 56, "getpid": 172, "kill": 129, "fcntl": 25},
}[platform.machine()]
AT_FDCWD, F_DUPFD = -100, 0
SLEEP = shell("exec sleep 60")
SECONDS = 20


class Session:
    """The asker's end."""

    def __init__(self, own):
        self.own = own

    def answer(self):
        """(wait status, result)."""
        data = self.own.recv(HEAD.size + protocol.FRAME_LIMIT)
        assert HEAD.unpack_from(data)[2] == Frame.ANSWER
        return struct.unpack("<Ii", data[HEAD.size :])

    def send(self, body):
        self.own.send(HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.ATTEMPT, len(body)) + body)

    def attempt(self, *calls, data=b""):
        self.send(encode(Attempt("", "", calls, data)))
        return self.answer()


@contextmanager
def session(init, kind=SESSION_ATTEMPTS):
    own, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own.settimeout(SECONDS)
    with own, far:
        frame = HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.SESSION, 4) + struct.pack("<I", kind)
        init.control.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far.fileno()]))])
        far.close()
        yield Session(own)


def call(name, *arguments, **more):
    return Invoked(NUMBERS[name], arguments, **more)


def ends(init):
    """The payload was there all the time, and is told to end."""
    init.signal(signal.SIGTERM)
    assert os.WTERMSIG(init.exited()) == signal.SIGTERM


def test_whoever_asks_before_the_payload_has_its_terminal_hears_the_end_and_does_no_harm(units):
    with running(units, ON_TERMINAL, [SLEEP]) as init, terminal(init):
        with session(init) as asked:
            assert asked.own.recv(1) == b""
        init.signal(GO_ON)
        init.started()
        ends(init)


@pytest.mark.parametrize(
    ("steps", "result"), [([], 100), ([SetLimit(resource="nofile", soft=64, hard=64)], -errno.EINVAL)]
)
def test_an_attempt_does_the_payloads_steps_first(units, steps, result):
    with running(units, [START], [*steps, SLEEP]) as init:
        init.started()
        with session(init) as asked:
            assert asked.answer() == (0, 1), "dumpable, where no step forbids it"
            for _ in range(2):
                assert asked.attempt(call("fcntl", 0, F_DUPFD, 100)) == (0, result)
        ends(init)


def test_calls_take_data_and_what_the_call_before_gave(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            read = call("read", 0, 0, 1, places=(1,), previous=(0,))
            opened = call("openat", AT_FDCWD, 0, 0, places=(1,))
            assert asked.attempt(opened, read, data=b"/dev/zero\0") == (0, 1)
            assert asked.attempt(opened, read, data=b"/no/such\0") == (0, -errno.ENOENT)
            assert asked.attempt(call("openat", AT_FDCWD, 99, 0, places=(1,))) == (0, -errno.EFAULT)
        ends(init)


def test_what_an_attempt_does_to_itself_ends_neither_the_session_nor_the_payload(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            kill = call("kill", 0, signal.SIGKILL, previous=(0,))
            assert asked.attempt(call("getpid"), kill) == (signal.SIGKILL, 0)
            assert asked.attempt(call("getpid"))[0] == 0
        ends(init)


def test_a_damaged_attempt_is_not_tried(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            for body in (b"", struct.pack("<I", 1), struct.pack("<I", 2**31) + bytes(4000)):
                asked.send(body)
                assert asked.answer()[0] == 125 << 8
        ends(init)


def test_a_session_of_no_known_kind_is_closed(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init, kind=99) as asked:
            assert asked.own.recv(1) == b""
        ends(init)


def test_a_session_without_a_socket_is_no_frame(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        init.send(Frame.SESSION, struct.pack("<I", SESSION_ATTEMPTS))
        assert init.process.wait(SECONDS) == 125
