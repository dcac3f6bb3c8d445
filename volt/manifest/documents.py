"""Manifests read and written: TOML and JSON, both ways without loss, and nothing validated."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from volt.manifest.toml import read_toml
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
    """The manifest of a TOML text. Raises ValueError: tomli.TOMLDecodeError, UnicodeDecodeError, or for a number
    of thousands of digits."""
    return Manifest.unchecked(read_toml(data))


def encode(manifest: Manifest) -> bytes:
    """The manifest as TOML."""
    return tomli_w.dumps(manifest.table()).encode()


def to_json(manifest: Manifest) -> str:
    """The manifest as JSON; dates, times and endless floats as tagged objects."""
    return json.dumps(_to_json(manifest.table()), indent=2)


def from_json(text: str) -> Manifest:
    """The manifest of to_json's text, or of any JSON object without null. Raises ValueError."""
    try:
        table = _from_json(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(table, dict):
        raise ValueError("a manifest is a JSON object")
    return Manifest.unchecked(table)


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
