"""A run's record: what the static program wrote about it before anything else was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from volt.errors import StateError
from volt.model.values import Value, defaults, field, kinds

VERSION = 1


class Record(Value):
    """One run. `pid` and `clock` (start time in clock ticks since boot) are the supervisor's, in the boot
    `boot_id`; `cgroup` is a folder of cgroup v2; `uids` the first of 65,536; `started` in seconds since
    the epoch. `scope` is the systemd unit that the cgroup lies in, "" without; `unenforced` names what the host could
    not hold and the caller waived.

    A `detached` run writes into the file `log`; of a `kept` one the folder stays after its end, with its outcome.
    `protocol` is the version that its init speaks, volt/model/protocol.py, 0 where the record does not say.
    `address` and `address6` are its own on a bridge, "" elsewhere; `ports` are published, 0.0.0.0:8080->80/tcp each.
    `terminal` and `interactive` say what its standard streams are. `stop_signal` is a number, `stop_timeout` in
    milliseconds. `ready` is service.ready; `restart` the policy by which its supervisor starts it anew, "" for none;
    `unit` the unit of systemd whose workload it is, "" for none's;
    `source` what it takes to launch the same again, volt/api/planning.py."""

    id: str
    name: str
    mode: str
    pid: int
    clock: int
    boot_id: str
    cgroup: str
    uids: int
    started: int
    scope: str = ""  # since 0.2, as what follows
    unenforced: tuple[str, ...] = ()
    detached: bool = False  # since 0.3, as what follows
    kept: bool = False
    log: str = ""
    terminal: bool = False
    interactive: bool = False
    command: tuple[str, ...] = ()
    rootfs: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = 15
    stop_timeout: int = 10_000
    ready: str = ""
    protocol: int = 0  # since 0.4, as what follows
    address: str = ""
    address6: str = ""
    ports: tuple[str, ...] = ()
    unit: str = ""
    restart: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)


def parse_record(data: bytes, run: str) -> Record:
    """The record of the run with the id `run`; what it holds besides is left out.

    Raises StateError when it is torn, another run's, or of a newer version.
    """
    try:
        values = json.loads(data)
    except ValueError as error:
        raise StateError(f"run {run}: its record is torn: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("version"), int):
        raise StateError(f"run {run}: its record has no version")
    if values["version"] != VERSION:
        raise StateError(f"run {run}: its record has version {values['version']}, this volt knows {VERSION}")
    return _record(values, run)


def _record(values: dict[str, Any], run: str) -> Record:
    types = {"str": str, "int": int, "bool": bool, "tuple[str, ...]": tuple}
    known: dict[str, Any] = {}
    for name, kind in kinds(Record).items():
        if name not in values and name in defaults(Record):
            continue  # an older volt's
        value = values.get(name)
        value = tuple(value) if isinstance(value, list) else value
        if type(value) is not types.get(kind, dict):
            raise StateError(f"run {run}: its record has no {name}")
        known[name] = value
    if known["id"] != run:
        raise StateError(f"run {run}: its record is another run's, {known['id']}")
    return Record(**known)
