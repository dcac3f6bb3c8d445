"""Between a terminal here and a command elsewhere: bytes both ways, signals, the window's size."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volt import api

CHUNK = 65536
AT_ONCE = select.PIPE_BUF  # bytes that block nobody where poll(2) has said that there is room
DRAINED = 1 << 20  # bytes that a pipe may hold, and more than a terminal can
END_OF_INPUT = b"\4"  # what a terminal takes for it, termios(3)
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")
# By nohup(1), and by a shell for what is behind its `&`, or that it could not make go on; volt/native/main.c.
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


Handler = Callable[[int, FrameType | None], None]


class _GivenUpError(Exception):
    """Nobody takes what the command wrote last, and nobody waits for it any more."""


class Flow:
    """Bytes from one descriptor to another that may be slow; `to` None where they go nowhere. `at_end` comes behind
    the last one."""

    def __init__(self, source: int, to: int, *, at_end: bytes = b"", close: Callable[[], None] | None = None) -> None:
        self.source: int | None = source
        self.to = to
        self._waiting = b""
        self._at_end = at_end
        self._close = close

    def wants(self) -> tuple[int, int] | None:
        """What to poll it for: no more is read before all is written."""
        if self._waiting:
            return self.to, select.POLLOUT
        return None if self.source is None else (self.source, select.POLLIN)

    def move(self) -> None:
        """One read or one write, as `wants` says: a write that nobody was asked for may block."""
        if self._waiting:
            self._write()
        else:
            self._read()
        if self.source is None and not self._waiting and self._close:
            self._close()
            self._close = None

    def drain(self) -> None:
        """What is there already, and no more: its other end may stay open for ever, and somebody go on writing there.
        It waits as long as that is not taken."""
        left = DRAINED
        while self._waiting or (left > 0 and self.source is not None and _holds(self.source, select.POLLIN, 0)):
            if self._waiting:
                _holds(self.to, select.POLLOUT, None)
                self._write()
            else:
                self._read()
                left -= len(self._waiting)

    def _read(self) -> None:
        if self.source is None:
            return
        try:
            self._waiting = os.read(self.source, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal has been hung up
            self._waiting = b""
        if not self._waiting:
            self.source, self._waiting = None, self._at_end

    def _write(self) -> None:
        try:
            self._waiting = self._waiting[os.write(self.to, self._waiting[:AT_ONCE]) :]
        except BlockingIOError:
            return
        except OSError:  # nobody is there to take it
            self.source, self._waiting = None, b""


def _holds(descriptor: int, event: int, milliseconds: int | None) -> bool:
    """poll(2): select(2) knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(milliseconds))


def relay(execution: api.Execution, *, interactive: bool) -> api.Outcome:
    """Until the command has ended: its outcome. Raises StateError."""
    with ExitStack() as stack:
        stack.enter_context(execution)
        outgoing, incoming = _flows(execution, interactive)
        if execution.master is not None:
            resize(execution.master)
            if interactive and os.isatty(0):
                stack.enter_context(raw_mode(0))
        stack.enter_context(_forwarding(execution))
        while (outcome := execution.poll()) is None:
            _once(execution.fileno(), (*outgoing, *incoming))
        with suppress(_GivenUpError), _giving_up():
            for flow in outgoing:
                flow.drain()
        return outcome


def _once(session: int, flows: tuple[Flow, ...]) -> None:
    poll = select.poll()
    poll.register(session, select.POLLIN)
    waiting = {}
    for flow in flows:
        if wanted := flow.wants():
            waiting[wanted[0]] = flow
            poll.register(*wanted)
    for descriptor, _ in poll.poll():
        if descriptor in waiting:
            waiting[descriptor].move()


def _flows(execution: api.Execution, interactive: bool) -> tuple[tuple[Flow, ...], tuple[Flow, ...]]:
    """Those of its output, and those of its input."""
    if execution.master is not None:
        inward = (Flow(0, os.dup(execution.master), at_end=END_OF_INPUT),) if interactive else ()
        outward: tuple[Flow, ...] = (Flow(execution.master, 1),)
    else:
        outward = tuple(
            Flow(stream.fileno(), number)
            for number, stream in ((1, execution.stdout), (2, execution.stderr))
            if stream is not None
        )
        stdin = execution.stdin
        inward = () if stdin is None else (Flow(0, stdin.fileno(), close=stdin.close),)
    for flow in inward:
        os.set_blocking(flow.to, False)
    return outward, inward


def hold_signals() -> None:
    """What comes from here on waits until `relay` can pass it on: the command may speak before that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[name] for name in FORWARDED])


def release_signals() -> None:
    """Where nothing was started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.Signals[name] for name in FORWARDED])


def heeded(handlers: Mapping[signal.Signals, Handler]) -> dict[signal.Signals, Handler]:
    """Of these what this process was not told to ignore."""
    return {
        number: handler
        for number, handler in handlers.items()
        if number not in IGNORED or signal.getsignal(number) != signal.SIG_IGN
    }


@contextmanager
def _forwarding(execution: api.Execution) -> Iterator[None]:
    """Signals that come here go there; a window that changes too."""

    def forward(number: int, _: FrameType | None) -> None:
        execution.signal(number)

    def changed(number: int, _: FrameType | None) -> None:  # noqa: ARG001 (as a handler is called)
        if execution.master is not None:
            resize(execution.master)

    def stop(number: int, _: FrameType | None) -> None:  # noqa: ARG001
        execution.signal(signal.SIGSTOP)
        # Not by SIGSTOP: where no shell could make it go on the kernel lets SIGTSTP stop nothing, setpgid(2).
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        execution.signal(signal.SIGCONT)

    passed = {signal.Signals[name]: forward for name in FORWARDED}
    handlers = heeded({**passed, signal.SIGWINCH: changed, signal.SIGTSTP: stop})
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _giving_up() -> Iterator[None]:
    """A signal that would end the command, which has ended, ends the waiting for who reads: as `volt run` does it."""
    before = {number: signal.getsignal(number) for number in ENDING}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def give_up(number: int, _: FrameType | None) -> None:
        restore()
        raise _GivenUpError(number)

    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, give_up)
        yield
    finally:
        restore()


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """What the keys mean is for the other terminal to say."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def resize(master: int) -> None:
    """The window's size here becomes that of the terminal there."""
    import fcntl
    import termios

    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno(), 0):
        if os.isatty(descriptor):
            size = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
            return
