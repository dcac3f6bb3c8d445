"""A folder of the host as a tree. It may be written to meanwhile, and by somebody hostile: each name is opened below
the folder that it lies in, no link is followed, and a file that changes while it is read is refused."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.intake import CHUNK, SMALL, Intake, attributes_of, refused
from volt.store.transaction import ZEROS
from volt.store.tree import DEEPEST, Node

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
Files = dict[tuple[int, int], Node]  # by device and inode: names of one file


class _Level(Value):
    """An open folder, and the names in it that are still to be looked at."""

    descriptor: int
    node: Node
    path: bytes
    names: Iterator[str]


def read_folder(path: str, intake: Intake) -> Node:
    """The tree of a folder, its content added to the transaction. What is mounted below it is not part of it: that is
    refused. Raises StoreError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    levels: list[_Level] = []
    try:
        status = os.fstat(descriptor)
        levels.append(_level(descriptor, status, b"", intake))
        root, files = levels[0].node, Files()
        while levels:
            name = next(levels[-1].names, None)
            if name is None:
                os.close(levels.pop().descriptor)
            elif below := _entry(levels[-1], name, status.st_dev, files, intake):
                levels.append(below)
        intake.transaction.wait()
    except BaseException:
        for level in levels:
            os.close(level.descriptor)
        raise
    return root


def _level(descriptor: int, status: os.stat_result, path: bytes, intake: Intake) -> _Level:
    node = node_of(status)
    intake.entry(path, node)
    node.xattrs = intake.attributes(path, attributes_of(descriptor))
    return _Level(descriptor, node, path, iter(sorted(os.listdir(descriptor))))


def node_of(status: os.stat_result) -> Node:
    """What a status says."""
    node = Node(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns // 10**9)
    node.device = status.st_rdev
    return node


def _entry(level: _Level, name: str, device: int, files: Files, intake: Intake) -> _Level | None:
    """Put one name into the tree; a folder is what comes next."""
    encoded = os.fsencode(name)
    path = level.path + b"/" + encoded if level.path else encoded
    status = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
    children = level.node.children
    assert children is not None
    if stat.S_ISDIR(status.st_mode):
        below = _open_folder(level, name, path, device, intake)
        children[encoded] = below.node
        return below
    known = files.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
    if known is None:
        known = read_file(level.descriptor, name, path, status, intake)
        if status.st_nlink > 1:
            files[status.st_dev, status.st_ino] = known
    children[encoded] = known
    return None


def _open_folder(level: _Level, name: str, path: bytes, device: int, intake: Intake) -> _Level:
    if path.count(b"/") >= DEEPEST:
        raise refused(path, f"it lies in more than {DEEPEST} folders")
    descriptor = os.open(name, FOLDER, dir_fd=level.descriptor)
    try:
        status = os.fstat(descriptor)
        _require_same(status, device, path)
        return _level(descriptor, status, path, intake)
    except BaseException:
        os.close(descriptor)
        raise


def _require_same(status: os.stat_result, device: int, path: bytes) -> None:
    """Of files the device says nothing: overlayfs shows those of its layers."""
    if status.st_dev != device:
        raise refused(path, "another file system is mounted there", "unmount it, or import a copy without it")


def read_file(folder: int, name: str, path: bytes, status: os.stat_result, intake: Intake) -> Node:
    """What is no folder, by its name in an open one. Raises StoreError, OSError."""
    if stat.S_ISREG(status.st_mode):
        return _regular(folder, name, path, status, intake)
    node = node_of(status)
    if stat.S_ISLNK(node.mode):
        node.target = os.fsencode(os.readlink(name, dir_fd=folder))
    intake.entry(path, node)
    node.xattrs = intake.attributes(path, attributes_of(f"/proc/self/fd/{folder}/{name}"))
    return node


def _regular(folder: int, name: str, path: bytes, before: os.stat_result, intake: Intake) -> Node:
    """Another file that has got its name since `before` is a change like any other: nothing of it stays."""
    node = node_of(before)
    node.device = 0
    size = before.st_size
    intake.entry(path, node)
    intake.size(path, size)
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        node.xattrs = intake.attributes(path, attributes_of(descriptor))
        if size > SMALL:
            node.digest, node.size = intake.transaction.put_chunks(_pieces(descriptor, size))
        elif size:
            intake.transaction.put_later(node, _read(descriptor, size))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if node.size != size or _version(before) != _version(after):
        raise _changed(path)
    return node


def _version(status: os.stat_result) -> tuple[float, ...]:
    """Type and permissions, which file it is, owners, size, and when it was changed."""
    return *status[: stat.ST_SIZE + 1], status.st_mtime_ns, status.st_ctime_ns


def _changed(path: bytes) -> StoreError:
    return refused(path, "it was changed while it was read", "import it while nothing writes to it, or a copy of it")


def _read(descriptor: int, size: int) -> bytes:
    """At most `size` bytes: that there are more by now its status says."""
    data = os.read(descriptor, size)
    while 0 < len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """The content of a large file, its holes without reading them: lseek(2), SEEK_DATA."""
    at = 0
    while at < size:
        try:
            data = min(os.lseek(descriptor, at, os.SEEK_DATA), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size
        for start in range(at, data, len(ZEROS)):
            yield ZEROS[: data - start]
        end = os.lseek(descriptor, data, os.SEEK_HOLE) if data < size else size
        os.lseek(descriptor, data, os.SEEK_SET)
        at = data
        while at < min(end, size) and (piece := os.read(descriptor, min(CHUNK, end - at))):
            yield piece
            at += len(piece)
        if at < min(end, size):
            return  # it has become shorter, as its size will tell
