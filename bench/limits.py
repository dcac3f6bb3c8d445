"""What limits add to a launch: the same workload with and without [resources], both from the plan cache."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import peers
from bench.measure import Case
from bench.report import Report, case_rows, columns, head, ratio_rows
from bench.world import World
from volt.host.watch import FRESH

OURS, PEERS = ("limited",), ("plain",)
LIMITS = """
[resources]
memory_limit = "256M"
cpu_weight = 200
cpu_set = "0"
pids_max = 100
"""
TITLES = {"plain": "volt run", "limited": "volt run with four limits"}


def cases(world: World) -> list[Case]:
    """Both manifests, old enough to be remembered. The machine has to have the controllers."""
    peers.root_file_system(world.root)
    manifests = {"plain": "", "limited": LIMITS}
    for name, limits in manifests.items():
        text = peers.MANIFEST.format(payload=peers.PAYLOAD, root=world.root) + limits
        (world.folder / f"{name}.toml").write_text(text)
    time.sleep(1.5 * FRESH / 1e9)
    return list(_cases(world))


def _cases(world: World) -> Iterator[Case]:
    command = str(Path(sys.prefix, "bin/volt"))
    for name in (*OURS, *PEERS):
        argv = ("volt", "run", str(world.folder / f"{name}.toml"))
        yield Case(name, TITLES[name], command, argv, environment=world.environment)


def table(report: Report) -> str:
    """What a terminal shows."""
    return head(report) + "\n".join(columns(list(rows(report))) for rows in (case_rows, ratio_rows))
