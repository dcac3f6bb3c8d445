"""Waiting for the end of a run that lives, or for some time, whatever comes first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from volt.runs.supervisor import hold

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

QUICK, SLOW = 0.02, 0.2  # seconds between two looks, where there is something new each time and where there is not


class Ending:
    """A run's supervisor, as long as it lives; a context manager. `until` (seconds since the epoch) ends it too."""

    def __init__(self, folders: Folders, record: Record, until: float | None = None) -> None:
        self._until = until
        self._pause = QUICK
        self._supervisor = hold(folders, record.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.close()
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
        ended = self._supervisor.wait(within)
        return ended or (self._until is not None and time.time() >= self._until)
