"""Adding to the store, so that a crash or a power failure at any moment leaves nothing torn under a final name.

What is added lies in a folder of tmp/ first; then all of it goes to disk, then each object gets its name, then the
names go to disk; then whoever keeps a name for the tree writes that. syncfs(2) twice is as safe as fsync(2) for each
object, and five times faster.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import BinaryIO, Self

from volt.errors import StoreError
from volt.store.erofs import image
from volt.store.locks import adding
from volt.store.place import Store
from volt.store.tree import Node, encode

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ZEROS = bytes(1 << 16)  # a hole is a multiple of it


class Transaction:
    """A context manager; what was not committed is removed when it ends. Meanwhile nothing is collected."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._held = ExitStack()
        self._folder = ""
        self._objects: set[str] = set()
        self._there: set[str] = set()
        self._images: list[str] = []
        self._number = 0
        self.added = 0  # bytes of objects that the store did not have

    def __enter__(self) -> Self:
        self._held.enter_context(adding(self.store.path))
        try:
            self._folder = f"{self.store.path}/tmp/{os.getpid()}-{secrets.token_hex(6)}"
            os.mkdir(self._folder, 0o700)
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._held:
            shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, data: bytes) -> str:
        """Add an object; its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if not self._has(digest):
            descriptor = os.open(f"{self._folder}/{digest}", _NEW, 0o444)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            self._staged(digest, len(data))
        return digest

    def put_chunks(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Add an object of any size; its digest and its size. What is zero becomes a hole."""
        self._number += 1
        temporary = f"{self._folder}/new-{self._number}"
        known, size = hashlib.sha256(), 0
        descriptor = os.open(temporary, _NEW, 0o444)
        try:
            for chunk in chunks:
                known.update(chunk)
                _write(descriptor, chunk)
                size += len(chunk)
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        digest = known.hexdigest()
        if self._has(digest):
            os.unlink(temporary)
        else:
            os.rename(temporary, f"{self._folder}/{digest}")
            self._staged(digest, size)
        return digest, size

    def put_tree(self, root: Node) -> str:
        """Add a tree whose objects are there or have been added, and its image; the digest of the tree."""
        digest = self.put(encode(root))
        self.put_image(digest, root)
        return digest

    def put_image(self, digest: str, root: Node) -> None:
        """Add the image of a tree that is there."""
        if os.path.lexists(self.store.image(digest)):
            return
        descriptor = os.open(f"{self._folder}/{digest}.erofs", _NEW, 0o400)
        try:
            _write_all(descriptor, image(root))
        finally:
            os.close(descriptor)
        self._images.append(digest)

    def open(self, digest: str) -> BinaryIO:
        """The content of an object that is there or has been added. Raises OSError."""
        staged = digest in self._objects
        return open(f"{self._folder}/{digest}" if staged else self.store.object(digest), "rb")

    def keep_only(self, digests: set[str]) -> None:
        """Of what has been added so far the rest is not needed after all."""
        for digest in self._objects - digests:
            os.unlink(f"{self._folder}/{digest}")
        self._objects &= digests

    def commit(self) -> None:
        """Give all that was added its name. Raises OSError."""
        if not self._objects and not self._images:
            return
        _sync(self._folder)
        for name in {digest[:2] for digest in self._objects}:
            with suppress(FileExistsError):
                os.mkdir(f"{self.store.objects}/{name}", 0o700)
        for digest in self._objects:
            os.rename(f"{self._folder}/{digest}", self.store.object(digest))
        for digest in self._images:
            os.rename(f"{self._folder}/{digest}.erofs", self.store.image(digest))
        _sync(self._folder)
        self._there |= self._objects
        self._objects, self._images = set(), []

    def _has(self, digest: str) -> bool:
        """Of an object that has its name all is on disk: see above."""
        if digest in self._there or digest in self._objects:
            return True
        if not self.store.has(digest):
            return False
        self._there.add(digest)  # valid as long as nothing can be collected
        return True

    def _staged(self, digest: str, size: int) -> None:
        self._objects.add(digest)
        self.added += size


UNFINISHED = "~"  # in no name of an image


def write_whole(path: str, data: bytes) -> None:
    """A file whole or not at all, on disk with its name when this returns. What a crash leaves has UNFINISHED in its
    name. Raises OSError."""
    temporary = f"{path}{UNFINISHED}{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, _NEW, 0o600)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """The names in a folder, on disk. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    _write(descriptor, data)
    os.ftruncate(descriptor, len(data))


def _write(descriptor: int, data: bytes) -> None:
    """All of it, where the file ends so far; long runs of zeros as holes, at its very end too."""
    view = memoryview(data)
    at_once = len(ZEROS) if ZEROS in data else len(data)
    while view:
        if len(view) >= len(ZEROS) and view[: len(ZEROS)] == ZEROS:
            os.lseek(descriptor, len(ZEROS), os.SEEK_CUR)
            view = view[len(ZEROS) :]
        else:
            view = view[os.write(descriptor, view[:at_once]) :]


def _sync(path: str) -> None:
    """The whole file system of `path`, on disk: syncfs(2). Raises StoreError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(folder) < 0:
            number = ctypes.get_errno()
            raise StoreError(f"the store cannot be written to disk: {os.strerror(number)}")
    finally:
        os.close(folder)
