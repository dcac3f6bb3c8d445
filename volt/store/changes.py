"""What has changed from one tree to another."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from volt.model.diff import Change, Form
from volt.store.tree import Node

_FORMS: dict[int, Form] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


def changes(before: Node, after: Node) -> Iterator[Change]:
    """By path, folders before what is in them; times do not count. What a folder that came or went holds is told one
    by one."""
    waiting: list[tuple[bytes, Node | None, Node | None]] = [(b"/", before, after)]
    while waiting:
        path, old, new = waiting.pop()
        if new is None:
            yield Change(kind="deleted", path=os.fsdecode(path))
        elif old is None:
            yield Change(kind="added", path=os.fsdecode(path), form=_form(new))
        elif _about(old) != _about(new):
            yield Change(kind="changed", path=os.fsdecode(path), form=_form(new))
        olds, news = ((one.children if one else None) or {} for one in (old, new))
        names = sorted(olds.keys() | news.keys(), reverse=True)
        waiting += ((os.path.join(path, name), olds.get(name), news.get(name)) for name in names)


def _about(node: Node) -> tuple[object, ...]:
    return node.mode, node.uid, node.gid, node.size, node.digest, node.target, node.device, dict(node.xattrs)


def _form(node: Node) -> Form:
    return _FORMS.get(stat.S_IFMT(node.mode), "device")
