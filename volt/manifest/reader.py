"""Reading one value: its type, its form, and what to say where either is wrong."""

from __future__ import annotations

import datetime
import os.path
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from volt.manifest.keys import below
from volt.manifest.nodes import Node
from volt.model.findings import quote
from volt.model.values import Value

T = TypeVar("T")
Parser = Callable[["Reader", str, Node], Any]

TIMES = (datetime.date, datetime.time)
KINDS = {
    bool: "a boolean",
    int: "an integer",
    float: "a number with a point",
    str: "a string",
    list: "a list",
    dict: "a table",
}


class WrongError(ValueError):
    """A value that has been reported: nothing can be made of it."""


class Problem(Value):
    """A finding that does not know its place yet."""

    code: str
    key: str
    node: Node | None
    message: str
    hint: str = ""
    severity: str = "error"


class Reader:
    """Collects problems. `folders` are the folders of the chain's files, None where there is no file;
    `here` is the current folder. `complete` says that every file was read: only then is something missing."""

    def __init__(self, folders: list[str | None], here: str, *, complete: bool = True) -> None:
        self.folders = folders
        self.here = here
        self.complete = complete
        self.problems: list[Problem] = []

    def wrong(self, code: str, key: str, node: Node | None, message: str, hint: str = "") -> WrongError:
        """Note a problem; to be raised where there is no value to go on with."""
        self.problems.append(Problem(code, key, node, message, hint))
        return WrongError(message)

    def note(self, code: str, key: str, node: Node | None, message: str) -> None:
        self.problems.append(Problem(code, key, node, message, severity="note"))

    def reported(self, key: str) -> bool:
        """Whether something is already known to be wrong with a value."""
        return any(problem.key == key for problem in self.problems)

    def typed(self, key: str, node: Node, kind: type[T], example: str) -> T:
        """The value, if it is of this type. Raises WrongError."""
        value = node.value
        if node.broken:
            raise WrongError(key)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        found = KINDS.get(type(value)) or ("a date or time" if isinstance(value, TIMES) else type(value).__name__)
        raise self.wrong("wrong-type", key, node, f"expected {KINDS[kind]}, found {found}", f"write {example}")

    def path(self, key: str, node: Node, written: str) -> str:
        """An absolute path: a relative one belongs to the file that wrote it. Raises WrongError."""
        if os.path.isabs(written):
            return os.path.normpath(written)
        folder = self.here if node.caller else self.folders[node.file]
        if folder is None:
            message = f"{quote(written)} is relative, and there is no file that it could belong to"
            raise self.wrong("relative-path", key, node, message, "write an absolute path, or give a base folder")
        return os.path.normpath(os.path.join(folder, written))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that is most like the word, or ""."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.6)), "")


def text(reader: Reader, key: str, node: Node) -> str | None:
    """An optional string: "" means unset."""
    return string(reader, key, node) or None


def truth(reader: Reader, key: str, node: Node) -> bool:
    return reader.typed(key, node, bool, "true or false")


def number(low: int, high: int) -> Parser:
    """An optional whole number between `low` and `high`: 0 means unset."""

    def parse(reader: Reader, key: str, node: Node) -> int | None:
        value = reader.typed(key, node, int, f"a number from {low} to {high}")
        if value == 0:
            return None
        if not low <= value <= high:
            hint = f"write a number from {low} to {high}"
            raise reader.wrong("out-of-range", key, node, f"{quote(value)} is not between {low} and {high}", hint)
        return value

    return parse


def parsed(code: str, make: Callable[[str], T], hint: str) -> Parser:
    """An optional string of a form: what `make` raises as ValueError is the message."""

    def parse(reader: Reader, key: str, node: Node) -> T | None:
        value = string(reader, key, node)
        if not value:
            return None
        try:
            return make(value)
        except ValueError as error:
            raise reader.wrong(code, key, node, str(error), hint) from None

    return parse


def one_of(code: str, words: Iterable[str], make: Callable[[str], T]) -> Parser:
    """An optional word of a few: "" means unset."""
    known = list(words)

    def parse(reader: Reader, key: str, node: Node) -> T | None:
        value = text(reader, key, node)
        if value is None or value in known:
            return None if value is None else make(value)
        near = nearest(value, known)
        hint = f'write "{near}"' if near else "write one of " + ", ".join(known)
        raise reader.wrong(code, key, node, f"{quote(value)} is none of {', '.join(known)}", hint)

    return parse


def many(item: Parser) -> Parser:
    """A list; every bad element is reported."""

    def parse(reader: Reader, key: str, node: Node) -> tuple[Any, ...]:
        found, bad = [], False
        for n, element in enumerate(reader.typed(key, node, list, "a list: [ … ]")):
            try:
                found.append(item(reader, f"{key}[{n}]", element))
                if found[-1] is None:
                    raise reader.wrong("empty-element", below(key, n), element, "an element is empty", "remove it")
            except WrongError:
                bad = True
        if bad:
            raise WrongError(key)
        return tuple(found)

    return parse


def string(reader: Reader, key: str, node: Node) -> str:
    """A string that may be empty: an argument, a value of the environment."""
    value = node.value
    if not isinstance(value, str) or node.broken:
        value = reader.typed(key, node, str, 'it in quotes: "…"')
    if "\0" in value:
        raise reader.wrong("bad-text", key, node, "a string cannot hold a NUL byte here", "remove it")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise reader.wrong("bad-text", key, node, f"{quote(value)} is not UTF-8", "give the variable another value")
    return value


def mapping(code: str, name_rule: Callable[[str], bool], item: Parser, hint: str) -> Parser:
    """A table of names and values."""

    def parse(reader: Reader, key: str, node: Node) -> dict[str, Any]:
        found, bad = {}, False
        for name, element in reader.typed(key, node, dict, "a table: { NAME = … }").items():
            try:
                if not name_rule(name):
                    raise reader.wrong(code, below(key, name), element, f"{quote(name)} is no valid name here", hint)
                found[name] = item(reader, below(key, name), element)
            except WrongError:
                bad = True
        if bad:
            raise WrongError(key)
        return found

    return parse
