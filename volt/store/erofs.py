"""Images of trees without their content: EROFS as a table of contents that overlayfs joins with the objects.

Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of the kernel, Documentation/filesystems/overlayfs.rst
("Data-only lower layers"). A regular file with content is a hole of its size with the attributes by which overlayfs
finds its object. The same tree always gives the same bytes, so an image can be checked by making it again.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence

from volt.store.tree import DIGEST_LENGTH, Node

BLOCK = 4096
SLOT = 32  # an inode's number times this is where it lies
SUPER_AT = 1024
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_ENTRY = struct.Struct("<QHBx")
_XATTR = struct.Struct("<BBH")
_XATTR_HEADER = 12
_MAGIC = 0xE0F5E1E2
_EXTENDED = 1  # the 64-byte inode
_PLAIN, _INLINE, _CHUNKS = 0 << 1, 2 << 1, 4 << 1  # where the data lies: blocks, behind the inode, chunks
_CHUNKED = 0x4  # EROFS_FEATURE_INCOMPAT_CHUNKED_FILE
_HOLE = b"\xff\xff\xff\xff"  # the block of a chunk that is not there
_CHUNK_BITS_MOST = 12 + 31
_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}
_PREFIXES = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
_DOT, _DOTS = b".", b".."

Block = list[tuple[bytes, "_Inode", int]]


class _Inode:
    """Where a node comes to lie: its slot, what stands behind it, and its blocks if that does not fit."""

    __slots__ = ("blocks", "inline", "links", "node", "parent", "room", "size", "slot", "start", "tail")

    def __init__(self, node: Node, parent: _Inode | None) -> None:
        self.node, self.parent = node, parent or self
        self.links = 1
        self.room = _room(node)  # of its attributes, which are made when they are written
        self.blocks: Sequence[Block] = ()  # a folder's
        self.size = node.size
        self.tail = 0  # bytes behind inode and attributes
        self.inline = True
        self.slot = self.start = 0


def image(root: Node) -> bytearray:
    """The image of a tree. Of a large one it is what takes the most memory, so nothing is made before it is needed."""
    inodes = _inodes(root)
    end = _place(inodes)
    # fsck.erofs 1.5 reads the header of attributes behind inodes without any, the last one's too.
    blocks = _place_blocks(inodes, -(-(end + _XATTR_HEADER) // BLOCK))
    made = bytearray(blocks * BLOCK)
    for number, inode in enumerate(inodes, 1):
        _write(made, inode, number)
        inode.blocks = ()  # a folder is among its own entries: without that all would stay until a cycle is looked for
    made[SUPER_AT : SUPER_AT + _SUPER.size] = _SUPER.pack(
        _MAGIC, 0, 0, 12, 0, inodes[0].slot, len(inodes), 0, 0, blocks, 0, 0,
        b"", b"", _CHUNKED, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return made


def object_path(digest: str) -> str:
    """Where an object lies below the folder of objects."""
    return f"{digest[:2]}/{digest[2:]}"


def _attributes(node: Node) -> bytes:
    """The inode's attributes in their binary form."""
    if not stat.S_ISREG(node.mode) or not node.size:
        return _packed(node.xattrs)
    path = f"/{object_path(node.digest)}".encode()
    if not node.xattrs:  # nearly all files
        return _BEFORE + path + _BEHIND
    return _packed({**node.xattrs, _METACOPY: b"", _REDIRECT: path})


def _packed(attributes: Mapping[bytes, bytes]) -> bytes:
    """A header, then each with its padding."""
    made = bytearray()
    for name, value in sorted(attributes.items()):
        prefix, index = next(each for each in _PREFIXES if name.startswith(each[0]))
        rest = name[len(prefix) :]
        made += _XATTR.pack(len(rest), index, len(value)) + rest + value
        made += bytes(-len(made) % 4)
    return bytes(_XATTR_HEADER) + bytes(made) if made else b""


_METACOPY, _REDIRECT = b"trusted.overlay.metacopy", b"trusted.overlay.redirect"
_PATH = f"/{object_path('0' * DIGEST_LENGTH)}".encode()
_BEFORE, _, _BEHIND = _packed({_METACOPY: b"", _REDIRECT: _PATH}).partition(_PATH)


def _room(node: Node) -> int:
    """Bytes of _attributes()."""
    if node.xattrs:
        return len(_attributes(node))
    return len(_BEFORE) + len(_PATH) + len(_BEHIND) if stat.S_ISREG(node.mode) and node.size else 0


