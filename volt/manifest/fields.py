"""The table of fields: section by section, the key, how it is read, and the attribute it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volt.manifest import forms
from volt.manifest.chain import CAS, IN_STORE
from volt.manifest.keys import below
from volt.manifest.nodes import Node
from volt.manifest.reader import (
    Parser,
    Reader,
    WrongError,
    many,
    mapping,
    nearest,
    number,
    one_of,
    parsed,
    string,
    text,
    truth,
)
from volt.model.findings import quote
from volt.model.limits import MOST_TASKS
from volt.model.modes import LandlockProfile, Mode, NetworkMode, WritableLayerMode
from volt.model.sizes import Duration, Size
from volt.model.workload import Port, Volume

Table = Mapping[str, tuple[str, Parser]]

SIZE = parsed("bad-size", Size.parse, "write 512M, 2G, 1.5GiB or 25%")
DURATION = parsed("bad-duration", Duration.parse, "write 500ms, 10s, 2m or 1h30m")
USER = parsed("bad-user", forms.user, "write a name, a uid, or uid:gid")
WEIGHT = number(1, 10000)
COUNT = number(1, 2**31 - 1)
PIDS = number(1, MOST_TASKS)
PORTS = many(parsed("bad-port", forms.ports, "write 80, 8080:80, 127.0.0.1:8080:80 or [::1]:53:53/udp"))
READY_HINT = "write notify, tcp:8080, http:8080/healthz, file:/run/app.ready or log:TEXT"
MODULE_HINT = "write its name alone: no path, no ending, no options"
INSIDE = parsed("bad-mount-point", forms.inside_path, "write an absolute path such as /data")


def path(reader: Reader, key: str, node: Node) -> str | None:
    """A host path, made absolute."""
    value = text(reader, key, node)
    return None if value is None else reader.path(key, node, value)


def rootfs(reader: Reader, key: str, node: Node) -> str | None:
    value = text(reader, key, node)
    if value is None or value == "host":
        return value
    if value.startswith("cas://"):
        if value == "cas://":
            raise reader.wrong("bad-rootfs", key, node, "'cas://' names no object", "write cas://sha256:DIGEST")
        return value
    return reader.path(key, node, value)


def policy(reader: Reader, key: str, node: Node) -> str | None:
    """A host path, made absolute, or the digest of what the store has."""
    value = text(reader, key, node)
    if value and value.startswith(CAS):
        if not IN_STORE.fullmatch(value):
            hint = f"write {CAS}sha256: and 64 hex digits: volt store add prints it"
            raise reader.wrong("bad-digest", key, node, f"{quote(value)} is no digest of the store", hint)
        return value
    return None if value is None else reader.path(key, node, value)


def profile(code: str, words: tuple[str, ...]) -> Parser:
    """A shipped profile's name, or a path: it contains a slash; or one in the store."""
    named = one_of(code, words, str)

    def parse(reader: Reader, key: str, node: Node) -> str | None:
        value = text(reader, key, node)
        if value and "/" in value:
            return policy(reader, key, node)
        found: str | None = named(reader, key, node)
        return found

    return parse


def ports(reader: Reader, key: str, node: Node) -> tuple[Port, ...]:
    return tuple(port for group in PORTS(reader, key, node) for port in group)


def probe(reader: Reader, key: str, node: Node) -> tuple[str, ...] | None:
    """An optional command: [] means unset."""
    return many(string)(reader, key, node) or None


def limits(reader: Reader, key: str, node: Node) -> dict[str, tuple[int, int]]:
    def one(reader: Reader, key: str, node: Node) -> tuple[int, int]:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            written = str(node.value) if abs(node.value) < 2**64 else quote(node.value)
        else:
            written = reader.typed(key, node, str, '"1024:4096"')
        try:
            return forms.limit(written)
        except ValueError as error:
            hint = 'write "1024:4096", "1024" or "infinity"'
            raise reader.wrong("bad-limit", key, node, str(error), hint) from None

    hint = "write one of nofile, core, nproc, memlock, stack, … as in getrlimit(2)"
    found: dict[str, tuple[int, int]] = mapping("bad-limit", forms.limit_name, one, hint)(reader, key, node)
    return found


def volume(reader: Reader, key: str, node: Node) -> Volume:
    reader.typed(key, node, dict, '{ host = "…", container = "…" }')
    values, bad = read_table(reader, key, node, VOLUME)
    for required in ("host", "container"):
        if required not in bad and not values.get(required):
            bad.add(required)
            hint = "every volume has a host path and a container path"
            reader.wrong("missing-key", f"{key}.{required}", node, f"'{required}' is missing", hint)
    if bad & {"host", "container", "readonly", "as_user", "ids", "owner_root"}:
        raise WrongError(key)
    return Volume(**values)


def owner_root(reader: Reader, key: str, node: Node) -> bool:
    word: str | None = one_of("bad-owner", ("root",), str)(reader, key, node)
    return word == "root"


VOLUME: Table = {
    "host": ("host", path),
    "container": ("container", INSIDE),
    "readonly": ("readonly", truth),
    "as": ("as_user", USER),
    "ids": ("ids", one_of("bad-ids", ("owner", "same"), str)),
    "owner": ("owner_root", owner_root),
}

