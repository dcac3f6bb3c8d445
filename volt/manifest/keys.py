"""Paths of keys as text: `storage.volumes[0].host`; a name that is no bare key stands in quotes, as in TOML."""

from __future__ import annotations

import json
import re

from volt.manifest.locate import Key

BARE = re.compile(r"[A-Za-z0-9_-]+")
PART = re.compile(r'([A-Za-z0-9_-]+)|\[(\d+)\]|("(?:[^"\\]|\\.)*")')


def below(key: str, name: str | int) -> str:
    """The key of what `name` holds in the value at `key`; "" is the whole manifest."""
    if isinstance(name, int):
        return f"{key}[{name}]"
    word = name if BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return f"{key}.{word}" if key else word


def dotted(path: Key) -> str:
    """The text of a path."""
    key = ""
    for part in path:
        key = below(key, part)
    return key


def path_of(key: str) -> Key:
    """The path of a text: the inverse of `dotted`."""
    return tuple(_part(match) for match in PART.finditer(key))


def _part(match: re.Match[str]) -> str | int:
    if match[2]:
        return int(match[2])
    return match[1] or str(json.loads(match[3]))