def _inodes(root: Node) -> list[_Inode]:
    """Every file once, each folder before what is in it, with sizes and what is to be written."""
    top = _Inode(root, None)
    found, known, waiting = [], {id(root): top}, [top]
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        children = sorted((folder.node.children or {}).items())
        listed: Block = [(_DOT, folder, 2), (_DOTS, folder.parent, 2)]
        folder.links = 2
        for name, node in children:
            inode = known.get(id(node))
            if inode is None:
                inode = known[id(node)] = _Inode(node, folder)
                (waiting if node.children is not None else found).append(inode)
            else:
                inode.links += 1
            folder.links += node.children is not None
            listed.append((name, inode, _TYPES[stat.S_IFMT(node.mode)]))
        folder.blocks = tuple(_split(sorted(listed, key=lambda entry: entry[0])))
        folder.size = (len(folder.blocks) - 1) * BLOCK + _block_size(folder.blocks[-1])
    return found


def _block_size(block: Block) -> int:
    return sum(_ENTRY.size + len(name) for name, _, _ in block)


def _split(listed: Block) -> Iterator[Block]:
    """A folder's entries by the blocks that they fill."""
    block: Block = []
    size = 0
    for entry in listed:
        more = _ENTRY.size + len(entry[0])
        if size + more > BLOCK:
            yield block
            block, size = [], 0
        block.append(entry)
        size += more
    yield block


def _place(inodes: list[_Inode]) -> int:
    """Give each inode its slot; where the last of them ends."""
    at = SUPER_AT + _SUPER.size
    for inode in inodes:
        head = _INODE.size + inode.room
        inode.tail = _tail(inode)
        if stat.S_ISDIR(inode.node.mode) or stat.S_ISLNK(inode.node.mode):
            inode.inline = inode.tail <= BLOCK - head
            inode.tail = inode.tail if inode.inline else 0
            # What stands behind an inode lies in one block with it, or the kernel refuses it.
            behind = at + head
            if inode.tail and behind // BLOCK != (behind + inode.tail - 1) // BLOCK:
                at += -(-(BLOCK - behind % BLOCK) // SLOT) * SLOT
        inode.slot = at // SLOT
        at += head + inode.tail
        at += -at % SLOT
    return at


def _tail(inode: _Inode) -> int:
    """Bytes that stand behind an inode if they fit there."""
    mode = inode.node.mode
    if stat.S_ISDIR(mode):
        return _block_size(inode.blocks[-1])
    if stat.S_ISLNK(mode):
        return len(inode.node.target)
    return len(_HOLE) * _chunks(inode.node.size) if stat.S_ISREG(mode) and inode.node.size else 0


def _chunk_bits(size: int) -> int:
    """Two to this power is a chunk: one for the whole file, unless it is longer than the longest."""
    return min(max(12, (size - 1).bit_length()), _CHUNK_BITS_MOST)


def _chunks(size: int) -> int:
    if size <= 1 << _CHUNK_BITS_MOST:
        return 1
    return -(-size // (1 << _chunk_bits(size)))


def _place_blocks(inodes: list[_Inode], free: int) -> int:
    """Give blocks to what does not stand behind its inode; how many blocks there are in all."""
    for inode in inodes:
        count = 0
        if stat.S_ISDIR(inode.node.mode):
            count = len(inode.blocks) - inode.inline
        elif stat.S_ISLNK(inode.node.mode):
            inode.size = len(inode.node.target)
            count = 0 if inode.inline else 1
        inode.start = free if count else 0
        free += count
    return free


def _write(made: bytearray, inode: _Inode, number: int) -> None:
    node, layout, union, body = inode.node, _PLAIN, 0, b""
    if stat.S_ISDIR(node.mode):
        layout, union = _INLINE if inode.inline else _PLAIN, inode.start
        packed = [_pack(block) for block in inode.blocks]
        body = packed.pop() if inode.inline else b""
        for block, data in enumerate(packed, inode.start):
            made[block * BLOCK : block * BLOCK + len(data)] = data
    elif stat.S_ISLNK(node.mode):
        layout, union = _INLINE if inode.inline else _PLAIN, inode.start
        body = node.target if inode.inline else b""
        if not inode.inline:
            made[inode.start * BLOCK : inode.start * BLOCK + inode.size] = node.target
    elif stat.S_ISREG(node.mode) and node.size:
        layout, union = _CHUNKS, _chunk_bits(node.size) - 12
        body = _HOLE * _chunks(node.size)
    elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        union = _device(node.device)
    attributes = _attributes(node)
    count = (inode.room - _XATTR_HEADER) // 4 + 1 if inode.room else 0
    links = inode.links
    head = _INODE.pack(
        _EXTENDED | layout, count, node.mode, 0, inode.size, union, number, node.uid, node.gid, node.mtime, 0, links
    )
    whole = head + attributes + body
    made[inode.slot * SLOT : inode.slot * SLOT + len(whole)] = whole


def _pack(block: Block) -> bytes:
    """Entries, then their names, as the kernel looks a name up in a block."""
    at, heads, names = _ENTRY.size * len(block), bytearray(), bytearray()
    for name, inode, kind in block:
        heads += _ENTRY.pack(inode.slot, at + len(names), kind)
        names += name
    return bytes(heads + names)


def _device(device: int) -> int:
    """new_encode_dev() of linux/kdev_t.h."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
