"""Who may do what with the store at the same time: flock(2) on files of it.

Whoever adds something holds `lock` shared for as long as that takes, collecting holds it exclusively. Both take it
through `gate`, which a collector keeps while it waits: otherwise one import after another would keep it out. Who
unpacks a tree holds `unpacking` too, before them: whoever needs the same one at that moment finds it then.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from volt.errors import StoreError

SECONDS = 60.0  # an import of a large image takes some
UNPACKED = 600.0  # a large tree is, on a slow disk, and those before it
_EVERY = 0.02
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def adding(store: str, *, seconds: float = SECONDS) -> Iterator[None]:
    """While something is added: nothing is collected. Raises StoreError after `seconds`."""
    with _locked(f"{store}/lock") as lock:
        with _locked(f"{store}/gate") as gate:
            _wait(gate, fcntl.LOCK_EX, seconds, "unused objects are being removed")
            _wait(lock, fcntl.LOCK_SH, seconds, "unused objects are being removed")
        yield


@contextmanager
def collecting(store: str, *, seconds: float = SECONDS) -> Iterator[None]:
    """While unused objects are removed: nothing is added. Raises StoreError after `seconds`."""
    with _locked(f"{store}/gate") as gate, _locked(f"{store}/lock") as lock:
        _wait(gate, fcntl.LOCK_EX, seconds, "unused objects are being removed")
        _wait(lock, fcntl.LOCK_EX, seconds, "an image is being imported, exported or verified")
        yield


@contextmanager
def unpacking(store: str, *, seconds: float = UNPACKED) -> Iterator[None]:
    """While a tree is unpacked: no other one is. Raises StoreError after `seconds`."""
    with _locked(f"{store}/unpacking") as lock:
        _wait(lock, fcntl.LOCK_EX, seconds, "another image is being unpacked")
        yield


@contextmanager
def _locked(path: str) -> Iterator[int]:
    """A descriptor whose lock goes with it."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(descriptor: int, kind: int, seconds: float, reason: str) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise StoreError(f"the store is busy: {reason}", hint="try again when it is done") from None
            time.sleep(_EVERY)
        else:
            return
