"""volt top: the processes of a workload."""

from __future__ import annotations

import json
from dataclasses import asdict

from volt import api
from volt.cli.columns import columns
from volt.cli.failure import FAILED, failing
from volt.cli.options import Json, Name
from volt.cli.stats import size

HEAD = ("PID", "INSIDE", "USER", "THREADS", "CPU", "MEMORY", "STATE", "COMMAND")
STATES = {"R": "runs", "S": "sleeps", "D": "waits", "T": "stopped", "t": "traced", "Z": "ended", "I": "idle"}


@failing(FAILED)
def top(name: Name, json_: Json = False) -> int:
    """List the processes of the workload NAME: its number on the host and inside, its user inside, time and memory.

    MEMORY is what is resident, pages that it shares with others too. COMMAND is what the process says itself.
    """
    found = api.top(name)
    if json_:
        print(json.dumps({"version": 1, **asdict(found)}, indent=2))
    else:
        print(columns([HEAD, *map(_row, found.processes)], left=(6, 7)), end="")
    return 0


def _row(one: api.RunProcess) -> tuple[str, ...]:
    user = "-" if one.user is None else str(one.user)
    numbers = (str(one.pid), str(one.inside), user, str(one.threads))
    return (*numbers, _time(one.cpu), size(one.memory), STATES.get(one.state, one.state), " ".join(one.command))


def _time(milliseconds: int) -> str:
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest // 1000:02}" if hours else f"{minutes}:{rest / 1000:05.2f}"
