"""A workload written as a manifest again, one that stands by itself: what `volt show` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from volt.manifest.keys import below
from volt.manifest.resolve import Resolved
from volt.model.findings import Finding, Place
from volt.model.modes import Mode
from volt.model.steps import NO_LIMIT
from volt.model.values import Value, kinds
from volt.model.workload import Port, Tmpfs, User, Volume, Workload

SECTIONS = ("kernel", "security", "resources", "network", "storage", "log", "service", "health")
# What an absent field means, where that does not depend on other fields.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "security": {"landlock_profile": "default", "seccomp_profile": "default"},
    "storage": {"shm_size": "64M"},
}
Table = dict[str, Any]


class Shown(Value):
    """`table` is the manifest: section → key → value. `origins` has the place of each value that some file
    gave, by dotted key; the others are defaults. `notes` are findings that forbid nothing."""

    table: Mapping[str, Table]
    origins: Mapping[str, Place]
    notes: tuple[Finding, ...]

    def text(self, *, origins: bool = False) -> str:
        """The manifest as TOML; with `origins` each value's file and line behind it, as a comment."""
        return "\n".join("\n".join(block) + "\n" for block in self._blocks(origins))

    def document(self) -> dict[str, object]:
        """The JSON document, version 1; `origins` has no key for a default."""
        keys = [key for section, table in self.table.items() for key in _keys(section, table)]
        places = {key: place for key in keys if (place := self._place(key))}
        return {
            "version": 1,
            "workload": self.table,
            "origins": {
                key: {"file": place.file, "line": place.line or None, "column": place.column or None}
                for key, place in places.items()
            },
        }

    def _place(self, key: str) -> Place | None:
        return self.origins.get(key)

    def _blocks(self, origins: bool) -> Iterator[list[str]]:
        for section, table in self.table.items():
            plain = {key: value for key, value in table.items() if not _nested(value)}
            if plain:
                yield [f"[{section}]", *self._lines(section, plain, origins)]
            for key, value in table.items():
                if isinstance(value, dict):
                    yield [f"[{section}.{key}]", *self._lines(f"{section}.{key}", value, origins)]
                elif _nested(value):
                    for number, item in enumerate(value):
                        name = f"{section}.{key}"
                        yield [f"[[{name}]]", *self._lines(f"{name}[{number}]", item, origins)]

    def _lines(self, prefix: str, table: Table, origins: bool) -> Iterator[str]:
        for key, value in table.items():
            line = f"{_key(key)} = {_inline(value)}"
            if origins:
                place = self._place(below(prefix, key))
                line += f"  # {escaped(str(place))}" if place else "  # default"
            yield line


def show(resolved: Resolved) -> Shown:
    """A resolved manifest without errors, as a manifest."""
    if resolved.workload is None:
        raise ValueError("a manifest with errors is no workload")
    return Shown(table(resolved.workload), resolved.origins, resolved.findings)


def table(workload: Workload) -> dict[str, Table]:
    """Section → key → value: whoever reads it as a manifest gets the same workload."""
    found = {"workload": _workload(workload)}
    for section in SECTIONS:
        found[section] = {**DEFAULTS.get(section, {})} | _section(getattr(workload, section))
    found["security"] = {"no_new_privs": workload.mode != Mode.HYBRID_NATIVE} | found["security"]
    found["limits"] = {name: _limit(pair) for name, pair in workload.limits.items()}
    return {section: values for section, values in found.items() if values}


def _workload(workload: Workload) -> Table:
    own = {name: getattr(workload, name) for name in kinds(Workload) if name not in (*SECTIONS, "limits", "given")}
    own |= {"env": dict(workload.env), "labels": dict(workload.labels), "hostname": workload.host_name}
    return {key: _value(value) for key, value in own.items() if value is not None and value not in ((), {})}


def _section(section: Any) -> Table:
    found: Table = {}
    for name in kinds(type(section)):
        value = getattr(section, name)
        absent = value is None or (value == () and name != "capabilities")
        if name == "cpu_set" and value:
            found["cpu_set"] = ",".join(map(str, value))
        elif name == "stop_signal" and value:
            found["stop_signal"] = f"SIG{value}"
        elif not absent:
            found[name] = _value(value)
    return found


def _value(value: Any) -> Any:
    match value:
        case bool() | int():
            return value
        case tuple():
            return [_value(item) for item in value]
        case dict():
            return {key: _value(item) for key, item in value.items()}
        case User(user, group):
            return str(user) if group is None else f"{user}:{group}"
        case Port():
            return _port(value)
        case Tmpfs():
            return _tmpfs(value)
        case Volume():
            return _volume(value)
    return str(value)


def _port(port: Port) -> str:
    address = f"[{port.address}]" if port.address and ":" in port.address else port.address or ""
    front = f"{address}:" if address else ""
    host = f"{port.host}:" if port.host is not None else ":" if address else ""
    return f"{front}{host}{port.container}/{port.protocol}"


def _tmpfs(tmpfs: Tmpfs) -> str:
    options = [f"size={tmpfs.size}"] if tmpfs.size else []
    options += [f"mode={tmpfs.mode:04o}"] if tmpfs.mode is not None else []
    return tmpfs.path + (":" + ",".join(options) if options else "")


def _volume(volume: Volume) -> Table:
    named = {"as": volume.as_user and _value(volume.as_user), "owner": "root" if volume.owner_root else None}
    found = {
        "host": volume.host,
        "container": volume.container,
        "readonly": volume.readonly,
        "ids": volume.ids,
    }
    return found | {key: value for key, value in named.items() if value is not None}


def _limit(pair: tuple[int, int]) -> str:
    return ":".join("infinity" if value == NO_LIMIT else str(value) for value in pair)


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _keys(prefix: str, value: Any) -> Iterator[str]:
    """The dotted key of every value that stands on a line of its own."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _keys(below(prefix, key), item)
    elif _nested(value):
        for number, item in enumerate(value):
            yield from _keys(below(prefix, number), item)
    else:
        yield prefix


def _key(name: str) -> str:
    return escaped(tomli_w.dumps({name: 0}).removesuffix(" = 0\n"))


def _inline(value: Any) -> str:
    """A value on one line; a dollar sign doubled, for it is read with variables again."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    plain = value.replace("$", "$$") if isinstance(value, str) else value
    return escaped(tomli_w.dumps({"v": plain}).removeprefix("v = ").removesuffix("\n"))


def escaped(text: str) -> str:
    """TOML that no terminal obeys: what is not printable stands as its code point."""
    return "".join(c if c.isprintable() else _code_point(ord(c)) for c in text)


def _code_point(number: int) -> str:
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
