"""Variables in a manifest's strings: ${NAME}, ${NAME:-default}, $$; replaced once, never in keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from volt.manifest.nodes import Node

REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_.]*)(?::-([^}]*))?\}|\$\{")

# What a lookup gives: the value, and whether it came from --set; None where nobody defines the name.
Lookup = Callable[[str], "tuple[str, bool] | None"]
Complaint = Callable[[Node, str, str, str], None]


def lookup_in(
    given: Mapping[str, str], built_in: Mapping[str, str], environment: Callable[[str], str | None]
) -> Lookup:
    """The order: --set, the built-in names, which the environment cannot replace, the environment."""

    def lookup(name: str) -> tuple[str, bool] | None:
        if name in given:
            return given[name], True
        value = built_in.get(name)
        value = environment(name) if value is None else value
        return None if value is None else (value, False)

    return lookup


def substitute(node: Node, lookup: Lookup, complain: Complaint) -> None:
    """Replace the references in every string below `node`, in place; `complain` of those that cannot be."""
    if isinstance(node.value, dict):
        for item in node.value.values():
            substitute(item, lookup, complain)
    elif isinstance(node.value, list):
        for item in node.value:
            substitute(item, lookup, complain)
    elif isinstance(node.value, str) and "$" in node.value:
        _replace(node, lookup, complain)


def _replace(node: Node, lookup: Lookup, complain: Complaint) -> None:
    written: str = node.value

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            rest = written[match.start() :].partition("}")
            complain(
                node,
                "bad-variable",
                f"'{rest[0]}{rest[1]}' is no reference",
                "write ${NAME}, or $$ for a dollar sign",
            )
            return match[0]
        found = lookup(match[1])
        if found is None and match[2] is None:
            hint = f"pass --set {match[1]}=VALUE, or write ${{{match[1]}:-default}}"
            complain(node, "undefined-variable", f"nothing defines ${{{match[1]}}}", hint)
            return match[0]
        text, given = found or (match[2] or "", False)
        if given and match.start() == 0:
            node.caller = True
        return text

    node.value = REFERENCE.sub(value_of, written)
