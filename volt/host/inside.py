"""A file of a root as the workload will find it: the kept layer over the root, resolved without leaving them.

Whoever made the image or wrote to the layer is hostile: every name is opened below a descriptor and never
followed by the kernel; links are followed here, and `..` ends at the root. Nothing is opened for reading
before it is known to be a regular file. Whiteouts, opaque folders and redirects are those of
Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from volt.host.files import MOST
from volt.model.values import Value, replace

MOST_LINKS = 40  # as the kernel, path_resolution(7)
MOST_NAMES = 400
_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Entry(Value):
    """Something in the merged tree: descriptors of it in the upper layer and in the root, where it is."""

    upper: int | None
    lower: int | None

    @property
    def descriptor(self) -> int:
        return self.lower if self.upper is None else self.upper  # type: ignore[return-value]

    @property
    def mode(self) -> int:
        return os.fstat(self.descriptor).st_mode


class _Tree:
    """The merged tree, and the descriptors that looking around in it has opened."""

    def __init__(self, root: str | None, upper: str | None, opened: ExitStack, objects: str | None = None) -> None:
        self._opened = opened
        self.noting = False
        self._objects = objects
        # Each path of the host's that was looked at below the tops, and whether something was there: what an image has
        # never changes, and has no path there.
        self.looked: dict[str, bool] = {}
        self.top = _Entry(self._open(upper), self._open(root))
        tops = (self.top.upper, None if objects else self.top.lower)
        # Where they really lie: a link may lead to them.
        self._tops = tuple(_path(top).removesuffix("/") + "/" for top in tops if top is not None)

    def _open(self, name: str | None, folder: int | None = None) -> int | None:
        if name is None:
            return None
        if folder is None:
            # The two tops are the host's own paths; whatever lies below them is not followed.
            return self._opened_at(name, None, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        descriptor = self._opened_at(name, folder, _FLAGS)
        if self.noting and f"{(path := _path(folder))}/".startswith(self._tops):
            self.looked[f"{path}/{name}"] = descriptor is not None
        return descriptor

    def _opened_at(self, name: str, folder: int | None, flags: int) -> int | None:
        try:
            descriptor = os.open(name, flags, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            if folder is None:  # another user's layer: planned as if it were not there
                return None
            raise
        self._opened.callback(os.close, descriptor)
        return descriptor

    def _below(self, folder: int | None, name: str) -> int | None:
        """An entry of one layer, None for nothing and for a whiteout, a device 0:0."""
        descriptor = None if folder is None else self._open(name, folder)
        if descriptor is None:
            return None
        status = os.fstat(descriptor)
        return None if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0 else descriptor

    def look(self, folder: _Entry, name: str) -> _Entry | None:
        """What the merged folder shows under a name."""
        above = None if folder.upper is None else self._open(name, folder.upper)
        if above is None:
            lower = self._below(folder.lower, name)
            return None if lower is None else _Entry(None, lower)
        status = os.fstat(above)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return None
        if stat.S_ISREG(status.st_mode) and _has_attribute(above, "metacopy"):
            return _Entry(above, self._file_under(folder, name, _attribute(above, "redirect")))
        if not stat.S_ISDIR(status.st_mode) or _attribute(above, "opaque") == "y":
            return _Entry(above, None)
        return _Entry(above, self._under(folder, name, _attribute(above, "redirect")))

    def _under(self, folder: _Entry, name: str, redirect: str) -> int | None:
        """The root's folder below an upper one; a renamed folder says where it was."""
        start = self._lower_of(folder, name, redirect)
        return start if start is not None and stat.S_ISDIR(os.fstat(start).st_mode) else None

    def _file_under(self, folder: _Entry, name: str, redirect: str) -> int | None:
        """The root's file below an upper one of which only its status was copied up: metacopy."""
        start = self._lower_of(folder, name, redirect)
        return start if start is not None and stat.S_ISREG(os.fstat(start).st_mode) else None

    def _lower_of(self, folder: _Entry, name: str, redirect: str) -> int | None:
        start = self.top.lower if redirect.startswith("/") else folder.lower
        for part in (redirect or name).strip("/").split("/"):
            start = None if part == ".." else self._below(start, part)
        return start

    def content(self, found: _Entry) -> str | None:
        """Where a regular file's content can be read: its own, or the object of a file of an image; None for none."""
        holder = found.upper if found.upper is not None and found.lower is None else found.lower
        if holder is None:
            return None
        if holder == found.lower and self._objects and _has_attribute(holder, "metacopy"):
            return f"{self._objects}{_attribute(holder, 'redirect')}"
        return f"/proc/self/fd/{holder}"

    def resolve(self, path: str) -> _Entry | None:
        """Follow a path from the top of the merged tree."""
        way = self.follow(path)
        return way[-1][1] if way else None

    def follow(self, path: str) -> list[tuple[str, _Entry]] | None:
        """The way that a path takes, without the links on it: each folder's name with the folder, the top's is ""."""
        names, way, links, steps = path.split("/")[::-1], [("", self.top)], 0, 0
        while names:
            name, steps = names.pop(), steps + 1
            if steps > MOST_NAMES:
                return None
            if name == "..":
                way = way[:-1] or way
                continue
            if name in ("", "."):
                continue
            found = self.look(way[-1][1], name)
            if found is None:
                return None
            if not stat.S_ISLNK(found.mode):
                way.append((name, found))
                continue
            links += 1
            target = os.readlink("", dir_fd=found.descriptor)
            if links > MOST_LINKS:
                return None
            way = way[:1] if target.startswith("/") else way
            names += target.split("/")[::-1]
        return way


