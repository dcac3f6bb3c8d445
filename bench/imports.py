"""What a first `volt run` imports up to the hand-over, by -X importtime: there the static program takes over."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.measure import BenchFailed
from bench.report import columns

SHOWN = 25
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")


@dataclass(frozen=True, slots=True)
class Import:
    """One module, in milliseconds: with all that it imports, and by itself."""

    module: str
    cumulative: float
    own: float


def measure(manifest: Path, environment: dict[str, str], runs: int) -> list[Import]:
    """The least of several runs for each module, the costliest first. Raises BenchFailed."""
    roots = (manifest.with_name(f"first-{number}") for number in range(runs))  # each without a plan or a filter
    return least([list(parse(trace(manifest, {**environment, "VOLT_ROOT": str(root)}))) for root in roots])


def trace(manifest: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-X", "importtime", "-m", "volt.cli", "run", str(manifest)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if not _LINE.fullmatch(line))
        raise BenchFailed(f"volt run ended with {done.returncode}\n{said}")
    return done.stderr


def parse(text: str) -> Iterator[Import]:
    for match in map(_LINE.fullmatch, text.splitlines()):
        if match:
            yield Import(match[4], int(match[2]) / 1000, int(match[1]) / 1000)


def least(runs: Sequence[Sequence[Import]]) -> list[Import]:
    found: dict[str, Import] = {}
    for one in (module for run in runs for module in run):
        seen = found.get(one.module, one)
        found[one.module] = Import(one.module, min(one.cumulative, seen.cumulative), min(one.own, seen.own))
    return sorted(found.values(), key=lambda one: -one.cumulative)


def table(modules: Sequence[Import]) -> str:
    total = sum(one.own for one in modules)
    rows = [["module", "cumulative ms", "own ms"]]
    rows += [[one.module, f"{one.cumulative:.1f}", f"{one.own:.1f}"] for one in modules[:SHOWN]]
    return f"{len(modules)} modules, {total:.1f} ms; the first {SHOWN}, overlapping\n\n{columns(rows)}"


def document(modules: Sequence[Import]) -> dict[str, Any]:
    """JSON, version 1: every module."""
    return {"version": 1, "modules": [asdict(one) for one in modules]}
