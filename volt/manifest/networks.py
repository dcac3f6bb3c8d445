"""The definition of a network, read as manifests are: every problem at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from volt.manifest.chain import parse_document
from volt.manifest.fields import unknown
from volt.manifest.nodes import Node
from volt.manifest.reader import Parser, Reader, WrongError, truth
from volt.model import networks as forms
from volt.model.findings import Finding
from volt.model.networks import Definition
from volt.model.values import Value


class ReadDefinition(Value):
    """`definition` is None where there are findings."""

    definition: Definition | None
    findings: tuple[Finding, ...]


def read_definition(name: str, bridge: str, path: str, data: bytes) -> ReadDefinition:
    """The network `name` that the TOML text `data` of the file at `path` says; `bridge` is what it is called on the
    host where the text does not say it. A key that is not known, or a value that is not understood, is an error."""
    document = parse_document(path, data, quotable=True)
    if document.node is None:
        return ReadDefinition(None, (document.told(document.finding),) if document.finding else ())
    reader = Reader([None], "/")
    values = _read(reader, document.node)
    findings = tuple(
        document.told(Finding(one.code, one.key, one.message, one.hint, document.place(one.node.path)))
        for one in reader.problems
        if one.node
    )
    return ReadDefinition(None if findings else Definition(**{"bridge": bridge, "name": name, **values}), findings)


def _read(reader: Reader, table: Node) -> dict[str, Any]:
    """What is right in it."""
    found: dict[str, Any] = {}
    for key, node in table.value.items():
        try:
            if key in KEYS:
                found[key] = KEYS[key](reader, key, node)
            else:
                unknown(reader, key, key, node, KEYS)
        except WrongError:
            continue
    if "subnet" not in table.value:
        reader.wrong("missing-key", "subnet", table, "'subnet' is missing", 'write subnet = "10.203.0.0/24"')
    return found


def formed(make: Callable[[object], Any], kind: type, hint: str) -> Parser:
    """A value of a form: what `make` raises as ValueError is the message."""

    def parse(reader: Reader, key: str, node: Node) -> Any:
        value: object = reader.typed(key, node, kind, hint)
        try:
            return make(value)
        except ValueError as error:
            raise reader.wrong("bad-network", key, node, str(error), f"write {hint}") from None

    return parse


KEYS: Mapping[str, Parser] = {
    "subnet": formed(forms.subnet, str, '"10.203.0.0/24"'),
    "subnet6": formed(forms.subnet6, str, '"fd12:3456:789a::/64"'),
    "mtu": formed(forms.mtu, int, str(forms.USUAL_MTU)),
    "internal": truth,
    "bridge": formed(forms.bridge_name, str, 'up to 15 lower-case letters, digits and hyphens, as "vn-web"'),
}
