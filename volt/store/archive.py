"""A tar archive as a tree. Nothing is ever extracted: members are read one after the other, the tree grows in memory,
and every link is followed in it alone.

pax and GNU formats, tar(5); extended attributes are those of SCHILY.xattr. An archive may come from anybody: what is
hostile in it is refused with the member's name, and memory stays bounded whatever it says about sizes.
"""

from __future__ import annotations

import math
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from volt.errors import StoreError
from volt.store.intake import CHUNK, SMALL, Intake, refused
from volt.store.stream import HEADERS_MOST, Forwards, cut_short
from volt.store.tree import DEEPEST, ID_MOST, TARGET_MOST, TIME_MOST, Node, name_problem, text

if TYPE_CHECKING:
    from hashlib import _Hash

_XATTR = "SCHILY.xattr."
_ACLS = ("SCHILY.acl.access", "SCHILY.acl.default")
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)
_KINDS = {
    **dict.fromkeys(_FILES, stat.S_IFREG),
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
_END: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_CUT = (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]
MOST_LINKS = 40  # as the kernel, path_resolution(7)


def read_archive(file: BinaryIO, intake: Intake) -> Node:
    """The tree of an archive, plain or compressed with gzip, bzip2, xz or zstd, its content added to the transaction.
    Raises StoreError, OSError."""
    tree = Growing(intake)
    read_members(file, tree)
    return tree.root


def read_members(file: BinaryIO, tree: Growing, known: _Hash | None = None) -> None:
    """Everything in an archive into a tree; `known` is updated with the plain bytes, and whoever gives it compares
    them: so it may lack its end, and what fills up its last block, as what umoci inserts does. Raises StoreError,
    OSError."""
    stream = Forwards(file, known)
    for archive, member in _members(stream, compared=known is not None):
        path = member.name.encode("utf-8", "surrogateescape")
        try:
            _add(tree, path, archive, member)
        except (ValueError, OverflowError, tarfile.TarError) as error:
            raise refused(path, f"the member is damaged: {error}") from error
        finally:
            stream.allowance = HEADERS_MOST
    stream.drain()
    tree.intake.transaction.wait()


def _members(stream: Forwards, *, compared: bool) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """One after the other. Driven by hand: tarfile itself takes a damaged header for the end."""
    stream.allowance = HEADERS_MOST
    try:
        # Without a mode that reads: what it would read first is read here.
        archive: Any = tarfile.TarFile(fileobj=_Nothing(), mode="w", encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
        archive.fileobj, archive.mode, archive.offset = stream, "r", 0
        while True:
            if compared and archive.offset - stream.reach(archive.offset) < tarfile.BLOCKSIZE and stream.has_ended():
                return
            stream.seek(archive.offset)
            try:
                member = tarfile.TarInfo.fromtarfile(archive)
            except _END:
                return
            stream.allowance = None
            yield archive, member
    except _CUT as error:
        raise cut_short() from error
    except tarfile.TarError as error:
        what = "it is no tar archive" if stream.tell() <= tarfile.BLOCKSIZE else f"the archive is damaged: {error}"
        raise StoreError(what) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise StoreError(f"the archive is damaged: {error}") from error


class _Nothing:
    """For a TarFile whose file comes later."""

    def tell(self) -> int:
        return 0


def _add(tree: Growing, path: bytes, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parts, intake = tree.parts(path), tree.intake
    if member.type == tarfile.LNKTYPE:
        target = member.linkname.encode("utf-8", "surrogateescape")
        tree.link(path, parts, tree.parts(target))
        intake.entry(path, tree.root)
        return
    if member.type not in _KINDS:
        raise refused(path, f"it is of the type {member.type!r}, which is not taken over")
    node = _node(path, member)
    intake.entry(path, node)
    node.xattrs = intake.attributes(path, _attributes(member))
    intake.left_out.update(name for name in _ACLS if name in member.pax_headers)
    if stat.S_ISREG(node.mode):
        if member.size < 0:
            raise refused(path, "its size is negative")
        intake.size(path, member.size)
        _content(path, node, archive, member, intake)
    tree.put(path, parts, node)


def parts_of(path: bytes) -> list[bytes]:
    """The names of a path below the root. Raises StoreError for one that leads elsewhere."""
    if path.startswith(b"/"):
        raise refused(
            path, "its name is absolute", "make the archive with names below its folder: tar -C DIR -cf FILE ."
        )
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    for part in parts:
        if part == b"..":
            raise refused(path, "its name leads out of the archive")
        if problem := name_problem(part):
            raise refused(path, problem)
    return parts


def _node(path: bytes, member: tarfile.TarInfo) -> Node:
    mode = _KINDS[member.type] | (0o777 if member.issym() else member.mode & 0o7777)
    node = Node(mode, member.uid, member.gid, math.floor(member.mtime))
    if not (0 <= node.uid <= ID_MOST and 0 <= node.gid <= ID_MOST):
        raise refused(path, f"its owner {node.uid}:{node.gid} cannot be")
    if abs(node.mtime) > TIME_MOST:
        raise refused(path, "the time of its last change cannot be")
    if member.issym():
        node.target = member.linkname.encode("utf-8", "surrogateescape")
        if not 0 < len(node.target) <= TARGET_MOST or b"\0" in node.target:
            raise refused(path, "its target is no path")
    if member.isdev() and not member.isfifo():
        node.device = os.makedev(member.devmajor, member.devminor)
    return node


def _attributes(member: tarfile.TarInfo) -> dict[bytes, bytes]:
    return {
        name.removeprefix(_XATTR).encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape")
        for name, value in member.pax_headers.items()
        if name.startswith(_XATTR)
    }


def _content(path: bytes, node: Node, archive: tarfile.TarFile, member: tarfile.TarInfo, intake: Intake) -> None:
    if member.size == 0:
        return
    file = archive.extractfile(member)
    if file is None:
        raise refused(path, "it has no content")
    pieces = iter(lambda: file.read(CHUNK), b"")
    try:
        if member.size <= SMALL:
            intake.transaction.put_later(node, b"".join(pieces))
        else:
            node.digest, node.size = intake.transaction.put_chunks(pieces)
    except tarfile.ReadError as error:
        raise cut_short() from error
    if node.size != member.size:
        raise cut_short()


class Growing:
    """A tree that gets its files by their paths, as extracting would give them to a folder that it cannot leave."""

    absolute = False  # whether names may begin with a slash

    def parts(self, path: bytes) -> list[bytes]:
        """The names of a path. Raises StoreError."""
        return parts_of(path.lstrip(b"/") if self.absolute else path)

    def __init__(self, intake: Intake) -> None:
        self.root = Node(stat.S_IFDIR | 0o755)
        self.intake = intake

    def put(self, path: bytes, parts: list[bytes], node: Node) -> None:
        """Raises StoreError where something else is in the way."""
        if not parts:
            if node.children is None:
                raise refused(path, "the root of a tree is a folder")
            node.children, self.root.children = self.root.children, None
            self.root = node
            return
        siblings = self._folder(path, parts[:-1])
        before = siblings.get(parts[-1])
        if before is not None and before.children is not None:
            if node.children is None:
                raise refused(path, "there is a folder of that name already")
            node.children = before.children
        siblings[parts[-1]] = node

    def link(self, path: bytes, parts: list[bytes], target: list[bytes]) -> None:
        """A further name of a file that is there. Raises StoreError."""
        found = self._folder(path, target[:-1], make=False).get(target[-1]) if target else None
        if found is None or found.children is not None:
            raise refused(path, f"it is a link to {text(b'/'.join(target))}, which is no file of the archive so far")
        if not parts:
            raise refused(path, "the root of a tree is a folder")
        siblings = self._folder(path, parts[:-1])
        before = siblings.get(parts[-1])
        if before is not None and before.children is not None:
            raise refused(path, "there is a folder of that name already")
        siblings[parts[-1]] = found

    def _made(self, path: bytes, name: bytes, depth: int) -> Node:
        if depth > DEEPEST:
            raise refused(path, f"it lies in more than {DEEPEST} folders")
        folder = Node(stat.S_IFDIR | 0o755)
        self.intake.entry(name, folder)
        return folder

    def _folder(self, path: bytes, parts: list[bytes], *, make: bool = True) -> dict[bytes, Node]:
        """What is in a folder, links on the way followed inside the tree; folders that are missing are made. Whatever
        the archive did not name counts as if it had: those folders, and the path behind a link."""
        way, names, links = [self.root], parts[::-1], 0
        lengths = [0]  # of the path of each folder on the way
        while names:
            name = names.pop()
            if name == b"..":
                way, lengths = way[:-1] or way, lengths[:-1] or lengths
                continue
            if name in (b"", b"."):
                continue
            here = way[-1].children
            node = here.get(name) if here is not None else None
            if node is None and here is not None and make:
                node = here[name] = self._made(path, name, len(way))
            if node is None:
                raise refused(path, "a folder on the way to it is missing")
            if stat.S_ISLNK(node.mode):
                links += 1
                if links > MOST_LINKS:
                    raise refused(path, "the links on the way to it lead nowhere")
                way, lengths = (way[:1], lengths[:1]) if node.target.startswith(b"/") else (way, lengths)
                names += node.target.split(b"/")[::-1]
                continue
            if node.children is None:
                raise refused(path, f"{text(name)} on the way to it is no folder")
            way.append(node)
            lengths.append(lengths[-1] + len(name) + 1)
        if len(way) > DEEPEST:
            raise refused(path, f"it lies in more than {DEEPEST} folders")
        self.intake.count_names(path, max(0, lengths[-1] - len(path)))
        children = way[-1].children
        assert children is not None
        return children
