"""All processes of the machine, read once: what several runs' numbers are added up from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from volt.model.values import Value
from volt.runs.processes import GONE

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


class Stat(Value):
    """proc_pid_stat(5): times in milliseconds, those of children that were waited for apart; memory in bytes."""

    state: str
    parent: int
    cpu: int
    children_cpu: int
    threads: int
    memory: int


def read_stat(pid: int) -> Stat | None:
    """None for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except GONE:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    user, system, children_user, children_system = (int(fields[at]) * 1000 // TICKS for at in (11, 12, 13, 14))
    return Stat(
        state=fields[0],
        parent=int(fields[1]),
        cpu=user + system,
        children_cpu=children_user + children_system,
        threads=int(fields[17]),
        memory=max(0, int(fields[21])) * PAGE,
    )


def read_table() -> Mapping[int, Stat]:
    """Every process by its number."""
    numbers = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 (numbers, no paths)
    found = ((number, read_stat(number)) for number in numbers)
    return {number: stat for number, stat in found if stat}


class Families:
    """Who started whom in a table."""

    def __init__(self, table: Mapping[int, Stat]) -> None:
        self._children: dict[int, list[int]] = {}
        for number, stat in table.items():
            self._children.setdefault(stat.parent, []).append(number)

    def below(self, pid: int) -> list[int]:
        """Who is below a process, the nearest first."""
        found: list[int] = []
        waiting = [*self._children.get(pid, ())]
        while waiting:
            found.append(waiting.pop(0))
            waiting += self._children.get(found[-1], ())
        return found


def io_of(pids: Iterable[int]) -> tuple[int, int]:
    """Bytes that these have read from disks and written to them, proc_pid_io(5)."""
    read = written = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        except (*GONE, PermissionError):
            continue
        fields = {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}
        read += fields.get("read_bytes", 0)
        written += fields.get("write_bytes", 0)
    return read, written
