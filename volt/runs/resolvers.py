"""The resolver of a network, ended where the network goes: volt/native/keeper.c and names.c have the other side."""

# ruff: noqa: PTH106, PTH108, PTH208 (as in the rest of this room)

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress

from volt.runs.claims import remove_dead

_PATIENCE = 5.0  # seconds: it is killed two after it was asked to end
_EVERY = 0.01


def end_resolver(place: str) -> None:
    """End what answers for names on a network, and remove what was kept for it; `place` is what the paths begin with.
    Where somebody has a name there by now, it is that workload's, which starts another one. Raises OSError."""
    lock = _locked(f"{place}.resolver")
    try:
        if _without_names(f"{place}.names"):
            for ending in ("log", "resolver"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{place}.{ending}")
    finally:
        if lock is not None:
            os.close(lock)


def _locked(path: str) -> int | None:
    """The lock that the resolver's keeper held, None where there is none. While it is held no launch starts another."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise OSError(errno.ETIMEDOUT, f"its keeper has not ended for {_PATIENCE:.0f} seconds", path) from None
            os.ftruncate(descriptor, 0)  # it makes way for another
            time.sleep(_EVERY)
        else:
            return descriptor


def _without_names(folder: str) -> bool:
    """Whether nobody has a name any more; then the folder goes."""
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            remove_dead(f"{folder}/{name}")
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return False
            raise
    return True
