"""A file tree as data, and its one canonical form: the blob whose SHA-256 names the tree.

The first line says what the blob is. Every other line is an entry as a JSON array: path, type and permissions in
octal, uid, gid, time of change in whole seconds; then of a regular file its size and SHA-256 ("" where it is empty),
of a link its target, of a device [major, minor]; then, where there are any, extended attributes in hex. A further
name of the same file is [path, "link", first path]. Parents come before what is in them, names in the order of their
bytes. Bytes that are no UTF-8 are written as Python's surrogateescape does.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

from volt.errors import StoreError

HEADER = '{"kind":"volt-tree","version":1}'
LINK = "link"
NAME_MOST = 255  # bytes: NAME_MAX
TARGET_MOST = 4095  # bytes: PATH_MAX and its NUL
TREE_MOST = 1 << 30  # bytes of a canonical form
DEEPEST = 256  # folders within each other
ID_MOST = 2**32 - 2  # the last one means "no id", chown(2)
TIME_MOST = 2**40  # seconds, either way
SIZE_MOST = 2**62
DIGEST_LENGTH = 64
_HEX = frozenset("0123456789abcdef")
_KINDS = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK))
NO_XATTRS: Mapping[bytes, bytes] = MappingProxyType({})  # one for all that have none


class Node:
    """One file, whatever its names: two entries with the same node are hard links. Made entry by entry while a tree
    is read, so it can be changed, and is equal to itself alone.

    `mode` is type and permissions, `mtime` in seconds, `device` the number of a device node; `digest` names the
    object with a regular file's content, "" for an empty one. `children` is None of anything but a folder.
    """

    __slots__ = ("children", "device", "digest", "gid", "mode", "mtime", "size", "target", "uid", "xattrs")

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        self.mode, self.uid, self.gid, self.mtime = mode, uid, gid, mtime
        self.size = 0
        self.digest = ""
        self.target = b""
        self.device = 0
        self.xattrs = NO_XATTRS
        self.children: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None


def entries(root: Node) -> Iterator[tuple[bytes, Node]]:
    """Every (path, node) in the order of the canonical form; the root's path is empty."""
    waiting = [(b"", root)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if node.children:
            prefix = path + b"/" if path else b""
            waiting += ((prefix + name, node.children[name]) for name in sorted(node.children, reverse=True))


def objects(root: Node) -> set[str]:
    """The objects that hold the content of the tree's files."""
    return {node.digest for _, node in entries(root) if node.digest}


def text(data: bytes) -> str:
    """Bytes as they stand in a tree."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(written: object) -> bytes:
    if not isinstance(written, str):
        raise StoreError("it is no text")
    return written.encode("utf-8", "surrogateescape")


def encode(root: Node) -> bytes:
    """The canonical form. Raises StoreError for a tree that is too large for one."""
    written = BytesIO()
    written.write(f"{HEADER}\n".encode())
    first: dict[int, bytes] = {}
    for path, node in entries(root):
        before = first.setdefault(id(node), path) if node.children is None else path
        further = before is not path
        line = f'[{_quoted(text(path))},"{LINK}",{_quoted(text(before))}]' if further else _line(path, node)
        if written.tell() + len(line) >= TREE_MOST:
            raise StoreError(f"the tree is larger than {TREE_MOST} bytes")
        written.write(f"{line}\n".encode())
    return written.getvalue()


_quoted = json.encoder.encode_basestring_ascii  # what json.dumps() makes of a text


def _line(path: bytes, node: Node) -> str:
    """JSON, put together here: a call of json.dumps() for each line would take several times as long."""
    line = f'[{_quoted(text(path))},"{node.mode:o}",{node.uid},{node.gid},{node.mtime}'
    if stat.S_ISREG(node.mode):
        line += f',{node.size},"{node.digest}"'
    elif stat.S_ISLNK(node.mode):
        line += f",{_quoted(text(node.target))}"
    elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        line += f",[{os.major(node.device)},{os.minor(node.device)}]"
    if node.xattrs:
        pairs = (f'{_quoted(text(name))}:"{value.hex()}"' for name, value in sorted(node.xattrs.items()))
        line += f",{{{','.join(pairs)}}}"
    return f"{line}]"


def is_tree(data: bytes) -> bool:
    """Whether a blob says that it is a tree of this version."""
    return data.startswith(f"{HEADER}\n".encode())


def decode(data: bytes) -> Node:
    """The tree of a canonical form. Raises StoreError for anything that encode() would not have written."""
    if not is_tree(data):
        raise StoreError("it is no tree that this version of volt knows")
    nodes: dict[bytes, Node] = {}
    try:
        lines = data.decode("ascii").split("\n")
        for number, record in enumerate(json.loads(f"[{','.join(lines[1:-1])}]"), 2):
            _add(nodes, record, number)
        root = nodes[b""]
    except StoreError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise StoreError("the tree is damaged") from error
    if encode(root) != data:  # one tree has one form, or it had several names
        raise StoreError("the tree is not in its canonical form")
    return root


def _add(nodes: dict[bytes, Node], record: Any, number: int) -> None:
    path = _bytes(record[0])
    node = nodes[_bytes(record[2])] if record[1] == LINK else _node(record)
    if node.children is not None and record[1] == LINK:
        raise StoreError(f"line {number} of the tree: a folder has one name")
    nodes[path] = node
    if not path:
        if node.children is None or len(nodes) > 1:
            raise StoreError("the tree does not begin with its root")
        return
    above, _, name = path.rpartition(b"/")
    if problem := name_problem(name):
        raise StoreError(f"line {number} of the tree: {problem}")
    siblings = nodes[above].children
    if siblings is None or path.count(b"/") >= DEEPEST:
        raise StoreError(f"line {number} of the tree: nothing can lie there")
    siblings[name] = node


def _node(record: list[Any]) -> Node:
    """Of one line. Raises what a damaged one makes Python raise."""
    mode, uid, gid, mtime = int(record[1], 8), *(int(one) for one in record[2:5])
    if stat.S_IFMT(mode) not in _KINDS or mode & ~0o177777 or abs(mtime) > TIME_MOST:
        raise ValueError(mode)
    if not (0 <= uid <= ID_MOST and 0 <= gid <= ID_MOST):
        raise ValueError(uid)
    node, rest = Node(mode, uid, gid, mtime), record[5:]
    if stat.S_ISREG(mode):
        node.size, node.digest, *rest = rest
        _check_content(node)
    elif stat.S_ISLNK(mode):
        node.target, rest = _bytes(rest[0]), rest[1:]
        if not 0 < len(node.target) <= TARGET_MOST or b"\0" in node.target:
            raise ValueError(node.target)
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        node.device, rest = os.makedev(*rest[0]), rest[1:]
    if rest:
        node.xattrs = {_bytes(name): bytes.fromhex(value) for name, value in rest[0].items()}
        for name, value in node.xattrs.items():
            if problem := xattr_problem(name, value):
                raise StoreError(problem)
        if sum(len(name) + len(value) + 8 for name, value in node.xattrs.items()) > XATTR_MOST:
            raise StoreError("the attributes of a file are too large")
    return node


def _check_content(node: Node) -> None:
    size, digest = node.size, node.digest
    if not isinstance(size, int) or not 0 <= size <= SIZE_MOST:
        raise ValueError(size)
    if digest and (len(digest) != DIGEST_LENGTH or not _HEX.issuperset(digest)):
        raise ValueError(digest)
    if bool(size) != bool(digest):
        raise ValueError(size)


def name_problem(name: bytes) -> str:
    """Why this can be no name of a file, "" where it can."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return f"{text(name)!r} is no name of a file"
    return f"a name has more than {NAME_MOST} bytes" if len(name) > NAME_MOST else ""


# ── extended attributes, xattr(7) ───────────────────────────────────────────────────────────────

XATTR_MOST = 60_000  # bytes of one file's, names and values: XATTR_SIZE_MAX is 65,536, and an image's field ends there
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_CAPABILITY = b"security.capability"
# What the host's security modules have put on files: it says nothing about the tree, and would be wrong elsewhere.
_SMACK = (b"", b"EXEC", b"MMAP", b"TRANSMUTE", b"IPIN", b"IPOUT")  # linux/xattr.h
OF_THE_HOST = frozenset(
    (
        b"security.selinux",
        b"security.ima",
        b"security.evm",
        b"security.apparmor",
        *(b"security.SMACK64" + one for one in _SMACK),
    )
)


def of_the_host(name: bytes) -> bool:
    """Whether an attribute belongs to the machine that a tree was read on."""
    return name in OF_THE_HOST


def xattr_problem(name: bytes, value: bytes) -> str:
    """Why a tree does not take this attribute, "" where it does. trusted.overlay.* would speak to overlayfs, which
    mounts the tree; what other trusted.* and security.* attributes mean nobody here knows."""
    if len(name) > NAME_MOST or b"\0" in name or len(name) + len(value) > XATTR_MOST:
        return f"the attribute {text(name[:80])!r} is too large"
    if name in (*_ACLS, _CAPABILITY) or (name.startswith(b"user.") and len(name) > len(b"user.")):
        return ""
    return f"the attribute {text(name)!r} cannot be taken over"
