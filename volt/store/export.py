"""A tree as a tar archive in the pax format, which volt, GNU tar, bsdtar and Docker read."""

from __future__ import annotations

import os
import stat
import tarfile
from typing import BinaryIO

from volt.errors import StoreError
from volt.store.place import Store
from volt.store.tree import Node, entries, text

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def write_archive(root: Node, store: Store, file: BinaryIO) -> None:
    """Write the tree with its content. Raises StoreError, OSError."""
    first: dict[int, bytes] = {}
    with tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for path, node in entries(root):
            before = path if node.children is not None else first.setdefault(id(node), path)
            member = _member(path, node)
            if before is not path:
                member.type, member.linkname, member.size = tarfile.LNKTYPE, text(before), 0
                member.pax_headers = {}
            if member.size:
                _add_content(archive, member, node, store)
            else:
                archive.addfile(member)


def _member(path: bytes, node: Node) -> tarfile.TarInfo:
    kind = stat.S_IFMT(node.mode)
    if kind not in _TYPES:
        raise StoreError(f"{text(path)}: a socket cannot be in an archive")
    member = tarfile.TarInfo(text(path) or ".")
    member.type, member.mode = _TYPES[kind], stat.S_IMODE(node.mode)
    member.uid, member.gid, member.mtime, member.size = node.uid, node.gid, node.mtime, node.size
    member.linkname = text(node.target)
    member.devmajor, member.devminor = os.major(node.device), os.minor(node.device)
    member.pax_headers = {f"SCHILY.xattr.{text(name)}": text(value) for name, value in sorted(node.xattrs.items())}
    return member


def _add_content(archive: tarfile.TarFile, member: tarfile.TarInfo, node: Node, store: Store) -> None:
    try:
        with open(store.object(node.digest), "rb") as content:
            archive.addfile(member, content)
    except FileNotFoundError:
        hint = "volt store verify lists what is missing"
        raise StoreError(f"{member.name}: its content is not in the store", hint=hint) from None
