"""volt attach: at the input and the output of a detached workload."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import RUN_FAILED, failing
from volt.cli.logs import Outlet, Sink, sink
from volt.cli.options import Name
from volt.cli.relay import CHUNK, heeded, raw_mode
from volt.errors import StateError, VoltError

NoStdin = Annotated[bool, typer.Option("--no-stdin", help="Attach to its output alone.")]
SigProxy = Annotated[
    bool, typer.Option("--sig-proxy/--no-sig-proxy", help="Pass signals on to the payload; without, they detach.")
]
DetachKeys = Annotated[
    str, typer.Option("--detach-keys", metavar="KEYS", help="What detaches from a terminal; empty for nothing.")
]

PROXIED = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2")
QUICK, SLOW = 0.01, 0.2  # seconds between two looks at its output: soon after something was typed or shown
KEPT_QUICK = 20  # looks


@failing(RUN_FAILED)
def attach(
    name: Name, no_stdin: NoStdin = False, sig_proxy: SigProxy = True, detach_keys: DetachKeys = "ctrl-p,ctrl-q"
) -> int:
    """Show what the detached workload NAME writes from now on, and pass on what is typed, until it ends.

    Input reaches one that was started with -i or -t. On its terminal --detach-keys leave it, and a connection that
    breaks always does: the workload goes on. Ends with the payload's own status, with 0 when detached; 125 for every
    failure of volt's own.
    """
    keys = Keys(detach_keys)
    with ExitStack() as stack:
        attached = stack.enter_context(api.attach(name, stdin=not no_stdin))
        seat = Seat(attached, keys)
        if attached.terminal and os.isatty(1):
            seat.resize()
        if attached.terminal and attached.input is not None and os.isatty(0):
            stack.enter_context(raw_mode(0))
        stack.enter_context(seat.signals(proxy=sig_proxy))
        seat.stay()
        if seat.left:
            stack.close()
            with suppress(OSError):  # whom should it be told
                print(f"volt: detached from {name}, which goes on", file=sys.stderr)
            return 0
        state = attached.wait()
        return RUN_FAILED if state is None or state.status is None else state.status


class Keys:
    """The keys that detach, in what is typed. Raises VoltError for what names none."""

    def __init__(self, written: str) -> None:
        self._sequence = b"".join(_key(word) for word in written.split(",")) if written else b""
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether to detach. What may be the beginning of them is held back."""
        if not self._sequence:
            return data, False
        passed = bytearray()
        for byte in data:
            self._held += bytes([byte])
            if self._held == self._sequence:
                return bytes(passed), True
            while not self._sequence.startswith(self._held):
                passed += self._held[:1]
                self._held = self._held[1:]
        return bytes(passed), False


def _key(word: str) -> bytes:
    control = word.lower().removeprefix("ctrl-")
    if control != word.lower() and len(control) == 1 and "@" <= control.upper() <= "_":
        return bytes([ord(control.upper()) - 64])
    if len(word) == 1 and word.isascii():
        return word.encode()
    raise VoltError(
        f"--detach-keys: '{word}' is no key", hint="write ctrl-p,ctrl-q: each ctrl- and a letter, or one character"
    )


class Seat:
    """The caller's end: what is typed goes in between two looks at what comes out."""

    def __init__(self, attached: api.Attachment, keys: Keys) -> None:
        self.left = False
        self.outlet = Outlet(at_once=True)
        self._attached = attached
        self._keys = keys if attached.terminal and os.isatty(0) else Keys("")
        self._reading = attached.input is not None
        self._waiting = b""
        self._soon = 0

    def stay(self) -> None:
        """Until the workload ends, or `left` says that it is left; which it is when the terminal here has gone."""
        try:
            self._attached.copy(*self._sinks(), self.turn)
            self.outlet.flush()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.left = True

    def _sinks(self) -> tuple[Sink, Sink]:
        """A terminal's output is the terminal's here, as it is; any other is shown as `volt logs` does."""
        raw = self._attached.terminal
        return sink(sys.stdout.buffer, self.outlet, raw), sink(sys.stderr.buffer, self.outlet, raw)

    def turn(self, fresh: bool) -> bool:
        """One wait for whatever comes first."""
        self._soon = KEPT_QUICK if fresh else max(0, self._soon - 1)
        poll = select.poll()
        poll.register(self._attached.fileno(), select.POLLIN)
        if self._waiting and self._attached.input is not None:
            poll.register(self._attached.input, select.POLLOUT)
        elif self._reading:
            poll.register(0, select.POLLIN)
        for descriptor, _ in poll.poll((QUICK if self._soon else SLOW) * 1000):
            if descriptor == self._attached.fileno():
                return False
            if descriptor == 0:
                self._read()
            self._write()
        return not self.left

    def _read(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:  # EIO: the terminal has been hung up
            self.left = True
            return
        self._reading = bool(data)
        self._waiting, left = self._keys.feed(data)
        self.left = self.left or left
        self._soon = KEPT_QUICK

    def _write(self) -> None:
        if not self._waiting or self._attached.input is None:
            return
        try:
            self._waiting = self._waiting[os.write(self._attached.input, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:  # the payload has closed it: nobody will read
            self._reading, self._waiting = False, b""

    def resize(self) -> None:
        """Its terminal has the size of the window here."""
        with suppress(OSError):
            size = os.get_terminal_size(1)
            self._attached.resize(size.lines, size.columns)

    @contextmanager
    def signals(self, *, proxy: bool) -> Iterator[None]:
        """Signals go to the payload, or detach. A connection that breaks detaches: what was detached outlives it."""

        def leave(_: int, __: FrameType | None) -> None:
            self.left = True

        def forward(number: int, _: FrameType | None) -> None:
            with suppress(StateError):  # it is ending
                self._attached.signal(number)

        def changed(_: int, __: FrameType | None) -> None:
            if self._attached.terminal:
                self.resize()

        passed = {signal.Signals[name]: forward if proxy else leave for name in PROXIED}
        handlers = heeded({**passed, signal.SIGHUP: leave, signal.SIGWINCH: changed})
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
