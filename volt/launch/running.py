"""A run started from Python: its standard streams, its end, and how to end it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from volt.errors import LaunchError
from volt.model.run import Outcome, read_outcome

OUTCOME_LIMIT = 1 << 20
LONGEST = 2**31 - 1  # milliseconds, of poll(2)


class Run:
    """One launch in progress. Safe to use from several threads; a context manager that cancels at its end.

    `stdin`, `stdout` and `stderr` are streams where a pipe was asked for, else None.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], report: int, lifeline: int) -> None:
        self.name = name
        self.stdin: IO[bytes] | None = process.stdin
        self.stdout: IO[bytes] | None = process.stdout
        self.stderr: IO[bytes] | None = process.stderr
        self._process = process
        self._report = report
        self._lifeline = lifeline
        self._document = b""
        self._outcome: Outcome | None = None
        self._failure: LaunchError | None = None
        self._reading = threading.Lock()
        self._cutting = threading.Lock()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> Outcome:
        """How it ended. Raises TimeoutError after `timeout` seconds; the run goes on then.

        The outcome comes through a pipe of the run's own, so a caller that ignores SIGCHLD or reaps all
        its children gets it too. Raises LaunchError, each time, when the supervisor has left none.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._reading.acquire(timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)):
            raise self._still_runs(timeout)
        try:
            while self._outcome is None:
                if self._failure:
                    raise self._failure
                self._read(deadline, timeout)
        finally:
            self._reading.release()
        return self._outcome

    def _read(self, deadline: float | None, timeout: float | None) -> None:
        """One more piece of the outcome, or its end. By poll(2): select(2) knows no descriptor above 1023."""
        ready = select.poll()
        ready.register(self._report, select.POLLIN)
        left = None if deadline is None else min(LONGEST, max(0.0, deadline - time.monotonic()) * 1000)
        if not ready.poll(left):
            if deadline is not None and time.monotonic() < deadline:
                return
            raise self._still_runs(timeout)
        piece = os.read(self._report, OUTCOME_LIMIT)
        self._document += piece
        if not piece:
            self._end()

    def _still_runs(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"'{self.name}' still runs after {timeout} s")

    def signal(self, number: int) -> None:
        """Send the payload a signal (through the supervisor)."""
        if self._outcome is None:
            self._process.send_signal(signal.Signals(number))

    def cancel(self) -> None:
        """End the run: SIGTERM to the payload, SIGKILL ten seconds later. Returns at once."""
        with self._cutting:
            descriptor, self._lifeline = self._lifeline, -1
        if descriptor >= 0:
            os.close(descriptor)

    def communicate(self, data: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes, Outcome]:
        """Write `data` to stdin, read stdout and stderr to their ends, wait: for runs with pipes.

        Raises TimeoutError after `timeout` seconds; the run goes on then, and nothing read is lost.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            # Who would wait longer than poll(2) can, 24 days, is told then that it still runs.
            within = None if timeout is None else min(timeout, LONGEST // 1000)
            out, err = self._process.communicate(data if self.stdin else None, timeout=within)
        except subprocess.TimeoutExpired:
            raise self._still_runs(timeout) from None
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return out or b"", err or b"", self.wait(left)

    def _end(self) -> None:
        os.close(self._report)
        self._process.wait()
        self.cancel()
        try:
            self._outcome = read_outcome(self._document)
        except ValueError:
            code = self._process.returncode
            why = f"killed by signal {-code}" if code < 0 else f"exited with {code}"
            self._failure = LaunchError(
                f"the supervisor of '{self.name}' {why} without a report",
                hint="run any volt command: it removes what was left",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream and not stream.closed:
                with suppress(BrokenPipeError):  # nobody reads any more what stdin still holds
                    stream.close()
        if self._outcome is None and self._failure is None:
            self.wait()
