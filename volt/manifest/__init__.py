"""The language: from files to a workload, or to every reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from volt.manifest.resolve import Resolved, locate, locate_in, resolve
from volt.manifest.sources import Sources

if TYPE_CHECKING:
    from volt.manifest.documents import encode, from_json, load_file, parse, to_json
    from volt.manifest.json_schema import schema
    from volt.manifest.shown import Shown, show

__all__ = [
    "Resolved",
    "Shown",
    "Sources",
    "encode",
    "from_json",
    "load_file",
    "locate",
    "locate_in",
    "parse",
    "resolve",
    "schema",
    "show",
    "to_json",
]

# A launch resolves, and needs neither the model that people write with nor a writer of TOML.
LAZY: Mapping[str, str] = {
    **dict.fromkeys(("encode", "from_json", "load_file", "parse", "to_json"), "documents"),
    "schema": "json_schema",
    **dict.fromkeys(("Shown", "show"), "shown"),
}


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'volt.manifest' has no attribute '{name}'")
    return getattr(import_module(f"volt.manifest.{LAZY[name]}"), name)
