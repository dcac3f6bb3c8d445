"""The settings of this machine, /etc/volt/config.toml: what volt does where nobody says otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from volt.errors import VoltError
from volt.model.networks import USUAL_MTU, bridge_name, mtu, subnet, subnet6
from volt.model.sizes import Duration
from volt.model.values import Value, field

CONFIG = "/etc/volt/config.toml"
KNOWN: Mapping[str, tuple[str, ...]] = {
    "gc": ("older_than",),
    "images": ("registry",),
    "network": ("bridge", "subnet", "subnet6", "mtu"),
}
REGISTRIES = "registries"  # a section whose keys are hosts
DAYS = re.compile(r"(\d{1,6})d(.*)", re.ASCII)
DAY = 86400


class Settings(Value):
    """`gc_older_than`: seconds that a finished run and its log are kept. `bridge` is the name of the bridge that
    workloads join, `mtu` that of its links in bytes; `subnet` and `subnet6` in CIDR, "" for one that is free.
    `registry` is where images are that are named without one, "" where that is said of none; `registries` are what
    volt/host/registries.py reads, by host."""

    gc_older_than: int = 7 * DAY
    bridge: str = "volt0"
    subnet: str = ""
    subnet6: str = ""
    mtu: int = USUAL_MTU
    registry: str = ""
    registries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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
    found: dict[str, Any] = {}
    if REGISTRIES in table:
        found[REGISTRIES] = _registries(path, table.pop(REGISTRIES))
    _check(path, table)
    for section, values in table.items():
        for key, written in values.items():
            name, read, hint = _READERS[f"{section}.{key}"]
            try:
                found[name] = read(written)
            except ValueError as error:
                raise VoltError(f"{path}: {section}.{key}: {error}", hint=hint) from error
    return Settings(**found)


def _check(path: str, table: Mapping[str, Any]) -> None:
    """A key that is misspelt would be a setting that is not made."""
    for section, values in table.items():
        if section not in KNOWN or not isinstance(values, dict):
            raise VoltError(
                f"{path}: there is no section {section}", hint=f"the sections are {', '.join((*KNOWN, REGISTRIES))}"
            )
        for key in values:
            if key not in KNOWN[section]:
                hint = f"the keys of {section} are {', '.join(KNOWN[section])}"
                raise VoltError(f"{path}: there is no {section}.{key}", hint=hint)


def _registries(path: str, written: object) -> Mapping[str, Mapping[str, Any]]:
    from volt.host.registries import read_tables

    try:
        return read_tables(written)
    except ValueError as error:
        raise VoltError(f"{path}: {REGISTRIES}: {error}", hint='write [registries."HOST"] and ca = "FILE"') from error


def _host(written: object) -> str:
    from volt.host.registries import HOST

    if isinstance(written, str) and HOST.fullmatch(written):
        return written
    raise ValueError(f"{written!r} is no host")


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


# How each key is read, and what to write instead.
_READERS: Mapping[str, tuple[str, Callable[[object], Any], str]] = {
    "gc.older_than": ("gc_older_than", span, 'write "7d", or "12h"'),
    "images.registry": ("registry", _host, 'write "docker.io"'),
    "network.bridge": ("bridge", bridge_name, 'write up to 15 lower-case letters, digits and hyphens: "volt0"'),
    "network.subnet": ("subnet", subnet, 'write "10.189.0.0/16"'),
    "network.subnet6": ("subnet6", subnet6, 'write "fd12:3456:789a::/64"'),
    "network.mtu": ("mtu", mtu, "write 1500"),
}
