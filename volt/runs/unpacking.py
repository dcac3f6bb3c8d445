"""Unpacking what comes out of a workload: below one folder held open, over no link, and never as it is before it is
whole.

The stream is hostile. Each name is one component below an open folder, so nothing leads out whatever is renamed
meanwhile. Set-id bits do not come along, and no link that leads out of what was copied: whoever follows it later is the
host's.
"""

# What the caller writes is taken as it is written: a last slash says something.
# ruff: noqa: PTH110, PTH112, PTH113

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from volt.errors import StateError, VoltError
from volt.model.items import DEEPEST, Item, Kind
from volt.model.values import Value
from volt.runs.items import Receiver

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
SET_ID = stat.S_ISUID | stat.S_ISGID
Left = Callable[[str, str], None]


class Place(Value):
    """Where a copy goes: the open folder that it lies in, its path for people, and the name there; "" where the folder
    itself takes it in."""

    folder: int
    path: str
    name: str


def place(to: str, base: str, *, folder: bool) -> Place:
    """Where something lands that is called `base` ("": what lies in a folder) and is a folder or not, as cp(1) has it.

    `to` is the caller's, and resolved as any path of his. Raises VoltError.
    """
    try:
        if os.path.isdir(to):
            return Place(os.open(to, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), to, base)
        if os.path.lexists(to) and (folder or not os.path.isfile(to)) and os.path.exists(to):
            raise VoltError(f"{to} is no {'folder' if folder else 'file'}", hint="- instead writes a tar to stdout")
        if to.endswith("/") and not folder:
            raise VoltError(f"there is no folder {to}", hint="mkdir it, or leave out the last slash")
        found = os.path.realpath(to) if os.path.isfile(to) else to.rstrip("/")
        above, name = os.path.split(found)
        if name in ("", ".", ".."):
            raise VoltError(f"{to} gives no name to what is copied")
        return Place(os.open(above or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), above, name)
    except OSError as error:
        raise VoltError(f"{to}: {error.strerror}", hint="the folder that a copy goes into has to be there") from error


def leads_out(target: str, depth: int) -> bool:
    """Whether a link that lies `depth` folders below the top of a copy may lead out of it.

    Only a `..` at the beginning surely goes up one folder: behind a name it goes up from wherever that leads to.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or ups > depth or ".." in parts[ups:]


class _Level(Value):
    folder: int
    name: str
    made: bool


class Unpacker:
    """Puts items below a place; `left` is called with what was left out, and why."""

    def __init__(self, where: Place, left: Left, *, owners: bool) -> None:
        self._levels = [_Level(where.folder, "", made=False)]
        self._where = where
        self._left = left
        self._owners = owners
        self._skipped = 0
        self._made = 0

    def close(self) -> None:
        """Let go of the folders."""
        for level in self._levels:
            os.close(level.folder)
        self._levels = []

    def put(self, item: Item, receiver: Receiver, moved: Callable[[int], None]) -> None:
        """One item, with its content. Raises StateError for one that is out of order, VoltError where it cannot be
        written any more."""
        if item.kind == Kind.LEAVE:
            self._leave(item)
        elif item.kind == Kind.FILE:
            self._file(item, receiver.pieces(item.size), moved)
        elif self._skipped:
            self._skipped += item.kind == Kind.ENTER
        elif item.kind == Kind.ENTER:
            self._enter(item)
        else:
            self._link(item)

    def _name(self, item: Item) -> str:
        return os.fsdecode(item.name) or self._where.name

    def _path(self, name: str) -> str:
        names = [level.name for level in self._levels if level.name]
        return os.path.join(self._where.path, *names, name)  # noqa: PTH118 (a path as the caller wrote it)

    def _enter(self, item: Item) -> None:
        name = self._name(item)
        if not name:  # what it holds goes into a folder that is there
            self._levels.append(_Level(os.open(".", FOLDER, dir_fd=self._levels[-1].folder), "", made=False))
            return
        if len(self._levels) > DEEPEST + 1:
            raise StateError("what comes from inside is deeper than it may be")
        try:
            made = self._make(name)
            folder = os.open(name, FOLDER, dir_fd=self._levels[-1].folder)
        except OSError as error:
            self._fail(name, error)
            self._skipped = 1
        else:
            self._levels.append(_Level(folder, name, made))

    def _make(self, name: str) -> bool:
        try:
            os.mkdir(name, 0o700, dir_fd=self._levels[-1].folder)
        except FileExistsError:
            return False
        return True

    def _leave(self, item: Item) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        if len(self._levels) == 1:
            raise StateError("what comes from inside leaves a folder that it has not entered")
        level = self._levels.pop()
        try:
            if level.made:
                self._attributes(level.folder, item)
        except OSError as error:
            self._fail(level.name, error)
        finally:
            os.close(level.folder)

    def _attributes(self, descriptor: int, item: Item) -> None:
        if self._owners:
            os.fchown(descriptor, item.uid, item.gid)
        os.fchmod(descriptor, item.mode & 0o7777 & ~SET_ID)
        os.utime(descriptor, ns=_times(item))

    def _file(self, item: Item, pieces: Iterator[bytes | int], moved: Callable[[int], None]) -> None:
        """All of it is read, whatever becomes of it: the next item comes behind it."""
        name, temporary, file = self._name(item), self._temporary(), -1
        folder = self._levels[-1].folder
        try:
            if not self._skipped:
                file = os.open(temporary, NEW, 0o600, dir_fd=folder)
                _fill(file, item.size, pieces, moved)
                self._attributes(file, item)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                return
        except OSError as error:
            self._fail(name, error)
        finally:
            if file >= 0:
                os.close(file)
            self._forget(temporary)
        for piece in pieces:
            moved(piece if isinstance(piece, int) else len(piece))

    def _link(self, item: Item) -> None:
        name, target = self._name(item), os.fsdecode(item.text)
        if leads_out(target, len(self._levels) - 2):
            self._left(self._path(name), f"a link to {target}, which leads out of the copy")
            return
        folder, temporary = self._levels[-1].folder, self._temporary()
        try:
            os.symlink(target, temporary, dir_fd=folder)
            if self._owners:
                os.chown(temporary, item.uid, item.gid, dir_fd=folder, follow_symlinks=False)
            os.utime(temporary, ns=_times(item), dir_fd=folder, follow_symlinks=False)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            self._fail(name, error)
        finally:
            self._forget(temporary)

    def _temporary(self) -> str:
        self._made += 1
        return f".volt-cp-{os.getpid():x}-{self._made:x}"

    def _forget(self, temporary: str) -> None:
        """By its name, which nothing has where all went well: a signal may come before what made it returns."""
        with suppress(OSError):
            os.unlink(temporary, dir_fd=self._levels[-1].folder)

    def _fail(self, name: str, error: OSError) -> None:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VoltError(f"{self._path(name)}: {error.strerror}", hint="what was copied before it stays") from error
        self._left(self._path(name), error.strerror or str(error))


def _fill(file: int, size: int, pieces: Iterator[bytes | int], moved: Callable[[int], None]) -> None:
    """Holes stay holes. Raises OSError."""
    for piece in pieces:
        if isinstance(piece, int):
            os.lseek(file, piece, os.SEEK_CUR)
            moved(piece)
            continue
        left = memoryview(piece)
        while left:
            left = left[os.write(file, left) :]
        moved(len(piece))
    os.truncate(file, size)


def _times(item: Item) -> tuple[int, int]:
    now = time.time_ns()
    return now, item.seconds * 10**9 + item.nanoseconds
