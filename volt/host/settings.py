"""The settings of this machine, /etc/volt/config.toml: what volt does where nobody says otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volt.errors import VoltError
from volt.model.sizes import Duration
from volt.model.values import Value

CONFIG = "/etc/volt/config.toml"
KNOWN: Mapping[str, tuple[str, ...]] = {"gc": ("older_than",)}
DAYS = re.compile(r"(\d{1,6})d(.*)", re.ASCII)
DAY = 86400


class Settings(Value):
    """`gc_older_than`: seconds that a finished run and its log are kept."""

    gc_older_than: int = 7 * DAY


def read_settings(path: str = CONFIG) -> Settings:
    """The settings, each that is not given as it is by default. Raises VoltError for what is not understood."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise VoltError(f"{path} cannot be read: {error}") from error
    import tomli

    try:
        table = tomli.loads(text)
    except ValueError as error:
        raise VoltError(f"{path}: {error}") from error
    _check(path, table)
    written = table.get("gc", {}).get("older_than")
    try:
        return Settings() if written is None else Settings(gc_older_than=span(written))
    except ValueError as error:
        raise VoltError(f"{path}: gc.older_than: {error}", hint='write "7d", or "12h"') from error


def _check(path: str, table: Mapping[str, Any]) -> None:
    """A key that is misspelt would be a setting that is not made."""
    for section, values in table.items():
        if section not in KNOWN or not isinstance(values, dict):
            raise VoltError(f"{path}: there is no section {section}", hint=f"the sections are {', '.join(KNOWN)}")
        for key in values:
            if key not in KNOWN[section]:
                hint = f"the keys of {section} are {', '.join(KNOWN[section])}"
                raise VoltError(f"{path}: there is no {section}.{key}", hint=hint)


def span(written: object) -> int:
    """Whole seconds of `7d`, `1d12h`, `90m` or 0. Raises ValueError."""
    if written in (0, "0"):
        return 0
    if not isinstance(written, str):
        raise ValueError(f"{written!r} is not a duration")
    days = DAYS.fullmatch(written.strip())
    rest = days[2] if days else written
    seconds = Duration.parse(rest).milliseconds // 1000 if rest or not days else 0
    return (int(days[1]) * DAY if days else 0) + seconds
