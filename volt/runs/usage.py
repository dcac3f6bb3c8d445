"""What a run uses: what its cgroup counts, and in the place of what it does not, a sum over its processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volt.model.limits import OWN_TASKS
from volt.model.usage import Source, Usage
from volt.runs.cgroup import check_path
from volt.runs.limits import read_limits
from volt.runs.table import io_of

if TYPE_CHECKING:
    from volt.runs.record import Record
    from volt.runs.table import Families, Stat

OWN = 2  # of the processes below a supervisor: systemd-nspawn and the init, one below the other


def usage_of(record: Record, table: Mapping[int, Stat], families: Families) -> Usage:
    """What it uses now; a run that ends meanwhile uses less. Raises StateError for a record that is not believed."""
    check_path(record.cgroup, record.id)
    counted = _counted(Path(record.cgroup))
    summed = {} if {"cpu", "memory", "pids", "read", "written"} <= counted.keys() else _summed(record, table, families)
    sources: dict[str, Source] = {**dict.fromkeys(summed, "processes"), **dict.fromkeys(counted, "cgroup")}
    return Usage(record.id, record.name, sources=sources, **{**summed, **counted}, **_limits(record))


def _counted(cgroup: Path) -> dict[str, Any]:
    """What the files of the cgroup say, cgroup-v2.rst; each is there only with its controller, cpu.stat always."""
    found = {}
    if (time := _fields(cgroup / "cpu.stat").get("usage_usec")) is not None:
        found["cpu"] = time // 1000
    if (memory := _number(cgroup / "memory.current")) is not None:
        found["memory"] = memory
    if (pids := _number(cgroup / "pids.current")) is not None:
        found["pids"] = max(0, pids - OWN_TASKS)
    if (io := _text(cgroup / "io.stat")) is not None:
        words = [word.partition("=") for word in io.split()]
        for key, name in (("read", "rbytes"), ("written", "wbytes")):
            found[key] = sum(int(value) for field, _, value in words if field == name)
    return found


def _summed(record: Record, table: Mapping[int, Stat], families: Families) -> dict[str, Any]:
    """The same over what is below systemd-nspawn: the init, whose children's time is that of all who have ended."""
    pids = families.below(record.pid)[OWN - 1 :]
    stats = [table[pid] for pid in pids]
    read, written = io_of(pids)
    return {
        "cpu": sum(stat.cpu + stat.children_cpu for stat in stats),
        "memory": sum(stat.memory for stat in stats[1:]),
        "pids": sum(stat.threads for stat in stats[1:]),
        "read": read,
        "written": written,
    }


def _limits(record: Record) -> dict[str, int | None]:
    held = read_limits(record)
    names = {"memory_limit": "memory_limit", "pids_limit": "pids_max"}
    return {name: int(held[key]) if held.get(key, "").isdecimal() else None for name, key in names.items()}


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:  # no such controller, or the run has ended
        return None


def _number(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.isdecimal() else None


def _fields(file: Path) -> dict[str, int]:
    return {name: int(value) for name, _, value in (line.partition(" ") for line in (_text(file) or "").splitlines())}
