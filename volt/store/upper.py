"""A tree and an overlay's upper layer as one tree: Documentation/filesystems/overlayfs.rst.

What is below is a tree already, so only what the layer itself holds is read. Whoever runs in it may change it
meanwhile: each name is opened below the open folder that it lies in, no link is followed, and a file that changes
while it is read is refused.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator, Mapping

from volt.model.values import Value
from volt.store.folder import FOLDER, Files, node_of, read_file
from volt.store.intake import Intake, Progress, attributes_of, refused
from volt.store.transaction import Transaction
from volt.store.tree import DEEPEST, Node

_OVERLAY = b"trusted.overlay."  # a payload can neither set nor see these, xattr(7)
_OPAQUE, _REDIRECT, _METACOPY = (f"trusted.overlay.{name}" for name in ("opaque", "redirect", "metacopy"))
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_ACL_HEAD, _ACL_ENTRY, _NAMED = struct.Struct("<I"), struct.Struct("<HHI"), (0x02, 0x08)  # posix_acl_xattr.h
_CAPABILITY = b"security.capability"
_REVISION, _V2, _V3 = 0xFF000000, 0x02000000, 0x03000000  # linux/capability.h


class LayerIntake(Intake):
    """Of files whose owners are those inside plus `shift`, and which overlayfs has put its own attributes on."""

    def __init__(
        self, transaction: Transaction, shift: int, *, devices: bool = False, progress: Progress | None = None
    ) -> None:
        super().__init__(transaction, devices=devices, progress=progress)
        self._shift = shift

    def entry(self, path: bytes, node: Node) -> None:
        node.uid, node.gid = (self._inside(path, one) for one in (node.uid, node.gid))
        super().entry(path, node)

    def attributes(self, path: bytes, found: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        own = {name: value for name, value in found.items() if not name.startswith(_OVERLAY)}
        if self._shift:
            own = {name: self._attribute(path, name, value) for name, value in own.items()}
        return super().attributes(path, own)

    def _inside(self, path: bytes, number: int) -> int:
        if number < self._shift:
            raise refused(path, f"its owner {number} is none of the workload's")
        return number - self._shift

    def _attribute(self, path: bytes, name: bytes, value: bytes) -> bytes:
        """Of those that name owners."""
        if name in _ACLS:
            entries = _ACL_ENTRY.iter_unpack(value[_ACL_HEAD.size :])
            moved = ((tag, bits, self._inside(path, one) if tag in _NAMED else one) for tag, bits, one in entries)
            return value[: _ACL_HEAD.size] + b"".join(_ACL_ENTRY.pack(*one) for one in moved)
        if name == _CAPABILITY:
            (magic,) = struct.unpack_from("<I", value)
            if magic & _REVISION == _V3 and struct.unpack_from("<I", value, 20) == (self._shift,):
                return struct.pack("<I", magic & ~_REVISION | _V2) + value[4:20]
        return value


class _Level(Value):
    """An open folder of the layer, the folder of the tree that it is merged with, and the names still to look at."""

    descriptor: int
    node: Node
    path: bytes
    below: Node | None
    names: Iterator[str]


def merged(upper: int, base: Node, intake: Intake) -> Node:
    """The tree that the open folder `upper` makes of `base`, which stays as it is; content that is new goes to the
    transaction. Raises StoreError, OSError."""
    levels = [_level(os.dup(upper), b"", base, intake)]
    root, files = levels[0].node, Files()
    if (root.mode & 0o7777, root.uid, root.gid) == (0o755, 0, 0):  # as volt makes it: nobody has changed the root
        root.mode, root.uid, root.gid = base.mode, base.uid, base.gid
        root.xattrs = {**base.xattrs, **root.xattrs}
        root.mtime = base.mtime
    try:
        while levels:
            name = next(levels[-1].names, None)
            if name is None:
                os.close(levels.pop().descriptor)
            elif above := _entry(levels[-1], name, base, files, intake):
                levels.append(above)
    except BaseException:
        for level in levels:
            os.close(level.descriptor)
        raise
    return root


def _level(descriptor: int, path: bytes, below: Node | None, intake: Intake) -> _Level:
    try:
        node = node_of(os.fstat(descriptor))
        intake.entry(path, node)
        node.xattrs = intake.attributes(path, attributes_of(descriptor))
        node.children = dict((below.children if below else None) or {})
        return _Level(descriptor, node, path, below, iter(sorted(os.listdir(descriptor))))
    except BaseException:
        os.close(descriptor)
        raise


def _entry(level: _Level, name: str, base: Node, files: Files, intake: Intake) -> _Level | None:
    """What has become of one name; a folder is what comes next."""
    encoded = os.fsencode(name)
    path = level.path + b"/" + encoded if level.path else encoded
    children = level.node.children
    assert children is not None
    status = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:  # a whiteout
        children.pop(encoded, None)
        return None
    if stat.S_ISDIR(status.st_mode):
        above = _folder(level, name, path, base, intake)
        children[encoded] = above.node
        return above
    known = files.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
    if known is None:
        known = _of_status(level, name, path, base, intake) if stat.S_ISREG(status.st_mode) else None
        known = known or read_file(level.descriptor, name, path, status, intake)
        if status.st_nlink > 1:
            files[status.st_dev, status.st_ino] = known
    children[encoded] = known
    return None


def _folder(level: _Level, name: str, path: bytes, base: Node, intake: Intake) -> _Level:
    if path.count(b"/") >= DEEPEST:
        raise refused(path, f"it lies in more than {DEEPEST} folders")
    descriptor = os.open(name, FOLDER, dir_fd=level.descriptor)
    try:
        opaque = _own(descriptor, _OPAQUE) == b"y"
        below = None if opaque else _below(level, name, base, _own(descriptor, _REDIRECT))
    except BaseException:
        os.close(descriptor)
        raise
    return _level(descriptor, path, below if below and below.children is not None else None, intake)


def _of_status(level: _Level, name: str, path: bytes, base: Node, intake: Intake) -> Node | None:
    """A file of which the layer has only the status, and the tree below what it holds; None for any other."""
    at = f"/proc/self/fd/{level.descriptor}/{name}"
    if _own(at, _METACOPY) is None:
        return None
    node = node_of(os.stat(name, dir_fd=level.descriptor, follow_symlinks=False))
    node.device = 0
    intake.entry(path, node)
    node.xattrs = intake.attributes(path, attributes_of(at))
    below = _below(level, name, base, _own(at, _REDIRECT))
    if below is None or not stat.S_ISREG(below.mode):
        raise refused(path, "what it holds is in a layer below, and not there", "commit it while nothing writes to it")
    node.digest, node.size = below.digest, below.size
    return node


def _below(level: _Level, name: str, base: Node, redirect: bytes | None) -> Node | None:
    """What a name is merged with: of a thing that was moved what it was before."""
    parts = [os.fsencode(name)] if redirect is None else redirect.strip(b"/").split(b"/")
    here: Node | None = base if redirect and redirect.startswith(b"/") else level.below
    for part in parts:
        here = here.children.get(part) if here is not None and here.children is not None else None
    return here


def _own(file: int | str, name: str) -> bytes | None:
    """An attribute of overlayfs', None without it."""
    try:
        return os.getxattr(file, name, follow_symlinks=isinstance(file, int))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
