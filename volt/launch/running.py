"""A run started from Python: its standard streams, its end, and how to end it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from types import TracebackType
from typing import IO, Self

from volt.errors import LaunchError
from volt.model.run import Outcome

OUTCOME_LIMIT = 1 << 20


def read_outcome(document: bytes) -> Outcome:
    """The static program's JSON report, version 1. Raises ValueError for anything else."""
    fields = json.loads(document)
    if fields.pop("version", None) != 1:
        raise ValueError("the outcome is of another version")
    return Outcome(**{name: fields[name] for name in Outcome.__dataclass_fields__ if name in fields})


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

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> Outcome:
        """How it ended. Raises TimeoutError after `timeout` seconds; the run goes on then.

        The outcome comes through a pipe of the run's own, so a caller that ignores SIGCHLD or reaps all
        its children gets it too.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._outcome is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._report], [], [], left)[0]:
                raise TimeoutError(f"'{self.name}' still runs after {timeout} s")
            piece = os.read(self._report, OUTCOME_LIMIT)
            self._document += piece
            if not piece:
                self._outcome = self._end()
        return self._outcome

    def signal(self, number: int) -> None:
        """Send the payload a signal (through the supervisor)."""
        if self._outcome is None:
            self._process.send_signal(signal.Signals(number))

    def cancel(self) -> None:
        """End the run: SIGTERM to the payload, SIGKILL ten seconds later. Returns at once."""
        descriptor, self._lifeline = self._lifeline, -1
        if descriptor >= 0:
            os.close(descriptor)

    def communicate(self, data: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes, Outcome]:
        """Write `data` to stdin, read stdout and stderr to their ends, wait: for runs with pipes."""
        out, err = self._process.communicate(data if self.stdin else None, timeout=timeout)
        return out or b"", err or b"", self.wait(timeout)

    def _end(self) -> Outcome:
        os.close(self._report)
        self._process.wait()
        self.cancel()
        try:
            return read_outcome(self._document)
        except ValueError:
            pass
        code = self._process.returncode
        why = f"killed by signal {-code}" if code < 0 else f"exited with {code}"
        raise LaunchError(
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
                stream.close()
        if self._outcome is None:
            self.wait()
