"""Where blobs lie while they are fetched, and removing what was left of that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def downloads(state: str) -> str:
    """A file for each blob, by its digest."""
    return f"{state}/downloads"


@contextmanager
def fetching(state: str) -> Iterator[None]:
    """While it lasts nobody sweeps; who is the last one to end sweeps himself, unless he failed. Raises OSError."""
    with suppress(FileExistsError):
        os.mkdir(downloads(state), 0o700)
    folder = os.open(downloads(state), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        yield
        _sweep(state, folder)
    finally:
        os.close(folder)


def sweep_downloads(state: str) -> None:
    """Remove what was begun, where nothing is being fetched. Raises OSError."""
    with suppress(FileNotFoundError):
        folder = os.open(downloads(state), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _sweep(state, folder)
        finally:
            os.close(folder)


def _sweep(state: str, folder: int) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in os.listdir(folder):
            os.unlink(f"{downloads(state)}/{name}")
