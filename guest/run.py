"""Running a guest: what it prints comes out as it comes, and its answer back; at a deadline it is ended."""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from guest import BOUND, GuestFailed
from guest.qemu import Channels

CONSOLE_LINES = 40  # of the console, shown when something is wrong
STARTED = 300.0  # seconds, until which the tests have to print something
# Escape sequences (ECMA-48) and other control characters.
_MOVES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*|c)?|[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Request:
    """What guest.inside is asked: pytest's arguments, and variables for its environment."""

    arguments: tuple[str, ...]
    environment: dict[str, str]

    def line(self) -> bytes:
        document = {"arguments": self.arguments, "environment": self.environment}
        return json.dumps(document).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """pytest's exit status, and its results as JUnit's XML."""

    status: int
    junit: str


@dataclass(slots=True)
class Guest:
    """A running QEMU and this side of its three channels."""

    process: subprocess.Popen[bytes]
    output: socket.socket
    control: socket.socket
    console: socket.socket
    seen: bytearray = field(default_factory=bytearray)  # of the console, its last part
    answer: bytearray = field(default_factory=bytearray)
    printed: int = 0  # bytes

    @classmethod
    def start(cls, argv: Callable[[Channels], list[str]], stack: ExitStack, stdin: int = subprocess.DEVNULL) -> Self:
        """`argv` is given the descriptors of QEMU's side; with `stack` the guest ends."""
        pairs = [socket.socketpair() for _ in range(3)]
        output, control, console = (stack.enter_context(pair[0]) for pair in pairs)
        with ExitStack() as theirs:
            ends = [theirs.enter_context(pair[1]).fileno() for pair in pairs]
            process = subprocess.Popen([*BOUND, *argv(Channels(*ends))], pass_fds=ends, stdin=stdin)
        stack.enter_context(process)
        stack.callback(process.kill)
        return cls(process, output, control, console)

    def receive(self, until: float, out: BinaryIO) -> None:
        """Wait for something, at most until this moment, and take it. A channel that QEMU has closed is closed here."""
        with selectors.DefaultSelector() as selector:
            for channel in self.open():
                selector.register(channel, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, until - time.monotonic()))}
            for channel in self.open():
                if channel.fileno() not in ready:
                    continue
                text = _received(channel)
                if not text:
                    channel.close()
                self._take(channel, text, out)

    def open(self) -> list[socket.socket]:
        return [channel for channel in (self.output, self.control, self.console) if channel.fileno() >= 0]

    def _take(self, channel: socket.socket, text: bytes, out: BinaryIO) -> None:
        if channel is self.output:
            out.write(text)
            out.flush()
            self.printed += len(text)
        elif channel is self.control:
            self.answer += text
        else:
            self.seen += text
            del self.seen[:-65536]

    def last_lines(self) -> str:
        """The end of the console, without what would move the cursor."""
        lines = _MOVES.sub("", self.seen.decode(errors="replace")).split("\n")
        return "\n".join(lines[-CONSOLE_LINES:])


def _received(channel: socket.socket) -> bytes:
    """What is there, nothing at its end: a reset is one where QEMU has not read all that it was sent."""
    try:
        return channel.recv(65536)
    except ConnectionResetError:
        return b""


def run(argv: Callable[[Channels], list[str]], request: Request, deadline: float, out: BinaryIO) -> Answer:
    """The answer of a guest, which is then ended. Raises GuestFailed, with its console, after `deadline` seconds."""
    started = time.monotonic()
    with ExitStack() as stack:
        guest = Guest.start(argv, stack)
        guest.control.sendall(request.line())
        while (answer := _answer(guest)) is None:
            allowed = min(deadline, deadline if guest.printed else STARTED)
            if time.monotonic() - started > allowed:
                what = "has not ended" if guest.printed else "has not started the tests"
                raise GuestFailed(f"the guest {what} after {allowed:.0f} s; its console:\n{guest.last_lines()}")
            if not guest.open():
                raise GuestFailed(f"the guest ended without an answer; its console:\n{guest.last_lines()}")
            guest.receive(started + allowed, out)
        return answer


def shell(argv: Callable[[Channels], list[str]]) -> int:
    """A guest that is asked nothing, with this process's own input, until it is powered off; QEMU's exit status."""
    with ExitStack() as stack:
        return Guest.start(argv, stack, sys.stdin.fileno()).process.wait()


def _answer(guest: Guest) -> Answer | None:
    """The answer, once it is whole and everything that was printed before it is here."""
    if not guest.answer.endswith(b"\n"):
        return None
    document = json.loads(guest.answer)
    return Answer(document["status"], document["junit"]) if guest.printed >= document["output"] else None


def passed_on() -> dict[str, str]:
    """Variables of this process that tests read."""
    own = {name: value for name, value in os.environ.items() if name.startswith("VOLT_") and name != "VOLT_ROOT"}
    return own | {name: os.environ[name] for name in ("CI", "PYTEST_ADDOPTS") if name in os.environ}
