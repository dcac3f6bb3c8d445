"""Packing what goes into a workload: a file, a folder or a link of the caller's, as items."""

# What the caller writes is taken as it is written: a last slash says something.
# ruff: noqa: PTH110, PTH112, PTH114, PTH116

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from volt.errors import VoltError
from volt.model.items import DEEPEST, PIECE_LIMIT, Item, Kind, Why
from volt.runs.items import WHYS

if TYPE_CHECKING:
    from volt.runs.items import Sender

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
SET_ID = stat.S_ISUID | stat.S_ISGID


class Packer:
    """Sends what lies at a path. `left` is called with what was left out and why, `moved`
    with bytes of files."""

    def __init__(
        self, sender: Sender, left: Callable[[str, str], None], moved: Callable[[int], None], *, owners: bool
    ) -> None:
        self._sender, self._left, self._moved = sender, left, moved
        self._owners = owners
        self._depth = 0
        self._linked: dict[tuple[int, int], bytes] = {}  # files of several names, by the first path below the top
        self._top = ""

    def path(self, path: str, *, follow: bool) -> None:
        """The whole of it; a link as one unless `follow`. Raises VoltError where it cannot be read at all."""
        self._top = f"{path.rstrip('/')}/"
        try:
            status = os.stat(path, follow_symlinks=follow)
            if stat.S_ISLNK(status.st_mode):
                self._link(path, None, status, b"", path)
            elif stat.S_ISDIR(status.st_mode):
                self._folder(_open(path, None, follow=follow), b"", path)
            elif stat.S_ISREG(status.st_mode):
                self._file(_open(path, None, follow=follow), b"", path)
            else:
                raise VoltError(f"{path} is {WHYS[Why.SPECIAL]}")
        except OSError as error:
            raise VoltError(f"{path}: {error.strerror}") from error

    def _one(self, name: str, folder: int, path: str) -> None:
        """Looked at before it is opened: to open a device or a pipe may do something."""
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                self._link(name, folder, status, os.fsencode(name), path)
            elif stat.S_ISDIR(status.st_mode):
                self._folder(_open(name, folder), os.fsencode(name), path)
            elif stat.S_ISREG(status.st_mode):
                self._file(_open(name, folder), os.fsencode(name), path)
            else:
                self._left(path, WHYS[Why.SPECIAL])
        except OSError as error:
            if error.errno != errno.ENOENT:  # it has gone meanwhile
                self._left(path, error.strerror or str(error))

    def _link(self, at: str, folder: int | None, status: os.stat_result, name: bytes, path: str) -> None:
        target = os.readlink(at, dir_fd=folder)
        if len(os.fsencode(target)) == 0:
            self._left(path, "a link to nothing")
            return
        self._sender.item(self._item(Kind.LINK, status, name, os.fsencode(target)))

    def _folder(self, folder: int, name: bytes, path: str) -> None:
        try:
            if self._depth >= DEEPEST:
                self._left(path, WHYS[Why.DEEP])
                return
            status = os.fstat(folder)
            names = sorted(os.listdir(folder))  # before it is entered: one that cannot be read is left out as a whole
            self._sender.item(self._item(Kind.ENTER, status, name))
            self._depth += 1
            for each in names:
                self._one(each, folder, f"{path.rstrip('/')}/{each}")
            self._depth -= 1
            self._sender.item(self._item(Kind.LEAVE, status))
        finally:
            os.close(folder)

    def _file(self, file: int, name: bytes, path: str) -> None:
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                self._left(path, WHYS[Why.SPECIAL])
                return
            if self._depth and status.st_nlink > 1:
                first = self._linked.setdefault((status.st_dev, status.st_ino), _below(path, self._top))
                if first != _below(path, self._top):
                    self._sender.item(Item(Kind.LINKED, name, first))
                    return
            self._sender.item(self._item(Kind.FILE, status, name))
            self._content(file, status.st_size, path)
            if os.fstat(file).st_size > status.st_size:
                self._left(path, WHYS[Why.GREW])
        finally:
            os.close(file)

    def _content(self, file: int, size: int, path: str) -> None:
        """So many bytes, whatever happens to the file: data and holes as lseek(2) tells them apart."""
        at = 0
        while at < size:
            data = min(_seek(file, at, os.SEEK_DATA, otherwise=at, end=size), size)
            self._hole(data - at)
            at, end = data, min(_seek(file, data, os.SEEK_HOLE, otherwise=size, end=size), size)
            while at < end:
                try:
                    piece, why = os.pread(file, min(PIECE_LIMIT, end - at), at), WHYS[Why.SHRANK]
                except OSError as error:
                    piece, why = b"", error.strerror or str(error)
                if not piece:
                    self._left(path, why)
                    self._hole(size - at)
                    return
                self._sender.data(piece)
                self._moved(len(piece))
                at += len(piece)

    def _hole(self, length: int) -> None:
        self._sender.hole(length)
        self._moved(length)

    def _item(self, kind: Kind, status: os.stat_result, name: bytes = b"", text: bytes = b"") -> Item:
        """Set-id bits go along with owners alone: else a file would be set-id for another."""
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        mode = stat.S_IMODE(status.st_mode) & ~(0 if self._owners else SET_ID)
        size = status.st_size if kind == Kind.FILE else 0
        return Item(kind, name, text, mode, status.st_uid, status.st_gid, size, seconds, nanoseconds)


def _below(path: str, top: str) -> bytes:
    return os.fsencode(path.removeprefix(top))


def measured(path: str) -> int:
    """The bytes of all files at a path, about: for whoever wants to see how far a copy is."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.stat(path).st_size if os.path.exists(path) else 0
    found = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found += os.lstat(f"{folder}/{name}").st_size
            except OSError:
                continue
    return found


def _open(name: str, folder: int | None, *, follow: bool = False) -> int:
    return os.open(name, OPEN & ~(os.O_NOFOLLOW if follow else 0), dir_fd=folder)


def _seek(file: int, at: int, what: int, *, otherwise: int, end: int) -> int:
    """`end` where there is no more data; `otherwise` where the file system knows no holes."""
    try:
        return os.lseek(file, at, what)
    except OSError as error:
        return end if error.errno == errno.ENXIO else otherwise
