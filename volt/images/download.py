"""Blobs on their way from a registry: each in a file of its own until the image is in the store, so that what was
interrupted goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import BinaryIO

from volt.errors import RegistryError
from volt.images.folders import downloads
from volt.images.manifest import Blob
from volt.images.registry import Registry, ResumeError

AT_ONCE = 3  # as Docker's daemon by default
_NEW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

Tell = Callable[[int], None]  # so many bytes more


def download(registry: Registry, blobs: Iterable[Blob], state: str, tell: Tell) -> None:
    """Have each blob in its file, checked, while `fetching` lasts. Raises RegistryError, OSError."""
    stop = Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = [pool.submit(_one, registry, blob, state, tell, stop) for blob in {*blobs}]
        try:
            done, _ = wait(begun, return_when=FIRST_EXCEPTION)
        finally:  # an interrupted wait, too
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        for future in done:
            future.result()


def opened(blob: str, state: str) -> BinaryIO:
    """A blob by its digest. Raises OSError."""
    return open(f"{downloads(state)}/{blob}", "rb")


def _one(registry: Registry, blob: Blob, state: str, tell: Tell, stop: Event) -> None:
    descriptor = os.open(f"{downloads(state)}/{blob.digest}", _NEW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # who fetches it already ends by the deadlines of its registry
        transfer = _Transfer(registry, blob, file, tell)
        transfer.go_on(stop)
        if not stop.is_set():
            transfer.require(stop)


class _Transfer:
    """One blob into its file, of which some may be there already."""

    def __init__(self, registry: Registry, blob: Blob, file: BinaryIO, tell: Tell) -> None:
        self._registry, self._blob, self._file, self._tell = registry, blob, file, tell
        self._known = hashlib.sha256()
        while piece := file.read(1 << 20):
            self._known.update(piece)
        tell(file.tell())
        self._begun = file.tell() > 0
        if file.tell() > blob.size or (file.tell() == blob.size and not self._is_whole()):
            self._start_again()

    def go_on(self, stop: Event) -> None:
        """Raises RegistryError, OSError."""
        try:
            self._append(stop)
        except ResumeError:
            self._start_again()
            self._append(stop)

    def require(self, stop: Event) -> None:
        """Raises RegistryError where it is another than it should be; what lay there before may have been wrong."""
        if self._begun and not self._is_whole():
            self._start_again()
            self._append(stop)
        if stop.is_set() or self._is_whole():
            return
        found, size = self._known.hexdigest(), self._file.tell()
        self._file.truncate(0)
        what = f"{size} bytes of sha256:{found} for the {self._blob.size} of {self._blob}"
        raise RegistryError(f"{self._registry.host} gave {what}")

    def _is_whole(self) -> bool:
        return self._known.hexdigest() == self._blob.digest and self._file.tell() == self._blob.size

    def _append(self, stop: Event) -> None:
        if self._file.tell() == self._blob.size:
            return
        for piece in self._registry.blob(self._blob, self._file.tell()):
            if stop.is_set():
                return
            self._file.write(piece)
            self._known.update(piece)
            self._tell(len(piece))

    def _start_again(self) -> None:
        self._tell(-self._file.tell())
        self._file.seek(0)
        self._file.truncate()
        self._known, self._begun = hashlib.sha256(), False
