"""The language: from files to a workload, or to every reason why there is none."""

from __future__ import annotations

from volt.manifest.documents import encode, from_json, load_file, parse, to_json
from volt.manifest.resolve import Resolved, locate, resolve
from volt.manifest.schema import schema
from volt.manifest.shown import Shown, show
from volt.manifest.sources import Sources

__all__ = [
    "Resolved",
    "Shown",
    "Sources",
    "encode",
    "from_json",
    "load_file",
    "locate",
    "parse",
    "resolve",
    "schema",
    "show",
    "to_json",
]
