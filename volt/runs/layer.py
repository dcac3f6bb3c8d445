"""What an overlay's upper layer says that has changed: Documentation/filesystems/overlayfs.rst.

Whoever runs in it may rename a folder while it is read here, and put a link to the host in its place. So each is
opened below the open one that it lies in, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from volt.model.diff import Change, Form, Kind
from volt.model.values import Value

DEEPEST = 200  # folders within each other: each has up to three descriptors open, of 1024
FORMS: dict[int, Form] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
# trusted.*: a payload can neither set nor see these, xattr(7).
OPAQUE, REDIRECT, ORIGIN = (f"trusted.overlay.{name}" for name in ("opaque", "redirect", "origin"))
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Level(Value):
    """A folder of the upper layer, and those below that it is merged with; the latter lie at `origin`."""

    upper: int
    lowers: tuple[int, ...]
    path: str
    origin: str
    names: Iterator[str]
    held: ExitStack


class Layer:
    """The changes of an upper layer over lower ones, the highest first, all open folders; iterate over it once.

    `generated` are paths without their first slash that are in lower layers which are not at hand. `skipped` are
    folders that lie too deep to be looked at.
    """

    def __init__(self, upper: int, lowers: tuple[int, ...], generated: frozenset[str] = frozenset()) -> None:
        self._upper, self._lowers, self._generated = upper, lowers, generated
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Change]:
        levels = [_Level(self._upper, self._lowers, "", "", _names(self._upper), ExitStack())]
        try:
            while levels:
                name = next(levels[-1].names, None)
                if name is None:
                    levels.pop().held.close()
                    continue
                yield from self._entry(levels, name)
        finally:
            for level in levels:
                level.held.close()

    def _entry(self, levels: list[_Level], name: str) -> Iterator[Change]:
        """What has become of one name; of a folder, that it is to be looked at next."""
        here = levels[-1]
        path = f"{here.path}/{name}"
        try:
            status = os.stat(name, dir_fd=here.upper, follow_symlinks=False)
            if _is_whiteout(status):
                yield Change("deleted", path)
            elif stat.S_ISDIR(status.st_mode):
                yield from self._folder(levels, name)
            else:
                yield Change(self._kind(here, name), path, FORMS.get(stat.S_IFMT(status.st_mode), ""))
        except (FileNotFoundError, NotADirectoryError):  # it has gone meanwhile, or is another thing
            return

    def _folder(self, levels: list[_Level], name: str) -> Iterator[Change]:
        here = levels[-1]
        path = f"{here.path}/{name}"
        with ExitStack() as opened:
            upper = _open(name, here.upper, opened)
            opaque = _attribute(upper, OPAQUE) == b"y"
            redirect = os.fsdecode(_attribute(upper, REDIRECT) or b"")
            copied = not redirect and _attribute(upper, ORIGIN) is not None
            was = redirect if redirect.startswith("/") else f"{here.origin}/{redirect or name}"
            kind = self._kind(here, name, copied=copied)
            yield Change(kind, path, "folder", opaque, was if redirect else "")
            if opaque:
                yield from _replaced(here, name, upper)
            if len(levels) >= DEEPEST:
                self.skipped.append(path)
                return
            lowers = () if opaque else self._merged(here, redirect or name, opened)
            levels.append(_Level(upper, lowers, path, was, _names(upper), opened.pop_all()))

    def _kind(self, here: _Level, name: str, *, copied: bool = False) -> Kind:
        """Whether there is something of that name below; a folder that was `copied` up says so itself."""
        path = f"{here.path}/{name}"[1:]
        there = copied or any(_exists(name, lower) for lower in here.lowers) or path in self._generated
        return "changed" if there else "added"

    def _merged(self, here: _Level, name: str, opened: ExitStack) -> tuple[int, ...]:
        """The folders of the lower layers that one is merged with, up to the first that is none; where it was moved,
        `name` is a path from the root."""
        starts = self._lowers if name.startswith("/") else here.lowers
        found = []
        for lower in starts:
            folder = lower
            try:
                for part in name.strip("/").split("/"):
                    folder = _open(part, folder, opened)
            except FileNotFoundError:
                continue
            except NotADirectoryError:
                break
            found.append(folder)
        return tuple(found)


def _replaced(here: _Level, name: str, upper: int) -> Iterator[Change]:
    """What was in a folder that another has taken the place of."""
    own = set(_names(upper))
    gone: set[str] = set()
    for lower in here.lowers:
        with suppress(FileNotFoundError, NotADirectoryError), ExitStack() as opened:
            gone.update(_names(_open(name, lower, opened)))
    for each in sorted(gone - own):
        yield Change("deleted", f"{here.path}/{name}/{each}")


def _names(folder: int) -> Iterator[str]:
    return iter(sorted(os.listdir(folder)))


def _open(name: str, folder: int, opened: ExitStack) -> int:
    descriptor = os.open(name, _FLAGS, dir_fd=folder)
    opened.callback(os.close, descriptor)
    return descriptor


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _attribute(folder: int, name: str) -> bytes | None:
    """None where it has none: an origin may be empty."""
    try:
        return os.getxattr(folder, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
