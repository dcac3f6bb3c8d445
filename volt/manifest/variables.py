"""Variables in a manifest's strings: ${NAME}, ${NAME:-default}, $$; replaced once, never in keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from volt.manifest.locate import Key
from volt.manifest.nodes import NESTED, Node
from volt.model.findings import LONGEST, quote

REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_.]*)(?::-((?:(?!\$\{)[^}])*))?\}|\$\{")

# What a lookup gives: the value, and whether it came from --set; None where nobody defines the name.
Lookup = Callable[[str], "tuple[str, bool] | None"]
# The path in the merged manifest, the node, code, message and hint of what cannot be replaced.
Complaint = Callable[[Key, Node, str, str, str], None]


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


def substitute(node: Node, lookup: Lookup, complain: Complaint, path: Key = ()) -> None:
    """Replace the references in every string below a table or list, in place; `complain` of those that cannot be."""
    items = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
    for name, item in items:
        if isinstance(item.value, str):
            if "$" in item.value:
                _replace(item, lookup, complain, (*path, name))
        elif isinstance(item.value, NESTED):
            substitute(item, lookup, complain, (*path, name))


def _replace(node: Node, lookup: Lookup, complain: Complaint, path: Key) -> None:
    written: str = node.value
    said: set[str] = set()

    def wrong(code: str, message: str, hint: str) -> None:
        node.broken = True
        if message not in said:  # once for a string, however often it is there
            complain(path, node, code, message, hint)
        said.add(message)

    def value_of(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$$":
            return "$"
        if name is None:
            rest = written[match.start() : match.start() + LONGEST].partition("}")
            message = f"{quote(rest[0] + rest[1])} is no reference"
            wrong("bad-variable", message, "write ${NAME}, or $$ for a dollar sign")
            return match[0]
        found = lookup(name)
        if found is None and default is None:
            hint = f"pass --set {name}=VALUE, or write ${{{name}:-default}}"
            wrong("undefined-variable", f"nothing defines {quote(match[0])}", hint)
            return match[0]
        text, given = found or ((default or "").replace("$$", "$"), False)
        if given and match.start() == 0:
            node.caller = True
        return text

    node.value = REFERENCE.sub(value_of, written)
