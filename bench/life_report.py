"""What is printed and written of the life of a workload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import Any

from bench.life import FLOOD, MEMORY_MOST, PAIRS, STOP_MOST, Life
from bench.page import section
from bench.report import Machine, columns, facts, markdown


def titles(life: Life) -> dict[str, tuple[str, str]]:
    """Ours and theirs of each pair; lists are of different lengths, and say so."""
    found = {name: (pair.ours, pair.theirs) for name, pair in PAIRS.items()}
    return found | {"ps": (f"volt ps of {life.workloads}", f"podman ps of {life.peers}")}


def ratio(life: Life, name: str) -> float:
    """The median of the rounds' own ratios."""
    return median(ours.wall / theirs.wall for ours, theirs in life.samples[name])


def pair_rows(life: Life) -> Iterator[list[str]]:
    yield ["ms", "minimum", "median", "against", "minimum", "median", "ratio"]
    for name, (ours, theirs) in titles(life).items():
        walls = [[pair[at].wall for pair in life.samples[name]] for at in range(2)]
        first, second = ([f"{min(found):.1f}", f"{median(found):.1f}"] for found in walls)
        yield [ours, *first, theirs, *second, f"{ratio(life, name):.3f}"]
    ours_, theirs_ = (f"{value:.2f}" for value in life.stops)
    stop = f"{life.stops[0] / life.stops[1]:.3f}"
    yield ["volt stop --all, each", ours_, "", "podman stop --all --time 0, each", theirs_, "", stop]


def verdicts(life: Life) -> list[tuple[str, float, float]]:
    """(title, at most, is)."""
    named = titles(life)
    found = [(" / ".join(named[name]), pair.most, ratio(life, name)) for name, pair in PAIRS.items()]
    stop = ("volt stop --all / podman stop --all, for each workload", STOP_MOST, life.stops[0] / life.stops[1])
    return [*found, stop, (f"KiB for each of {life.workloads} workloads", MEMORY_MOST, life.memory)]


def target_rows(life: Life) -> Iterator[list[str]]:
    yield ["target, by the median of the rounds' own ratios", "at most", "is", ""]
    for title, most, found in verdicts(life):
        yield [title, f"{most:g}", f"{found:.3f}" if most < 10 else f"{found:.0f}", reached(most, found)]


def reached(most: float, found: float) -> str:
    return "reached" if found <= most else "missed"


def table(life: Life) -> str:
    """What a terminal shows."""
    return "\n".join(columns(list(rows(life))) for rows in (pair_rows, target_rows))


def document(life: Life) -> dict[str, Any]:
    """JSON, version 1: everything, the single samples too; milliseconds, and memory in KiB."""
    samples = {name: [[asdict(one) for one in pair] for pair in pairs] for name, pairs in life.samples.items()}
    targets = [
        {"title": title, "most": most, "is": round(found, 4), "reached": found <= most}
        for title, most, found in verdicts(life)
    ]
    return {"version": 1, **asdict(life), "samples": samples, "targets": targets}


ABOUT = """\
What is done with a workload after its start, against podman: started detached, entered, its log read, listed, stopped;
and what it takes meanwhile."""
FOUND = """\
{pairs}
Each ratio is the median of the rounds' own.

### Targets

{verdict}

{targets}
### How it is measured

- Each round does everything once, in a new order; four rounds to warm up are not counted. What fails stops the
  measurement. Both sides run busybox's sleep of one root file system, without a network.
- podman runs with cgroups disabled, its fastest way, in a mount namespace without the machine's cgroups, with the
  k8s-file log driver, and stops with `--time 0`: SIGKILL at once, where volt sends SIGTERM and waits.
- `run --detach` is timed until the command ends, when the payload's exec has succeeded, and the workload is stopped
  outside of the time. `exec` is of `/bin/true`. The logs are of
  100 MiB in lines, written by a payload, read into `/dev/null`.
- A payload beyond `log.rate` writes {flood} MiB in blocks of 64 KiB to its standard output, of which 1 MiB a second is
  kept; its
  peer writes the same into a file of a volume. The time is that between two files that it makes.
- The memory is PSS of `/proc/PID/smaps_rollup`, all processes of all workloads together: supervisor, systemd-nspawn,
  init and payload.
"""


def part(command: str, machine: Machine, life: Life) -> str:
    """Its part of docs/reference/benchmarks.md."""
    missed = sum(found > most for _, most, found in verdicts(life))
    count = len(verdicts(life))
    found = FOUND.format(
        pairs=markdown(list(pair_rows(life))),
        targets=markdown(list(target_rows(life))),
        verdict=f"{missed} of {count} are missed." if missed else f"All {count} are reached.",
        flood=FLOOD >> 20,
    )
    rounds = len(next(iter(life.samples.values())))
    return section("The life of a workload", ABOUT, command, facts(machine, rounds), found)
