"""volt stats: what workloads use."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from volt import api
from volt.cli.columns import columns
from volt.cli.failure import FAILED, failing
from volt.cli.options import Json
from volt.errors import VoltError
from volt.model.sizes import Duration

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names or ids; all that run without.", show_default=False),
]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Look once, and end.")]
Interval = Annotated[str, typer.Option("--interval", metavar="DURATION", help="How long from one look to the next.")]
HEAD = ("NAME", "ID", "CPU %", "MEMORY", "LIMIT", "PIDS", "LIMIT", "READ", "WRITTEN")
CLEAR = "\x1b[H\x1b[J"
SHORTEST = 100  # milliseconds
ONCE = 0.5  # seconds between the two looks that CPU % takes
LEGEND = "~ added up over the processes: here no cgroup counts it"


@failing(FAILED)
def stats(names: Names = None, no_stream: NoStream = False, interval: Interval = "1s", json_: Json = False) -> int:
    """Show what the workloads NAME use, again and again: processor, memory, processes and threads, disks.

    The kernel counts it for the cgroup of each, as far as that has the controllers; the rest is added up over the
    processes and marked with ~. CPU % is of one core. READ and WRITTEN are bytes of disks.
    """
    samples = api.stats(names or (), interval=ONCE if no_stream else _interval(interval))
    if no_stream:
        for last in islice(samples, 1, 2):
            _show(last, json_, again=False)
        return 0
    for usages in samples:
        _show(usages, json_, again=True)
    return 0


def _interval(written: str) -> float:
    """Seconds. Raises VoltError."""
    try:
        milliseconds = Duration.parse(written).milliseconds
    except ValueError as error:
        raise VoltError(f"--interval: {error}", hint="write 500ms or 2s") from error
    return max(SHORTEST, milliseconds) / 1000


def _show(usages: Sequence[api.Usage], json_: bool, *, again: bool) -> None:
    if json_:
        document = {"version": 1, "workloads": [asdict(one) for one in usages]}
        print(json.dumps(document, indent=None if again else 2), flush=True)
        return
    summed = any("processes" in one.sources.values() for one in usages)
    clear = CLEAR if again and sys.stdout.isatty() else ""
    table = columns([HEAD, *map(_row, usages)], left=(0, 1))
    print(f"{clear}{table}{LEGEND if summed else ''}", flush=True)


def _row(one: api.Usage) -> tuple[str, ...]:
    def told(key: str, shown: str | None) -> str:
        return "-" if shown is None else f"{'~' if one.sources.get(key) == 'processes' else ''}{shown}"

    percent = None if one.cpu_percent is None else f"{one.cpu_percent:.1f}"
    return (
        one.name,
        one.id,
        told("cpu", percent),
        told("memory", _size(one.memory)),
        told("", _size(one.memory_limit)),
        told("pids", None if one.pids is None else str(one.pids)),
        told("", None if one.pids_limit is None else str(one.pids_limit)),
        told("read", _size(one.read)),
        told("written", _size(one.written)),
    )


def _size(number: int | None) -> str | None:
    return None if number is None else size(number)


def size(number: float) -> str:
    """Bytes in three digits: 1.5M."""
    unit = ""
    for unit in ("", "K", "M", "G", "T", "P"):
        if number < 1000 or unit == "P":
            break
        number /= 1024
    return f"{number:.0f}{unit}" if number >= 10 or not unit else f"{number:.1f}{unit}"