def _path(descriptor: int) -> str:
    """Where on the host something lies that is open."""
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 (paths are text here)


def _attribute(descriptor: int, name: str) -> str:
    """One of overlayfs's own attributes, "" where there is none."""
    try:
        return os.fsdecode(os.getxattr(f"/proc/self/fd/{descriptor}", f"trusted.overlay.{name}"))
    except OSError:
        return ""


def _has_attribute(descriptor: int, name: str) -> bool:
    try:
        os.getxattr(f"/proc/self/fd/{descriptor}", f"trusted.overlay.{name}")
    except OSError:
        return False
    return True


def read_inside(path: str, root: str | None, upper: str | None, objects: str | None = None) -> str:
    """The text of the regular file `path`, at most 1 MiB, as inside; "" when there is none.

    `root` is the folder of the root file system, None for a fresh one; `upper` the kept layer's upper
    folder, None without one; `objects` the folder with the content of the files of an image, whose root `root` is then.
    Bytes that are no UTF-8, and NUL, become U+FFFD.
    """
    data = head_inside(path, root, upper, MOST + 1, objects)
    return "" if len(data) > MOST else data.decode(errors="replace").replace("\0", "\ufffd")


def head_inside(path: str, root: str | None, upper: str | None, most: int, objects: str | None = None) -> bytes:
    """The first bytes of the regular file `path`, as read_inside has it; none when there is none."""
    with ExitStack() as opened:
        try:
            tree = _Tree(root, upper, opened, objects)
            if tree.top == _Entry(None, None):
                return b""
            found = tree.resolve(path)
            if found is None or not stat.S_ISREG(found.mode):
                return b""
            where = tree.content(found)
            if where is None:
                return b""
            with Path(where).open("rb") as file:
                return file.read(most)
        except OSError:
            return b""


class Program(Value):
    """An executable file inside: the `path` that it was looked for at and the `file` that this leads to, both below the
    root, "" for none. `there` and `missing` are the paths of the host's that this follows from."""

    path: str = ""
    file: str = ""
    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def program_inside(paths: tuple[str, ...], root: str | None, upper: str | None, objects: str | None = None) -> Program:
    """The first of `paths` that is an executable file inside. The arguments are read_inside's."""
    found = Program()
    with ExitStack() as opened, suppress(OSError):
        tree = _Tree(root, upper, opened, objects)
        tree.noting = True
        for path in paths if tree.top != _Entry(None, None) else ():
            way = tree.follow(path)
            if way and stat.S_ISREG(way[-1][1].mode) and way[-1][1].mode & 0o111:
                found = Program(path, "/".join(name for name, _ in way[1:]))
                break
        there, missing = (
            tuple(at for at, is_there in tree.looked.items() if is_there is wanted) for wanted in (True, False)
        )
        return replace(found, there=there, missing=missing)
    return found
