"""What workloads that run use, and which processes they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from volt.api.looking import living, looked
from volt.errors import HostUnfit, StateError
from volt.host.folders import folders
from volt.model.usage import RunProcesses, Usage
from volt.model.values import replace
from volt.runs.table import Families, read_table
from volt.runs.top import processes_of
from volt.runs.usage import usage_of

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record


def top(name: str) -> RunProcesses:
    """The processes of a workload that runs. Raises StateError where there is none, HostUnfit without root."""
    return processes_of(_living(folders(), name))


def stats(names: Sequence[str] = (), *, interval: float = 1.0) -> Iterator[tuple[Usage, ...]]:
    """What these workloads use, or all that run, again and again: at once, and then every `interval` seconds.

    With names it ends when the last of them has ended. Raises StateError where one does not run at the beginning,
    HostUnfit without root.
    """
    where = folders()
    chosen = [_living(where, name).id for name in names]
    return _samples(where, chosen, interval)


def _samples(where: Folders, chosen: Sequence[str], interval: float) -> Iterator[tuple[Usage, ...]]:
    before: dict[str, tuple[float, int]] = {}
    while True:
        found = [record for record in living(where) if not chosen or record.id in chosen]
        if chosen and not found:
            return
        table, now = read_table(), time.monotonic()
        families = Families(table)
        usages = tuple(_timed(usage_of(record, table, families), now, before) for record in found)
        yield usages
        before = {one.id: (now, one.cpu) for one in usages if one.cpu is not None}
        time.sleep(interval)


def _timed(usage: Usage, now: float, before: dict[str, tuple[float, int]]) -> Usage:
    """With the share of a core since the last time."""
    if usage.cpu is None or usage.id not in before:
        return usage
    then, cpu = before[usage.id]
    # Less than before: a process that has ended, and whose parent does not wait for it, takes its time along.
    return replace(usage, cpu_percent=max(0.0, (usage.cpu - cpu) / 10 / max(now - then, 1e-3)))


def _living(where: Folders, name: str) -> Record:
    if os.geteuid() != 0:
        raise HostUnfit("looking at a workload needs root", hint="run it with sudo")
    found = looked(where, name)
    if not found.lives:
        raise StateError(f"{found.record.name} has ended", hint="volt ps lists what runs")
    return found.record