SECTIONS: Mapping[str, Table] = {
    "workload": {
        "name": ("name", parsed("bad-name", forms.label, "write lower-case letters, digits and hyphens")),
        "mode": ("mode", one_of("bad-mode", Mode, Mode)),
        "image": ("image", parsed("bad-image", forms.image, "write [registry/]name[:version][@sha256:…]")),
        "description": ("description", text),
        "command": ("command", many(string)),
        "env": ("env", mapping("bad-variable-name", forms.variable, string, "write letters, digits and _")),
        "env_file": ("env_file", path),
        "user": ("user", USER),
        "workdir": ("workdir", parsed("bad-workdir", forms.folder_inside, "write an absolute path")),
        "hostname": (
            "hostname",
            parsed("bad-hostname", forms.hostname, "write letters, digits, hyphens, dots"),
        ),
        "platform": ("platform", parsed("bad-platform", forms.platform, "write linux/arm64")),
        "boot": ("boot", truth),
        "labels": ("labels", mapping("bad-label", forms.label_key, string, "write a printable name")),
    },
    "kernel": {
        "version": ("version", parsed("bad-kernel", forms.kernel_version, "write 6.12 or >=6.1")),
        "path": ("path", path),
        "modules": ("modules", many(parsed("bad-module", forms.module, MODULE_HINT))),
        "cmdline": ("cmdline", text),
    },
    "security": {
        "landlock_profile": ("landlock_profile", profile("bad-landlock-profile", tuple(LandlockProfile))),
        "landlock_policy": ("landlock_policy", policy),
        "seccomp_profile": (
            "seccomp_profile",
            profile("bad-seccomp-profile", ("strict", "default", "unconfined")),
        ),
        "capabilities": (
            "capabilities",
            many(parsed("bad-capability", forms.capability, "write a name of capabilities(7), as NET_ADMIN")),
        ),
        "read_only_rootfs": ("read_only_rootfs", truth),
        "no_new_privs": ("no_new_privs", truth),
    },
    "resources": {
        "memory_limit": ("memory_limit", SIZE),
        "memory_soft": ("memory_soft", SIZE),
        "cpu_weight": ("cpu_weight", WEIGHT),
        "cpu_set": ("cpu_set", parsed("bad-cpu-set", forms.cores, "write 0-3,5")),
        "io_weight": ("io_weight", WEIGHT),
        "pids_max": ("pids_max", PIDS),
    },
    "network": {
        "mode": ("mode", one_of("bad-network-mode", NetworkMode, NetworkMode)),
        "name": ("name", parsed("bad-name", forms.label, "write lower-case letters, digits and hyphens")),
        "address": ("address", parsed("bad-address", forms.address, "write 10.88.0.7 or fd00::7")),
        "dns": ("dns", many(parsed("bad-address", forms.resolver, "write the address of a resolver"))),
        "ports": ("ports", ports),
    },
    "storage": {
        "rootfs": ("rootfs", rootfs),
        "volumes": ("volumes", many(volume)),
        "writable_layer": (
            "writable_layer",
            one_of("bad-writable-layer", WritableLayerMode, WritableLayerMode),
        ),
        "tmpfs": ("tmpfs", many(parsed("bad-tmpfs", forms.tmpfs, "write /cache:size=64M,mode=0700"))),
        "shm_size": ("shm_size", SIZE),
        "layer_size": ("layer_size", SIZE),
    },
    "log": {"rate": ("rate", SIZE), "max_size": ("max_size", SIZE), "max_files": ("max_files", COUNT)},
    "service": {
        "restart": ("restart", one_of("bad-restart", ("no", "on-failure", "always"), str)),
        "restart_sec": ("restart_sec", DURATION),
        "ready": ("ready", parsed("bad-ready", forms.ready, READY_HINT)),
        "ready_timeout": ("ready_timeout", DURATION),
        "watchdog": ("watchdog", DURATION),
        "stop_signal": ("stop_signal", parsed("bad-signal", forms.signal, "write SIGTERM")),
        "stop_timeout": ("stop_timeout", DURATION),
        "after": ("after", many(parsed("bad-name", forms.label, "write a workload's name"))),
        "requires": ("requires", many(parsed("bad-name", forms.label, "write a workload's name"))),
    },
    "health": {
        "command": ("command", probe),
        "http": ("http", text),
        "tcp": ("tcp", text),
        "interval": ("interval", DURATION),
        "timeout": ("timeout", DURATION),
        "retries": ("retries", COUNT),
        "on_failure": ("on_failure", one_of("bad-on-failure", ("none", "restart", "stop"), str)),
    },
}
TOP = (*SECTIONS, "limits", "extends")


def read_table(reader: Reader, key: str, node: Node, table: Table) -> tuple[dict[str, Any], set[str]]:
    """(attribute → value of each good key that is set, the attributes of bad ones). Reports all that is wrong."""
    values: dict[str, Any] = {}
    bad: set[str] = set()
    try:
        items = reader.typed(key, node, dict, f"a table: [{key}]")
    except WrongError:
        return {}, set()
    for name, item in items.items():
        if name not in table:
            unknown(reader, below(key, name), name, item, table)
            continue
        attribute, parse = table[name]
        try:
            value = parse(reader, f"{key}.{name}", item)
            if value is not None:
                values[attribute] = value
        except WrongError:
            bad.add(attribute)
    return values, bad


def unknown(reader: Reader, key: str, name: str, node: Node, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    near = nearest(name, known)
    hint = f"did you mean '{near}'?" if near else "known here: " + ", ".join(known)
    reader.wrong("unknown-key", key, node, f"there is no key {quote(name)} here", hint)
