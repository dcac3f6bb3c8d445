"""Idle memory: what a launcher's processes take beside a sleeping payload, with one workload and with ten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import PATIENCE, BenchFailed, cover_cgroups
from bench.page import section
from bench.report import Machine, facts, markdown
from bench.world import World

COUNTS = (1, 10)
SETTLED = 0.5  # seconds from the payload's start until nothing changes any more
SLEEP = ("/bin/busybox", "sleep", "1000")
INIT = ["/proc/self/fd/3", "init"]  # volt's init, by its words


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB of one process, or of several together, from smaps_rollup: proc(5). `pss` counts a page that n processes
    map as one nth; `private` is what would be free at once if they ended."""

    pss: int
    private: int
    anonymous: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.pss + other.pss, self.private + other.private, self.anonymous + other.anonymous)


@dataclass(frozen=True, slots=True)
class Idle:
    """The mean of one workload among `workloads`, in KiB."""

    title: str
    workloads: int
    pss: float
    private: float


def of(process: int) -> Memory:
    """Raises ProcessLookupError."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"], fields["Anonymous"])


def words(process: int) -> list[str]:
    """The command line; [] for a process that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def below(process: int) -> Iterator[int]:
    """The process and all below it, from the top."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield from below(int(child))


def volts_own(started: int) -> list[int]:
    """Of a workload: the supervisor, and the init inside."""
    return [started, *(process for process in below(started) if words(process)[:2] == INIT)]


def nspawns(started: int) -> list[int]:
    return [process for process in below(started) if words(process)[:1] and "systemd-nspawn" in words(process)[0]]


def conmons(started: int) -> list[int]:
    return [process for process in below(started) if words(process)[:1] and words(process)[0].endswith("conmon")]


# Title → who starts the workloads, and which processes of one count.
ROWS: dict[str, tuple[str, Callable[[int], list[int]]]] = {
    "volt: supervisor and init": ("volt", volts_own),
    "volt: its systemd-nspawn": ("volt", nspawns),
    "systemd-nspawn -D": ("nspawn", nspawns),
    "podman run --detach: conmon": ("podman", conmons),
}


def measure(world: World) -> list[Idle]:
    """Every row with each count. Raises BenchFailed."""
    found = []
    for starter in STARTERS:
        for count in COUNTS:
            with running(world, starter, count) as workloads:
                rows = [(title, which) for title, (by, which) in ROWS.items() if by == starter]
                found += [mean(title, [which(workload) for workload in workloads]) for title, which in rows]
    return sorted(found, key=lambda idle: (list(ROWS).index(idle.title), idle.workloads))


def mean(title: str, workloads: Sequence[Sequence[int]]) -> Idle:
    if not all(workloads):
        raise BenchFailed(f"{title}: a process that should be there is not")
    total = sum((of(process) for workload in workloads for process in workload), Memory(0, 0, 0))
    return Idle(title, len(workloads), total.pss / len(workloads), total.private / len(workloads))


@contextmanager
def running(world: World, starter: str, count: int) -> Iterator[list[int]]:
    """The topmost processes of so many sleeping workloads, which end at the end. Raises BenchFailed."""
    started = STARTERS[starter](world, count)
    try:
        for process in started:
            payload(process)
        time.sleep(SETTLED)
        yield started
    finally:
        for process in started:
            for one in below(process):
                if words(one) == [*SLEEP]:
                    os.kill(one, signal.SIGKILL)
        reap()


def payload(started: int) -> int:
    """The sleeping process, once it is there. Raises BenchFailed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for process in below(started):
            if words(process) == [*SLEEP]:
                return process
        time.sleep(0.02)
    raise BenchFailed(f"a payload has not started: {' '.join(words(started))}")


def reap() -> None:
    """Wait for everything that was started, and for orphans. Raises BenchFailed when one stays."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.01)
        if time.monotonic() > deadline:
            raise BenchFailed("an idle workload does not end")


def spawn(world: World, argv: tuple[str, ...]) -> int:
    program = peers.find_program(argv[0], world.environment)
    quiet = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in range(3)]
    return os.posix_spawn(program, argv, world.environment, file_actions=quiet)


def start_volts(world: World, count: int) -> list[int]:
    """Each was planned once, so that it runs from the plan cache, as any launch but the first."""
    manifests = []
    for number in range(count):
        path = world.folder / f"idle-{number}.toml"
        text = peers.MANIFEST.replace('"bench"', f'"idle-{number}"').replace('["{payload}"]', json.dumps(SLEEP))
        path.write_text(text.format(root=world.root))
        manifests.append(str(path))
    time.sleep(peers.REMEMBERED)
    first = [spawn(world, (peers.COMMAND, "run", manifest)) for manifest in manifests]
    for process in first:
        os.kill(payload(process), signal.SIGKILL)
    reap()
    return [spawn(world, (peers.COMMAND, "run", manifest)) for manifest in manifests]


def start_nspawns(world: World, count: int) -> list[int]:
    """Each on a root of its own, which systemd-nspawn locks."""
    started = []
    for number in range(count):
        root = world.folder / f"{world.root.name}-{count}-{number}"
        peers.root_file_system(root)
        started.append(spawn(world, ("systemd-nspawn", "--register=no", "--keep-unit", "-D", str(root), *SLEEP)))
    return started


def start_podmans(world: World, count: int) -> list[int]:
    """conmon of each: podman itself ends when it has started it."""
    folders = peers.podman_folders(world.folder / "podman-idle")
    argv = ["podman", *folders, *peers.PODMAN, "--detach", "--rootfs", str(world.root), *SLEEP]
    with ThreadPoolExecutor(1, initializer=cover_cgroups) as covered:
        for _ in range(count):
            start = covered.submit(subprocess.run, argv, env=world.environment, capture_output=True, check=False)
            done = start.result()
            if done.returncode:
                raise BenchFailed(f"podman ended with {done.returncode}: {done.stderr.decode().strip()}")
    return [process for process in below(os.getpid()) if words(process)[:1] and words(process)[0].endswith("conmon")]


STARTERS: dict[str, Callable[[World, int], list[int]]] = {
    "volt": start_volts,
    "nspawn": start_nspawns,
    "podman": start_podmans,
}


def rows(idles: Sequence[Idle]) -> Iterator[list[str]]:
    """One for each kind of process: what is shared, and what is private, with each count of workloads."""
    yield ["KiB per idle workload", *(f"{what}, {count}" for count in COUNTS for what in ("PSS", "private"))]
    for title in ROWS:
        counted = [idle for idle in idles if idle.title == title]
        yield [title, *(f"{value:.0f}" for idle in counted for value in (idle.pss, idle.private))]


def document(idles: Sequence[Idle]) -> dict[str, Any]:
    """JSON, version 1."""
    kinds = [
        {"title": idle.title, "workloads": idle.workloads, "pss": round(idle.pss, 1), "private": round(idle.private, 1)}
        for idle in idles
    ]
    return {"version": 1, "unit": "KiB", "idle": kinds}


ABOUT = "What a launcher's own processes take as long as the payload sleeps, with one workload and with ten."
FOUND = """\
{rows}
PSS of `/proc/PID/smaps_rollup`: a page that n processes map counts as one nth, so that the sum over all workloads is
what they take together. Private: what no other process maps. The payload is not counted.
"""


def part(command: str, machine: Machine, idles: Sequence[Idle]) -> str:
    """Its part of docs/reference/benchmarks.md."""
    found = FOUND.format(rows=markdown(list(rows(idles))))
    return section("Memory beside a sleeping payload", ABOUT, command, facts(machine, None), found)
