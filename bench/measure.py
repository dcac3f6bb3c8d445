"""Measuring: commands started one at a time, in rounds that take every one of them in a shuffled order."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from resource import struct_rusage
from typing import BinaryIO, Self

from bench.figures import Sample

PATIENCE = 10.0  # seconds for what a command leaves running to end by itself
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, unshare(2)
_RECURSIVE, _PRIVATE = 0x4000, 0x40000  # MS_REC, MS_PRIVATE, mount(2)
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True)


class BenchFailed(Exception):
    """Nothing that was measured counts; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One command to measure.

    `covered` runs it where no cgroups are in sight, `plan` is a descriptor that it inherits, `first` gives it a
    VOLT_ROOT in which nothing has run before, and `later` words that are new.
    """

    name: str
    title: str
    program: str
    argv: tuple[str, ...]
    covered: bool = False
    first: bool = False
    later: bool = False
    plan: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


# Rounds that are not counted: peers write into the root file system at first, and volt's plans depend on it.
WARMING = 4


def interleaved(
    cases: Sequence[Case],
    rounds: int,
    measure: Callable[[Case], Sample],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, list[Sample]]:
    """The samples of each case by its name; the first rounds, to warm up, are not counted."""
    found: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for number in range(WARMING + rounds):
        progress(max(0, number - WARMING))
        for case in random.sample(cases, len(cases)):
            sample = measure(case)
            if number >= WARMING:
                found[case.name].append(sample)
    return found


def once(case: Case) -> Sample:
    """Start a command, wait for its end and for whatever it leaves behind. Raises BenchFailed unless it ends with 0."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter_ns()
        process = _start(case, errors)
        try:
            _, status, usage = os.wait4(process, 0)
        except BaseException:
            os.kill(process, signal.SIGKILL)
            raise
        wall = time.perf_counter_ns() - begin
        cpu = _spent(usage) + _reap(case)
        if code := os.waitstatus_to_exitcode(status):
            errors.seek(0)
            said = errors.read().decode(errors="backslashreplace").strip()
            raise BenchFailed(f"{case.title} ended with {code}: {' '.join(case.argv)}\n{said}")
    return Sample(wall / 1e6, cpu)


def _start(case: Case, errors: BinaryIO) -> int:
    """posix_spawn(3) starts without a copy of this process, so its own size does not count."""
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
    ]
    if case.plan is not None:  # onto itself: then it is not closed
        actions.append((os.POSIX_SPAWN_DUP2, case.plan, case.plan))
    return os.posix_spawn(case.program, case.argv, case.environment, file_actions=actions)


def _reap(case: Case) -> float:
    """Wait for orphans, which come to this process; their processor time. Raises BenchFailed when one stays."""
    spent, deadline = 0.0, time.monotonic() + PATIENCE
    while True:
        try:
            process, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return spent
        if process:
            spent += _spent(usage)
        elif time.monotonic() > deadline:
            raise BenchFailed(f"{case.title} has left a process that does not end: {' '.join(case.argv)}")
        else:
            time.sleep(0.001)


def _spent(usage: struct_rusage) -> float:
    """Processor time in milliseconds."""
    return (usage.ru_utime + usage.ru_stime) * 1e3


class Measure:
    """Measures one case at a time; a context manager, for the thread that covered cases start from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._firsts = 0
        self._covered = ThreadPoolExecutor(1, initializer=cover_cgroups)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._covered.shutdown()

    def __call__(self, case: Case) -> Sample:
        one = self._fresh(case) if case.first or case.later else case
        return self._covered.submit(once, one).result() if case.covered else once(one)

    def _fresh(self, case: Case) -> Case:
        self._firsts += 1
        if case.later:
            argv = (*case.argv, "--env", f"ROUND={self._firsts}")
            return Case(case.name, case.title, case.program, argv, environment=case.environment)
        environment = {**case.environment, "VOLT_ROOT": str(self._folder / f"first-{self._firsts}")}
        return Case(case.name, case.title, case.program, case.argv, environment=environment)


def cover_cgroups() -> None:
    """For this thread and what it starts: an empty folder where the cgroups are, in a mount namespace of its own.

    crun, and podman through it, refuse to run where controllers are spread over cgroups v1 and v2.
    """
    call("unshare", _NEW_MOUNTS)
    call("mount", None, b"/", None, _RECURSIVE | _PRIVATE, None)
    call("mount", b"none", b"/sys/fs/cgroup", b"tmpfs", 0, None)


def adopt_orphans(adopt: bool = True) -> None:
    """A command's orphans become children of this process: they are waited for, and their time counts. Those that
    others have adopted stay theirs."""
    call("prctl", _SUBREAPER, int(adopt), 0, 0, 0)


def call(name: str, *arguments: int | bytes | None) -> None:
    """A function of the C library. Raises BenchFailed."""
    if _LIBC[name](*arguments) < 0:
        number = ctypes.get_errno()
        raise BenchFailed(f"{name}: {os.strerror(number)}")
