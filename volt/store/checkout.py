"""A tree written out as a folder, exactly as it says, or not at all: for kernels that mount no image of it.

Its names come from strangers. So each is made below the open folder that it lies in, in a folder of root's alone, and
no link is followed. What the file system does not keep is refused by the name of the entry.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from volt.model.values import Value
from volt.store.intake import attributes_of, refused
from volt.store.tree import Node, of_the_host

Content = Callable[[str], BinaryIO]  # of an object, by its digest

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_OBJECT = "volt store verify lists what is missing or damaged"


class _Level(Value):
    """An open folder that is being filled, and what is still to be put into it."""

    descriptor: int
    node: Node
    path: bytes
    rest: Iterator[tuple[bytes, Node]]


class _Writer:
    """One tree on its way to the disk."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._first: dict[int, bytes] = {}  # by the file: the name that it got first
        self.levels: list[_Level] = []

    def enter(self, name: str, path: bytes, node: Node) -> None:
        """A new folder, which is made what the tree says when it is left: a default ACL is inherited, and whatever is
        put into a folder changes its time."""
        above = self.levels[-1].descriptor if self.levels else None
        os.mkdir(name, 0o700, dir_fd=above)
        descriptor = os.open(name, _FOLDER, dir_fd=above)
        self.levels.append(_Level(descriptor, node, path, iter(sorted((node.children or {}).items()))))

    def leave(self) -> None:
        level = self.levels.pop()
        try:
            _become(level.descriptor, level.path, level.node)
        finally:
            os.close(level.descriptor)

    def put(self, name: bytes, path: bytes, node: Node) -> None:
        """What is no folder."""
        folder, written = self.levels[-1].descriptor, os.fsdecode(name)
        before = self._first.setdefault(id(node), path)
        if before is not path:
            top = self.levels[0].descriptor
            os.link(os.fsdecode(before), written, src_dir_fd=top, dst_dir_fd=folder, follow_symlinks=False)
        elif stat.S_ISREG(node.mode):
            self._file(folder, written, path, node)
        else:
            if stat.S_ISLNK(node.mode):
                os.symlink(os.fsdecode(node.target), written, dir_fd=folder)
            else:
                os.mknod(written, stat.S_IFMT(node.mode) | 0o600, node.device, dir_fd=folder)
            _become(f"/proc/self/fd/{folder}/{written}", path, node)

    def _file(self, folder: int, name: str, path: bytes, node: Node) -> None:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            if node.digest:
                self._fill(descriptor, path, node)
            _become(descriptor, path, node)
        finally:
            os.close(descriptor)

    def _fill(self, descriptor: int, path: bytes, node: Node) -> None:
        try:
            source = self._content(node.digest)
        except FileNotFoundError:
            raise refused(path, "its content is not in the store", _NO_OBJECT) from None
        with source:
            if os.fstat(source.fileno()).st_size != node.size or not _copy(source.fileno(), descriptor, node.size):
                raise refused(path, "its content is damaged in the store", _NO_OBJECT)


def write_folder(root: Node, folder: str, content: Content) -> None:
    """Write the tree as the new folder `folder`. Raises StoreError for what lacks its content or cannot be kept there;
    what was written by then stays."""
    writer, path = _Writer(content), b""
    try:
        writer.enter(folder, path, root)
        while writer.levels:
            level = writer.levels[-1]
            name, node = next(level.rest, (b"", root))
            path = level.path + b"/" + name if level.path and name else level.path or name
            if not name:
                writer.leave()
            elif node.children is not None:
                writer.enter(os.fsdecode(name), path, node)
            else:
                writer.put(name, path, node)
    except OSError as error:
        hint = "volt store gc frees what nothing needs" if error.errno in _FULL else ""
        raise refused(path, f"it cannot be unpacked: {error.strerror}", hint) from error
    finally:
        for level in writer.levels:
            os.close(level.descriptor)


def _copy(source: int, target: int, size: int) -> bool:
    """The content, holes as holes: lseek(2), copy_file_range(2), by which file systems that can share it. False where
    there is less than `size`."""
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to its end
                return True
            raise
        end = min(os.lseek(source, at, os.SEEK_HOLE), size)
        while at < end:
            copied = os.copy_file_range(source, target, end - at, at, at)
            if not copied:
                return False
            at += copied
    return True


def _become(file: int | str, path: bytes, node: Node) -> None:
    """Give a file its owner, attributes, permissions and time, in this order: another owner takes capabilities and
    set-id bits away. Raises StoreError where it then is not what the tree says."""
    follow, link = isinstance(file, int), stat.S_ISLNK(node.mode)
    os.chown(file, node.uid, node.gid, follow_symlinks=follow)
    for name, value in node.xattrs.items():
        os.setxattr(file, name, value, follow_symlinks=follow)
    if not link:
        os.chmod(file, stat.S_IMODE(node.mode))
    os.utime(file, ns=(node.mtime * 10**9, node.mtime * 10**9), follow_symlinks=follow)
    lost = _lost(os.stat(file, follow_symlinks=follow), node)
    if node.xattrs and not lost:
        kept = {name: value for name, value in attributes_of(file).items() if not of_the_host(name)}
        lost = "" if kept == node.xattrs else "attributes"
    if lost:
        hint = "have volt's state on a disk: ext4, xfs, btrfs"
        raise refused(path, f"the store's file system does not keep its {lost}", hint)


def _lost(found: os.stat_result, node: Node) -> str:
    """What of a status is not the tree's; of a link its permissions mean nothing."""
    told = {
        "owner": (found.st_uid, found.st_gid) == (node.uid, node.gid),
        "permissions": stat.S_ISLNK(node.mode) or found.st_mode == node.mode,
        "time": found.st_mtime_ns == node.mtime * 10**9,
        "number": not (stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode)) or found.st_rdev == node.device,
    }
    return ", ".join(name for name, same in told.items() if not same)
