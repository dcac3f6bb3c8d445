"""The store on disk: its folders, and reading from it. Everything in it belongs to root alone.

objects/ab/cdef…     content by its SHA-256, trees among it
images/DIGEST.erofs  what is mounted, made from the tree DIGEST and made again where it is missing
unpacked/DIGEST/     the tree as a folder, where this kernel mounts no image; made and removed as images are
leases/RUN           the tree that a run uses; locked as long as that lives
tmp/                 what is being added
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.erofs import object_path
from volt.store.tree import DIGEST_LENGTH, TREE_MOST, Node, decode

FOLDERS = ("objects", "images", "unpacked", "leases", "tmp")
PREFIX = "sha256:"
# What read(2) says of a file that the disk or the file system does not give back, and of nothing else.
UNREADABLE = (errno.EIO, errno.EILSEQ, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA)
_DAMAGED = "volt store verify --repair mends what is damaged, or says why not; else import the image again"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Store(Value):
    """A store that is there, at `path`."""

    path: str

    @property
    def objects(self) -> str:
        return f"{self.path}/objects"

    @property
    def leases(self) -> str:
        return f"{self.path}/leases"

    def object(self, digest: str) -> str:
        """Where an object lies, if it is there."""
        return f"{self.path}/objects/{object_path(digest)}"

    def image(self, digest: str) -> str:
        """Where the image of a tree lies, if it is there."""
        return f"{self.path}/images/{digest}.erofs"

    def unpacked(self, digest: str) -> str:
        """Where a tree lies as a folder, if it is there."""
        return f"{self.path}/unpacked/{digest}"

    def has(self, digest: str) -> bool:
        return os.path.lexists(self.object(digest))

    def read(self, digest: str, most: int = TREE_MOST) -> bytes:
        """An object that is small, checked against its name. Raises StoreError."""
        try:
            with os.fdopen(os.open(self.object(digest), _READ), "rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            raise StoreError(f"{PREFIX}{digest} is not in the store") from None
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            raise StoreError(f"{PREFIX}{digest} cannot be read: {error.strerror}", hint=_DAMAGED) from error
        if len(data) > most:
            raise StoreError(f"{PREFIX}{digest} is larger than {most} bytes")
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(f"{PREFIX}{digest} is damaged in the store", hint=_DAMAGED)
        return data

    def is_good(self, digest: str) -> bool:
        """Whether a small object is there, and what its name says."""
        try:
            self.read(digest)
        except StoreError:
            return False
        return True

    def tree(self, digest: str) -> Node:
        """A tree by its digest, checked. Raises StoreError."""
        data = self.read(digest)
        try:
            return decode(data)
        except StoreError as error:
            raise StoreError(f"{PREFIX}{digest}: {error.message}") from error


def open_store(state: str) -> Store | None:
    """The store below the state folder, None where nothing was ever put into it. Raises StoreError where others than
    root could have."""
    path = f"{state}/store"
    try:
        _require_own(path)
    except FileNotFoundError:
        return None
    return Store(path)


def make_store(state: str) -> Store:
    """The store below the state folder, made where it is missing. Raises StoreError, OSError."""
    for path, mode in ((os.path.dirname(state), 0o711), (state, 0o711), (f"{state}/store", 0o700)):
        with suppress(FileExistsError):
            os.mkdir(path, mode)
    path = f"{state}/store"
    _require_own(path)
    for name in FOLDERS:
        with suppress(FileExistsError):
            os.mkdir(f"{path}/{name}", 0o700)
    return Store(path)


def _require_own(path: str) -> None:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        hint = f"chown root: {path} and chmod 700 {path}, if you know what is in it; else remove it"
        raise StoreError(f"{path} is not a folder of root's alone", hint=hint)


def is_digest(written: str) -> bool:
    """64 lower-case hex digits."""
    return len(written) == DIGEST_LENGTH and not written.strip("0123456789abcdef")
