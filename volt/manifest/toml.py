"""A TOML text as a table: what every reading of a manifest begins with."""

from __future__ import annotations

import re
from typing import Any

import tomli

LONG = re.compile(rb"0[xob][0-9A-Fa-f_]{1000}")


def read_toml(data: bytes) -> dict[str, Any]:
    """The table of a TOML text; a UTF-8 byte order mark and CRLF are accepted."""
    try:
        table = tomli.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if LONG.search(data):
        _refuse_long(table)
    return table


def _refuse_long(value: Any) -> None:
    """Python reads a hexadecimal integer of any length, and then cannot write it. Raises ValueError."""
    if isinstance(value, int):
        str(value)
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_long(item)
