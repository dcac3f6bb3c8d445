"""Adding to the store, so that a crash or a power failure at any moment leaves nothing torn under a final name.

What is added lies in a folder of tmp/ first; then all of it goes to disk, then each object gets its name, then the
names go to disk; then whoever keeps a name for the tree writes that. syncfs(2) twice is as safe as fsync(2) for each
object, and five times faster. It tells a descriptor what failed since that was opened, whoever else has been told: so
one is open from the beginning.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from threading import Lock
from typing import BinaryIO, Self

from volt.errors import StoreError
from volt.store.erofs import image, object_path
from volt.store.locks import adding
from volt.store.place import Store
from volt.store.tree import Node, encode
from volt.store.writer import Flush, Writer

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ZEROS = bytes(1 << 16)  # a hole is a multiple of it
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)  # rename(2): a folder of that name has something in it
_FLUSHED = 32 << 20  # bytes that are on their way to disk before more come: what commit() waits for is little then


class Transaction:
    """A context manager; what was not committed is removed when it ends. Meanwhile nothing is collected."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._held = ExitStack()
        self._folder = ""
        self._disk = -1  # what is synced
        self._writer = Writer(self.put)
        self._lock = Lock()  # of what follows: the writer's thread adds, too
        self._objects: set[str] = set()
        self._prefixes: set[str] = set()  # of staged objects, each a folder, as in the store
        self._there: set[str] = set()
        self._looked_into: dict[str, bool] = {}  # whether the store has a folder of that prefix
        self._images: list[str] = []
        self._unpacked: list[str] = []
        self._number = 0
        self._flush: Flush | None = None
        self._flushed = 0  # of `added`, when the last one began
        self.added = 0  # bytes of objects that the store did not have

    def __enter__(self) -> Self:
        self._held.enter_context(adding(self.store.path))
        try:
            self._folder = f"{self.store.path}/tmp/{os.getpid()}-{secrets.token_hex(6)}"
            os.mkdir(self._folder, 0o700)
            self._disk = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._held.callback(os.close, self._disk)
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._held:
            self._writer.end()
            if self._flush is not None:
                with suppress(OSError, StoreError):  # who commits is told
                    self._flush.wait()
            shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, data: bytes) -> str:
        """Add an object; its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if self._claims(digest, len(data)):
            self._stage(digest, data)
        return digest

    def _stage(self, digest: str, data: bytes) -> None:
        descriptor = os.open(self._staged(digest), _NEW, 0o444)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def put_later(self, node: Node, data: bytes) -> None:
        """Add the content of a file, which has its digest after wait(); meanwhile the caller reads on."""
        node.size = len(data)
        self._writer.give(node, data)
        self._flush_besides()

    def wait(self) -> None:
        """Until every file has its digest."""
        self._writer.wait()

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
        if self._claims(digest, size):
            os.rename(temporary, self._staged(digest))
        else:
            os.unlink(temporary)
        return digest, size

    def put_tree(self, root: Node) -> str:
        """Add a tree whose objects are there or have been added, and its image; the digest of the tree. One that is
        there and damaged gets what it says again."""
        self.wait()
        self._flush_besides()
        digest = self.put(data := encode(root))
        if digest in self._there and not self.store.is_good(digest):
            with self._lock:
                self._add(digest, len(data))
            self._stage(digest, data)
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

    def put_unpacked(self, digest: str, root: Node) -> None:
        """Add the folder of a tree that is there. Raises StoreError."""
        if os.path.lexists(self.store.unpacked(digest)):
            return
        from volt.store.checkout import write_folder

        write_folder(root, f"{self._folder}/{digest}.unpacked", self.open)
        self._unpacked.append(digest)

    def open(self, digest: str) -> BinaryIO:
        """The content of an object that is there or has been added. Raises OSError."""
        self.wait()
        return open(self._staged(digest) if digest in self._objects else self.store.object(digest), "rb")

    def keep_only(self, digests: set[str]) -> None:
        """Of what has been added so far the rest is not needed after all."""
        self.wait()
        for digest in self._objects - digests:
            os.unlink(self._staged(digest))
        self._objects &= digests

    def commit(self) -> None:
        """Give all that was added its name. Raises OSError."""
        self.wait()
        if not (self._objects or self._images or self._unpacked):
            return
        if self._flush is not None:
            self._flush.wait()
        _sync(self._disk)
        self._name_objects()
        for digest in self._images:
            os.rename(f"{self._folder}/{digest}.erofs", self.store.image(digest))
        for digest in self._unpacked:
            self._name_unpacked(digest)
        _sync(self._disk)
        self._there |= self._objects
        self._objects, self._prefixes, self._images, self._unpacked = set(), set(), [], []

    def _name_unpacked(self, digest: str) -> None:
        """Of two that do the same at once the first has made it for both."""
        with suppress(FileExistsError):
            os.mkdir(self.store.unpacked(""), 0o700)  # a store of before there were any
        try:
            os.rename(f"{self._folder}/{digest}.unpacked", self.store.unpacked(digest))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise

    def _flush_besides(self) -> None:
        """Begin to write to disk what there is, where it is worth it and nothing is being written."""
        if self.added - self._flushed >= _FLUSHED and (self._flush is None or self._flush.has_ended):
            if self._flush is not None:
                self._flush.wait()
            self._flush, self._flushed = Flush(lambda: _sync(self._disk)), self.added

    def _name_objects(self) -> None:
        """A whole folder of them at once where the store has none of its name: of a first image nearly all."""
        staged: dict[str, list[str]] = {prefix: [] for prefix in self._prefixes}
        for digest in self._objects:
            staged[digest[:2]].append(digest)
        for prefix, digests in staged.items():
            try:
                os.rename(f"{self._folder}/{prefix}", f"{self.store.objects}/{prefix}")
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                for digest in digests:
                    os.rename(self._staged(digest), self.store.object(digest))

    def _claims(self, digest: str, size: int) -> bool:
        """Whether whoever asks is to add it: nobody has so far. Of an object that has its name all is on disk: see
        above."""
        with self._lock:
            if digest in self._there or digest in self._objects:
                return False
            if self._has(digest):
                self._there.add(digest)  # valid as long as nothing can be collected
                return False
            self._add(digest, size)
        return True

    def _add(self, digest: str, size: int) -> None:
        self._objects.add(digest)
        self.added += size
        if digest[:2] not in self._prefixes:
            self._prefixes.add(digest[:2])
            with suppress(FileExistsError):
                os.mkdir(f"{self._folder}/{digest[:2]}", 0o700)

    def _has(self, digest: str) -> bool:
        """Whether the store has it. Where it had no folder for it when that was first asked it is not asked again: what
        another import has brought there since is the same, and either may have the name."""
        prefix = digest[:2]
        if prefix not in self._looked_into:
            self._looked_into[prefix] = os.path.isdir(f"{self.store.objects}/{prefix}")
        return self._looked_into[prefix] and self.store.has(digest)

    def _staged(self, digest: str) -> str:
        return f"{self._folder}/{object_path(digest)}"


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


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    _write(descriptor, data)
    if data.endswith(ZEROS):  # of a hole there the file knows nothing yet
        os.ftruncate(descriptor, len(data))


def _write(descriptor: int, data: bytes | bytearray) -> None:
    """All of it, where the file ends so far; long runs of zeros as holes, at its very end too."""
    view, done, hole = memoryview(data), 0, len(ZEROS)
    for at in range(0, len(data) - hole + 1, hole):
        if data.startswith(ZEROS, at):
            _write_as_is(descriptor, view[done:at])
            os.lseek(descriptor, hole, os.SEEK_CUR)
            done = at + hole
    _write_as_is(descriptor, view[done:])


def _write_as_is(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(descriptor: int) -> None:
    """The whole file system of what is open, on disk: syncfs(2). Raises StoreError."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) < 0:
        number = ctypes.get_errno()
        raise StoreError(f"the store cannot be written to disk: {os.strerror(number)}")
