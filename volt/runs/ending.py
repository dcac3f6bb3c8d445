"""Waiting for the end of a run that lives, or for some time, whatever comes first."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Self

from volt.runs.claims import is_held

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

QUICK, SLOW = 0.02, 0.2  # seconds between two looks, where there is something new each time and where there is not


class Ending:
    """A run's supervisor, as long as it lives; a context manager. `until` (seconds since the epoch) ends it too."""

    def __init__(self, folders: Folders, record: Record, until: float | None = None) -> None:
        self._until = until
        self._pause = QUICK
        self._supervisor: int | None = None
        try:
            self._supervisor = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return
        if not is_held(f"{folders.run}/runs/{record.id}.lock"):  # the number may be another process's by now
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._supervisor is not None:
            os.close(self._supervisor)
            self._supervisor = None

    def __call__(self, fresh: bool) -> bool:
        """Wait a moment, a shorter one where something was `fresh`; False when it is over."""
        self._pause = QUICK if fresh else min(SLOW, self._pause * 2)
        return not self.over(self._pause)

    def over(self, within: float) -> bool:
        """Whether the run ends within so many seconds, or has ended."""
        if self._supervisor is None:
            return True
        if self._until is not None:
            within = min(within, self._until - time.time())
        poll = select.poll()
        poll.register(self._supervisor, select.POLLIN)
        ended = bool(poll.poll(max(0.0, within) * 1000))
        return ended or (self._until is not None and time.time() >= self._until)
