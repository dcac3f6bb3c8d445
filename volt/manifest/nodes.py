"""A manifest's values with the file each was written in; merging a child over its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volt.manifest.locate import Key
from volt.model.findings import quote

SPREAD = "..."
DEPTH = 64  # levels of tables
VOLUMES: Key = ("storage", "volumes")
NESTED = (dict, list)


class TooDeepError(ValueError):
    """Tables nested deeper than DEPTH."""


class Node:
    """`value` is a dict of Nodes, a list of Nodes, or a plain TOML value. `file` is the number of its file
    in the chain and `path` its place there; `caller` says that a relative path in it is the caller's, and
    `broken` that a reference in it means nothing, which has been reported."""

    __slots__ = ("broken", "caller", "file", "path", "value")

    def __init__(self, value: Any, file: int, path: Key) -> None:
        self.value = value
        self.file = file
        self.path = path
        self.caller = False
        self.broken = False


def node_of(value: Any, file: int, path: Key = ()) -> Node:
    """A TOML value as nodes. Raises TooDeepError, TypeError for a key that is no string."""
    if len(path) > DEPTH:
        raise TooDeepError(f"more than {DEPTH} levels of tables")
    if isinstance(value, (str, int)):  # nearly all; asking for a Mapping, as last of all below, takes long
        return Node(value, file, path)
    if isinstance(value, (list, tuple)):
        return Node([node_of(item, file, (*path, n)) for n, item in enumerate(value)], file, path)
    if isinstance(value, (dict, Mapping)):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {quote(odd[0])} is no string")
        return Node({key: node_of(item, file, (*path, key)) for key, item in value.items()}, file, path)
    return Node(value, file, path)


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def merge(base: Node | None, child: Node, twice: list[Node], where: Key = ()) -> Node:
    """The child over its base: tables key by key, volumes by container path, "..." in a list for the
    base's list; everything else replaces. `twice` receives each "..." that is not the first of its list."""
    if base is None and not _has_spread(child):
        return child
    if isinstance(child.value, dict):
        below = base.value if base is not None and isinstance(base.value, dict) else {}
        own = {
            key: merge(below.get(key), item, twice, (*where, key)) if isinstance(item.value, NESTED) else item
            for key, item in child.value.items()
        }
        return Node({**below, **own}, child.file, child.path)
    if isinstance(child.value, list):
        below_list = base.value if base is not None and isinstance(base.value, list) else []
        twice += [item for item in child.value if item.value == SPREAD][1:]
        if where == VOLUMES:
            return Node(_merge_volumes(below_list, child.value), child.file, child.path)
        return Node(_spread(below_list, child.value), child.file, child.path)
    return child


def _has_spread(node: Node) -> bool:
    """Whether some list below has a "..."."""
    if isinstance(node.value, dict):
        return any(_has_spread(item) for item in node.value.values() if isinstance(item.value, NESTED))
    return any(item.value == SPREAD or (isinstance(item.value, NESTED) and _has_spread(item)) for item in node.value)


def _spread(base: list[Node], child: list[Node]) -> list[Node]:
    found: list[Node] = []
    left = [base]  # once alone: lists that double in each file of a chain grow without end
    for item in child:
        if item.value != SPREAD:
            found.append(item)
        elif left:
            found += left.pop()
    return found


def _merge_volumes(base: list[Node], child: list[Node]) -> list[Node]:
    """The base's volumes in their order, each replaced by the child's of the same container path."""
    merged = list(base)
    left = {_container(item): number for number, item in reversed(list(enumerate(base)))}
    left.pop(None, None)
    for item in child:
        number = left.pop(_container(item), None)
        if number is not None:
            merged[number] = item
        elif item.value != SPREAD:
            merged.append(item)
    return merged


def _container(node: Node) -> str | None:
    """A volume's container path, without trailing or doubled slashes."""
    path = node.value.get("container") if isinstance(node.value, dict) else None
    if path is None or not isinstance(path.value, str):
        return None
    return "/".join(part for part in path.value.split("/") if part not in ("", "."))
