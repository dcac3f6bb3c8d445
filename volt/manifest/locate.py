"""Where a value was written: TOML positions by tree-sitter, loaded only when there is something to report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tomli

Key = tuple["str | int", ...]
Position = tuple[int, int]  # line and column, from 1; columns in characters


def positions(data: bytes) -> dict[Key, Position]:
    """Path of keys and indexes → where its value begins, and for a key without a value where it stands."""
    import tree_sitter
    import tree_sitter_toml

    text = data.removeprefix(b"\xef\xbb\xbf")
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))
    walker = _Walker(text)
    walker.document(parser.parse(text).root_node)
    return walker.found


class _Walker:
    """Walks a syntax tree once and notes every value."""

    def __init__(self, text: bytes) -> None:
        self.lines = text.split(b"\n")
        self.found: dict[Key, Position] = {(): (1, 1)}
        self.implied: dict[Key, Position] = {}  # tables that only the header or key of something inside names
        self.counts: dict[Key, int] = {}
        self.last = (0, 0, 0)  # row, bytes and characters of the place that was noted last

    def document(self, root: Any) -> None:
        for node in root.children:
            if node.type == "pair":
                self.pair(node, ())
            elif node.type == "table":
                self.table(node, self.header(node))
            elif node.type == "table_array_element":
                self.table(node, self.element(node))
        self.found = self.implied | self.found

    def header(self, node: Any) -> Key:
        return self.current(_keys(_key_node(node)))

    def element(self, node: Any) -> Key:
        keys = _keys(_key_node(node)) or ("",)
        path = (*self.current(keys[:-1]), keys[-1])
        number = self.counts.get(path, -1) + 1
        self.counts[path] = number
        self.note(path, _key_node(node))
        return (*path, number)

    def current(self, keys: tuple[str, ...]) -> Key:
        """The path of a header: below an array of tables it means the last element."""
        path: Key = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def table(self, node: Any, path: Key) -> None:
        self.note(path, _key_node(node) or node)
        self.imply(path, _key_node(node) or node)
        for child in node.children:
            if child.type == "pair":
                self.pair(child, path)

    def pair(self, node: Any, path: Key) -> None:
        key = _key_node(node)
        if key is None:
            return
        keys = _keys(key)
        self.imply((*path, *keys), key)
        values = [child for child in node.named_children if child.id != key.id and child.type != "comment"]
        self.value(values[0] if values else key, (*path, *keys))

    def value(self, node: Any, path: Key) -> None:
        self.note(path, node)
        if node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            for number, item in enumerate(items):
                self.value(item, (*path, number))
        elif node.type == "inline_table":
            for child in node.named_children:
                if child.type == "pair":
                    self.pair(child, path)

    def note(self, path: Key, node: Any) -> None:
        self.found.setdefault(path, self.position(node))

    def imply(self, path: Key, node: Any) -> None:
        for depth in range(1, len(path)):
            self.implied.setdefault(path[:depth], self.position(node))

    def position(self, node: Any) -> Position:
        """Line and column of a node. The walk goes forwards, so the characters of a line are counted once."""
        row, column = node.start_point
        known, start, characters = self.last
        if row != known or column < start:
            start = characters = 0
        line = self.lines[row] if row < len(self.lines) else b""
        characters += len(line[start:column].decode("utf-8", "replace"))
        self.last = (row, column, characters)
        return row + 1, characters + 1


def _key_node(node: Any) -> Any:
    kinds = ("bare_key", "quoted_key", "dotted_key")
    return next((child for child in node.children if child.type in kinds), None)


def _keys(node: Any) -> tuple[str, ...]:
    return tuple(_parts(node)) if node is not None else ()


def _parts(node: Any) -> Iterator[str]:
    if node.type == "dotted_key":
        for child in node.named_children:
            yield from _parts(child)
    elif node.type == "quoted_key":
        (key,) = tomli.loads(f"{node.text.decode('utf-8', 'replace')} = 0")
        yield key
    else:
        yield node.text.decode("utf-8", "replace")
