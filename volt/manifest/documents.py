"""Manifests read and written: TOML and JSON, both ways without loss, and nothing validated."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from volt.model.manifest import Manifest

TAG = "$toml"  # marks a JSON object that stands for a TOML value which JSON lacks
TIMES: Mapping[str, Any] = {
    "datetime": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
}


def load_file(path: str | Path) -> Manifest:
    """Read a TOML manifest. Raises OSError, tomli.TOMLDecodeError, UnicodeDecodeError; validates nothing."""
    manifest = parse(Path(path).read_bytes())
    manifest.source_path = str(path)
    return manifest


def parse(data: bytes) -> Manifest:
    """The manifest of a TOML text. Raises tomli.TOMLDecodeError, UnicodeDecodeError."""
    return from_table(read_toml(data))


def read_toml(data: bytes) -> dict[str, Any]:
    """The table of a TOML text; a UTF-8 byte order mark and CRLF are accepted."""
    return tomli.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))


def from_table(table: Mapping[str, Any]) -> Manifest:
    """A manifest with the values of a table as tomli gives it."""
    written = {key: value for key, value in table.items() if key != "source_path"}
    manifest = Manifest.unchecked(written)
    if "source_path" in table:  # a key of that name in a file is an unknown key, not where it came from
        object.__setattr__(
            manifest,
            "__pydantic_extra__",
            {**(manifest.model_extra or {}), "source_path": table["source_path"]},
        )
    return manifest


def to_table(manifest: Manifest) -> dict[str, Any]:
    """The written keys of a manifest, `source_path` left out."""
    extra = manifest.model_extra or {}
    table = {key: value for key, value in manifest.table().items() if key != "source_path"}
    return table | ({"source_path": extra["source_path"]} if "source_path" in extra else {})


def encode(manifest: Manifest) -> bytes:
    """The manifest as TOML."""
    return tomli_w.dumps(to_table(manifest)).encode()


def to_json(manifest: Manifest) -> str:
    """The manifest as JSON; dates, times and endless floats as tagged objects."""
    return json.dumps(_to_json(to_table(manifest)), indent=2)


def from_json(text: str) -> Manifest:
    """The manifest of to_json's text, or of any JSON object without null. Raises ValueError."""
    table = _from_json(json.loads(text))
    if not isinstance(table, dict):
        raise ValueError("a manifest is a JSON object")
    return from_table(table)


def _to_json(value: Any) -> Any:
    match value:
        case dict():
            plain = {key: _to_json(item) for key, item in value.items()}
            return {TAG: "table", "value": plain} if TAG in value else plain
        case list():
            return [_to_json(item) for item in value]
        case float() if not math.isfinite(value):
            return {TAG: "float", "value": repr(value)}
        case datetime.datetime():
            return {TAG: "datetime", "value": value.isoformat()}
        case datetime.date():
            return {TAG: "date", "value": value.isoformat()}
        case datetime.time():
            return {TAG: "time", "value": value.isoformat()}
    return value


def _from_json(value: Any) -> Any:
    match value:
        case None:
            raise ValueError("null has no meaning in a manifest: leave the key out")
        case {"$toml": "float", "value": str(number)}:
            return float(number)
        case {"$toml": "table", "value": dict(table)}:
            return {key: _from_json(item) for key, item in table.items()}
        case {"$toml": str(kind), "value": str(written)} if kind in TIMES:
            return TIMES[kind].fromisoformat(written)
        case dict():
            return {key: _from_json(item) for key, item in value.items()}
        case list():
            return [_from_json(item) for item in value]
    return value
