"""The chain of files that `extends` makes: each opened once, hashed and parsed from that one read."""

from __future__ import annotations

import hashlib
import os.path
import re
from collections.abc import Mapping
from typing import Any

import tomli

from volt.manifest.locate import Key, Position, positions
from volt.manifest.nodes import Node, TooDeepError, node_of
from volt.manifest.sources import FILE_LIMIT, Sources
from volt.manifest.toml import read_toml
from volt.model.findings import Finding, Place, quote
from volt.model.values import replace

LONGEST_CHAIN = 16
STDIN = "-"
VALUE = "<value>"
CAS = "cas://"
IN_STORE = re.compile(f"{CAS}sha256:[0-9a-f]{{64}}")
WITHHELD = "what is wrong is not shown: the user who called sudo cannot read this file"


class Document:
    """One manifest of a chain. `folder` is what relative paths belong to, None where there is none; `node`
    is None where the text could not be read."""

    def __init__(self, name: str, folder: str | None) -> None:
        self.name = name
        self.folder = folder
        self.data = b""
        self.quotable = True
        self.node: Node | None = None
        self.finding: Finding | None = None
        self._positions: dict[Key, Position] | None = None
        self._lines: list[str] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that were read."""
        return hashlib.sha256(self.data).hexdigest()

    def place(self, path: Key) -> Place:
        """Where the value at `path` was written, or what holds it."""
        if not self.data:
            return Place(self.name)
        if self._positions is None:
            self._positions = positions(self.data)
        while path not in self._positions:
            path = path[:-1]
        return Place(self.name, *self._positions[path])

    def line(self, number: int) -> str:
        """A line of the text, "" where there is none."""
        if self._lines is None:
            self._lines = self.data.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
        return self._lines[number - 1].rstrip("\r") if 0 < number <= len(self._lines) else ""

    def told(self, finding: Finding) -> Finding:
        """A finding with its line of text. Of a file that may not be quoted it says that something is wrong,
        and where; message, hint and key could hold its words."""
        if not self.quotable:
            return replace(finding, key="", message=WITHHELD, hint="", source="", policy=None)
        return replace(finding, source=self.line(finding.place.line if finding.place else 0))


class Chain:
    """Documents, the child first, and what is wrong with the chain itself."""

    def __init__(self, first: Document) -> None:
        self.documents = [first]
        self.findings: list[Finding] = []


def read_chain(source: str | bytes | Mapping[str, Any], sources: Sources, base: str | None) -> Chain:
    """The manifest and its bases. Whatever cannot be read is a finding; what was read is still there."""
    chain = Chain(_first(source, sources, base))
    while (target := _extends(chain, sources)) is not None:
        node, path = target
        names = [document.name for document in chain.documents]
        trail = " → ".join([*names, path])
        if _absolute(path, sources) in [_absolute(name, sources) for name in names]:
            _complain(chain, node, "cycle", f"the chain of extends comes back: {trail}", "remove one of them")
            break
        if len(names) == LONGEST_CHAIN:
            message = f"more than {LONGEST_CHAIN} manifests extend each other: {trail}"
            _complain(chain, node, "chain-too-long", message, "merge some of them")
            break
        chain.documents.append(_read(path, len(names), sources))
        broken = chain.documents[-1].finding
        if broken and broken.code == "unreadable":
            _complain(chain, node, "unreadable", broken.message, "correct the path in extends")
            chain.documents[-1].finding = None
    chain.findings = [d.told(d.finding) for d in chain.documents if d.finding] + chain.findings
    return chain


def _absolute(name: str, sources: Sources) -> str:
    return os.path.normpath(os.path.join(sources.folder(), name))


def _first(source: str | bytes | Mapping[str, Any], sources: Sources, base: str | None) -> Document:
    if isinstance(source, str):
        document = _read(source, 0, sources)
        document.folder = base if source == STDIN else document.folder
        return document
    document = Document(VALUE, base)
    if isinstance(source, bytes):
        document.data = source
        _parse(document, 0)
    else:
        _adopt(document, source, 0)
    return document


def _read(path: str, number: int, sources: Sources) -> Document:
    name = "<stdin>" if path == STDIN else path
    stored = number > 0 and IN_STORE.fullmatch(path)
    document = Document(name, None if stored else os.path.dirname(os.path.join(sources.folder(), path)))
    try:
        document.data = sources.stored(path) if stored else sources.read(path)
        document.quotable = sources.quotable(path)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        _broken(document, "unreadable", f"{quote(name)} cannot be read: {why}", "name a readable TOML file")
        return document
    _parse(document, number)
    return document


def parse_document(name: str, data: bytes, *, quotable: bool) -> Document:
    """One text by itself, which belongs to no chain."""
    document = Document(name, None)
    document.data, document.quotable = data, quotable
    _parse(document, 0)
    return document


def _broken(document: Document, code: str, message: str, hint: str, at: Position = (0, 0)) -> None:
    document.finding = Finding(code, "", message, hint, Place(document.name, *at))


def _parse(document: Document, number: int) -> None:
    if len(document.data) > FILE_LIMIT:
        _broken(document, "too-large", "the text is longer than 1 MiB", "a manifest has at most 1 MiB")
        return
    try:
        _adopt(document, read_toml(document.data), number)
    except UnicodeDecodeError as error:
        before = document.data[: error.start].decode("utf-8-sig", "replace").split("\n")
        _broken(document, "not-utf-8", "the text is not UTF-8", "save it as UTF-8", (len(before), len(before[-1]) + 1))
    except tomli.TOMLDecodeError as error:
        message = f"this is no TOML: {error.msg}"
        _broken(document, "bad-toml", message, "see https://toml.io", (error.lineno, error.colno))
    except ValueError:
        # Integers of thousands of digits, and brackets in brackets in brackets.
        message = "this is no TOML that can be read: a number is too long, or it is nested too deep"
        _broken(document, "bad-toml", message, "see https://toml.io")


def _adopt(document: Document, table: Mapping[str, Any], number: int) -> None:
    try:
        document.node = node_of(table, number)
    except (TooDeepError, RecursionError):
        _broken(document, "too-deep", "more than 64 levels of tables", "no manifest needs that")
    except TypeError as error:
        _broken(document, "wrong-type", str(error), "write what TOML has: strings as keys")


def _extends(chain: Chain, sources: Sources) -> tuple[Node, str] | None:
    """The base that the last document names, if it names one that can be looked for."""
    last = chain.documents[-1]
    node = last.node.value.get("extends") if last.node else None
    if node is None or node.value == "":
        return None
    if not isinstance(node.value, str):
        _complain(chain, node, "wrong-type", "expected a string as extends", 'write extends = "base.toml"')
        return None
    if node.value.startswith(CAS):
        if IN_STORE.fullmatch(node.value):
            return node, node.value
        message = f"{quote(node.value)} is no digest of the store"
        _complain(chain, node, "bad-digest", message, "write cas://sha256: and 64 hex digits: volt store add prints it")
        return None
    if "\0" in node.value:
        _complain(chain, node, "bad-path", "a path cannot hold a NUL byte", "write the path of a file")
        return None
    if last.folder is None and not os.path.isabs(node.value):
        message = f"{quote(node.value)} is relative, and there is no file that it could belong to"
        _complain(chain, node, "relative-path", message, "write an absolute path, or give a base folder")
        return None
    path = os.path.normpath(os.path.join(last.folder or "/", node.value))
    absolute = os.path.isabs(node.value) or os.path.isabs(last.name) or last.name == VALUE
    return node, path if absolute else os.path.relpath(path, sources.folder())


def _complain(chain: Chain, node: Node, code: str, message: str, hint: str) -> None:
    document = chain.documents[node.file]
    finding = Finding(code, "extends", message, hint, document.place(node.path))
    chain.findings.append(document.told(finding))
