"""Resolving: the chain merged, variables replaced, every value parsed; all problems of all files at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from volt.manifest.chain import Chain, Document, read_chain
from volt.manifest.fields import SECTIONS, TOP, limits, read_table, unknown
from volt.manifest.keys import below, dotted, path_of
from volt.manifest.locate import Key
from volt.manifest.nodes import Node, merge, plain
from volt.manifest.reader import Problem, Reader, WrongError
from volt.manifest.rules import check
from volt.manifest.sources import Sources
from volt.manifest.variables import lookup_in, substitute
from volt.model import workload as model
from volt.model.findings import Finding, Place
from volt.model.values import Value, replace

# Section → the class that holds it in a workload.
HOLDERS: Mapping[str, Any] = {
    "kernel": model.Kernel,
    "security": model.Security,
    "resources": model.Resources,
    "network": model.Network,
    "storage": model.Storage,
    "log": model.Log,
    "service": model.Service,
    "health": model.Health,
}


class Origins(Mapping[str, Place]):
    """Dotted key → where its value was written. Positions are looked up only when they are asked for."""

    def __init__(self, root: Node, chain: Chain) -> None:
        self._root = root
        self._chain = chain

    def __getitem__(self, key: str) -> Place:
        node = find(self._root, key)
        if node is None:
            raise KeyError(key)
        return self._chain.documents[node.file].place(node.path)

    def __iter__(self) -> Iterator[str]:
        return leaves(self._root)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Resolved(Value):
    """`workload` is None where there are errors. `manifest` is the merged table with variables replaced,
    `origins` the place of each of its values, `files` the chain's names and digests, the child first."""

    workload: model.Workload | None
    findings: tuple[Finding, ...]
    origins: Mapping[str, Place]
    _root: Node
    _chain: Chain

    @property
    def manifest(self) -> dict[str, Any]:
        """Made for whoever asks: a launch does not."""
        found: dict[str, Any] = plain(self._root)
        return found

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Likewise."""
        return tuple((document.name, document.digest) for document in self._chain.documents)


def resolve(
    source: str | bytes | Mapping[str, Any],
    sources: Sources,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | None = None,
) -> Resolved:
    """The workload of a manifest: of a file's path, of `-` for standard input, of TOML bytes, of a mapping."""
    chain = read_chain(source, sources, base)
    folders = [document.folder for document in chain.documents]
    reader = Reader(folders, sources.folder(), complete=not chain.findings)
    root = _merged(chain, reader)
    _substitute(root, reader, sources, variables or {})
    found = _read(root, reader, sources)
    findings = chain.findings + [_finding(problem, chain) for problem in reader.problems]
    findings.sort(key=lambda f: (_order(chain, f), f.place.line if f.place else 0, f.place.column if f.place else 0))
    origins = Origins(root, chain)
    failed = any(finding.severity == "error" for finding in findings)
    workload = None if failed else _workload(found, origins)
    return Resolved(workload, tuple(findings), origins, root, chain)


def locate(findings: tuple[Finding, ...], resolved: Resolved) -> tuple[Finding, ...]:
    """Findings of later rooms, which know only a key, with the place where its value was written."""
    return tuple(finding if finding.place else _placed(finding, resolved) for finding in findings)


def locate_in(findings: tuple[Finding, ...], name: str, data: bytes, *, quotable: bool) -> tuple[Finding, ...]:
    """Findings, those of the file `name` with line and column; their keys are those of the text `data`."""
    document = Document(name, None)
    document.data, document.quotable = data, quotable

    def placed(finding: Finding) -> Finding:
        if not finding.place or finding.place.file != name:
            return finding
        at = finding.place if finding.place.line else document.place(path_of(finding.key))
        return document.told(replace(finding, place=at))

    return tuple(placed(finding) for finding in findings)


def _placed(finding: Finding, resolved: Resolved) -> Finding:
    path = path_of(finding.key)
    while path and dotted(path) not in resolved.origins:
        path = path[:-1]
    first = resolved._chain.documents[0]  # noqa: SLF001 (one module's own)
    place = resolved.origins[dotted(path)] if path else Place(first.name)
    document = next((d for d in resolved._chain.documents if d.name == place.file), first)  # noqa: SLF001
    return document.told(replace(finding, place=place))


def _merged(chain: Chain, reader: Reader) -> Node:
    root: Node | None = None
    twice: list[Node] = []
    for document in reversed(chain.documents):
        if document.node is not None:
            root = merge(root, document.node, twice)
    for node in twice:
        message = '"..." stands for the list of the base, once'
        reader.wrong("spread-twice", dotted(node.path), node, message, "remove one of them")
    return root or Node({}, 0, ())


def _substitute(root: Node, reader: Reader, sources: Sources, variables: Mapping[str, str]) -> None:
    lookup = lookup_in(variables, sources.builtins(), sources.variable)

    def complain(path: Key, node: Node, code: str, message: str, hint: str) -> None:
        reader.wrong(code, dotted(path), node, message, hint)

    substitute(Node({key: node for key, node in root.value.items() if key != "extends"}, 0, ()), lookup, complain)


def _read(root: Node, reader: Reader, sources: Sources) -> dict[str, dict[str, Any]]:
    """Section → attribute → value, of everything that is right."""
    found: dict[str, dict[str, Any]] = {section: {} for section in (*SECTIONS, "limits")}
    for key, node in root.value.items():
        if key in SECTIONS:
            found[key] = read_table(reader, key, node, SECTIONS[key])[0]
        elif key == "limits":
            try:
                found[key] = limits(reader, key, node)
            except WrongError:
                continue
        elif key not in TOP:
            unknown(reader, below("", key), key, node, TOP)
    check(reader, found, lambda key: find(root, key), sources.exists)
    return found


def _workload(found: dict[str, dict[str, Any]], given: Mapping[str, Place]) -> model.Workload:
    holders = {name: make(**found[name]) for name, make in HOLDERS.items() if found[name]}
    return model.Workload(**found["workload"], **holders, limits=found["limits"], given=given)


def _finding(problem: Problem, chain: Chain) -> Finding:
    node = problem.node or Node({}, 0, ())
    document = chain.documents[node.file]
    place = document.place(node.path)
    severity: Any = problem.severity
    return document.told(Finding(problem.code, problem.key, problem.message, problem.hint, place, severity=severity))


def _order(chain: Chain, finding: Finding) -> int:
    names = [document.name for document in chain.documents]
    return names.index(finding.place.file) if finding.place and finding.place.file in names else 0


def find(root: Node, key: str) -> Node | None:
    """The node at a dotted key, as `storage.volumes[0].host`."""
    node: Node | None = root
    for part in path_of(key):
        value = node.value if node is not None else None
        if isinstance(part, str):
            node = value.get(part) if isinstance(value, dict) else None
        else:
            node = value[part] if isinstance(value, list) and part < len(value) else None
    return node


def leaves(node: Node, key: str = "") -> Iterator[str]:
    """The dotted key of every value below."""
    if isinstance(node.value, dict):
        for name, item in node.value.items():
            yield from leaves(item, below(key, name))
    elif isinstance(node.value, list) and any(isinstance(item.value, dict) for item in node.value):
        for number, item in enumerate(node.value):
            yield from leaves(item, below(key, number))
    elif key:
        yield key
