"""What is done with a workload after its start: started detached, listed, entered, read, stopped; against podman."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import memory, peers
from bench.figures import Sample
from bench.measure import WARMING, BenchFailed, cover_cgroups
from bench.world import World

SLEEP = list(memory.SLEEP)
LINE = "a line of a log, as long as lines of logs are: GET /some/where/index.html 200 1234 0.003\n"
LOG = 100 << 20  # bytes that a payload has written when its log is read
FLOOD = 256 << 20  # bytes that one writes beyond log.rate
BLOCK = 64 << 10
PATIENCE = 120.0  # seconds for what a round waits for
MANIFEST = """\
[workload]
name = "{name}"
mode = "container"
command = {command}

[network]
mode = "none"

[storage]
rootfs = "{root}"
writable_layer = "tmpfs"
volumes = [{volumes}]

[log]
rate = "{rate}"
max_size = "1G"
"""
UNBOUNDED = "1G"  # bytes a second: more than is written
BOUNDED = "1M"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands that are compared: the median of the rounds' own ratios shall be at most `most`."""

    name: str
    ours: str
    theirs: str
    most: float


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("detach", "volt run --detach", "podman run --detach", 0.25),
        Pair("exec", "volt exec", "podman exec", 0.25),
        Pair("logs", "volt logs, 100 MiB", "podman logs, 100 MiB", 1.0),
        Pair("ps", "volt ps", "podman ps", 0.3),
        Pair("flood", "a payload beyond log.rate", "the same into a plain file", 1.1),
    )
}
STOP_MOST = 0.2  # of podman's time for each workload
MEMORY_MOST = 1280  # KiB for each workload


@dataclass(frozen=True, slots=True)
class Life:
    """What was found. `samples` has (ours, theirs) for each round of a pair; `stops` are milliseconds of `stop --all`
    for each workload; `memory` is KiB for each workload, with all of its processes."""

    workloads: int
    peers: int
    samples: Mapping[str, Sequence[tuple[Sample, Sample]]]
    stops: tuple[float, float]
    memory: float


Action = Callable[[], Sample]


def measure(world: World, rounds: int, workloads: int, others: int, progress: Callable[[int], None]) -> Life:
    """Raises BenchFailed."""
    (world.root / "lines").write_text(LINE * (FLOOD // len(LINE) + 1))
    with Volt(world) as volt, Podman(world) as podman:
        pairs: dict[str, tuple[Action, Action]] = {
            "detach": (volt.detach, podman.detach),
            "exec": (volt.execute, podman.execute),
            "logs": (volt.read_log, podman.read_log),
            "flood": (volt.flood, volt.write_file),
        }
        volt.start("one", SLEEP)
        podman.start("one", SLEEP)
        volt.start_log()
        podman.start_log()
        samples = interleaved(pairs, rounds, progress)
        volt.stop_all()
        podman.stop_all()
        for number in range(workloads):
            volt.start(f"many-{number}", SLEEP)
        for number in range(others):
            podman.start(f"many-{number}", SLEEP)
        time.sleep(memory.SETTLED)
        samples |= interleaved({"ps": (volt.list, podman.list)}, rounds, progress)
        used = volt.memory() / workloads
        stops = volt.stop_all() / workloads, podman.stop_all() / others
    return Life(workloads, others, samples, stops, used)


def interleaved(
    pairs: Mapping[str, tuple[Action, Action]], rounds: int, progress: Callable[[int], None]
) -> dict[str, list[tuple[Sample, Sample]]]:
    """Every action once in each round, in a new order; the first rounds are not counted."""
    found: dict[str, list[tuple[Sample, Sample]]] = {name: [] for name in pairs}
    for number in range(WARMING + rounds):
        progress(max(0, number - WARMING))
        order = [(name, at) for name in pairs for at in range(2)]
        taken = {(name, at): pairs[name][at]() for name, at in random.sample(order, len(order))}
        if number >= WARMING:
            for name in pairs:
                found[name].append((taken[name, 0], taken[name, 1]))
    return found


def timed(argv: Sequence[str], environment: Mapping[str, str]) -> Sample:
    """From the command's start to its end; what it leaves running goes on. Raises BenchFailed unless it ends with 0."""
    program = peers.find_program(argv[0], environment)
    with tempfile.TemporaryFile() as said:
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, said.fileno(), 2),
        ]
        begin = time.perf_counter_ns()
        process = os.posix_spawn(program, [*argv], environment, file_actions=actions)
        _, status, usage = os.wait4(process, 0)
        wall = (time.perf_counter_ns() - begin) / 1e6
        if code := os.waitstatus_to_exitcode(status):
            said.seek(0)
            raise BenchFailed(f"{' '.join(argv)} ended with {code}: {said.read().decode(errors='replace')[-500:]}")
    return Sample(wall, (usage.ru_utime + usage.ru_stime) * 1e3)


def writing(size: int, path: str = "") -> list[str]:
    """A payload that writes so much of the lines, makes `/out/begin` before and `/out/time` after that, and stays."""
    to = f" of={path}" if path else ""
    copy = f"dd if=/lines bs={BLOCK} count={size // BLOCK}{to} 2>/out/said"
    return ["/bin/busybox", "sh", "-c", f": >/out/begin; {copy} && : >/out/time; exec sleep 1000"]


class Launcher(ABC):
    """What both sides have. What they start is below a folder of their own, with `/out` inside at `out`."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.environment = world, world.environment
        self.out = world.folder / f"life-{name}"
        self.out.mkdir(mode=0o777)
        self.out.chmod(0o777)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        memory.reap()

    @abstractmethod
    def run(self, *words: str) -> Sample: ...

    @abstractmethod
    def start(self, name: str, command: Sequence[str]) -> Sample: ...

    @abstractmethod
    def stop(self, name: str) -> None: ...

    @abstractmethod
    def stop_all(self) -> float:
        """Milliseconds."""

    def detach(self) -> Sample:
        try:
            return self.start("detached", SLEEP)
        finally:
            self.stop("detached")

    def execute(self) -> Sample:
        return self.run("exec", "one", peers.PAYLOAD)

    def read_log(self) -> Sample:
        return self.run("logs", "log")

    def start_log(self) -> None:
        """A workload that has written a log. Raises BenchFailed when it has not in time."""
        self.start("log", writing(LOG))
        self.written()
        time.sleep(memory.SETTLED)

    def written(self) -> Sample:
        """How long the payload took to write, once it has. Raises BenchFailed."""
        file, deadline = self.out / "time", time.monotonic() + PATIENCE
        while not file.exists():
            if time.monotonic() > deadline:
                raise BenchFailed("a payload has not written its lines")
            time.sleep(0.02)
        took = file.stat().st_mtime_ns - (self.out / "begin").stat().st_mtime_ns  # to a tick of the kernel's clock
        file.unlink()
        return Sample(max(took, 1) / 1e6, 0.0)


class Volt(Launcher):
    """Each workload has a manifest of its own, and the same words each time."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "volt")
        self._manifests: set[Path] = set()

    def run(self, *words: str) -> Sample:
        return timed((peers.COMMAND, *words), self.environment)

    def start(self, name: str, command: Sequence[str], rate: str = UNBOUNDED) -> Sample:
        path = self.world.folder / f"life-{name}.toml"
        if path not in self._manifests:
            self._manifests.add(path)
            words = json.dumps(command)
            volume = f'{{host = "{self.out}", container = "/out", owner = "root"}}'
            text = MANIFEST.format(name=name, command=words, root=self.world.root, rate=rate, volumes=volume)
            path.write_text(text)
        return self.run("run", "--detach", "--rm", str(path))

    def stop(self, name: str) -> None:
        self.run("stop", name)

    def stop_all(self) -> float:
        return self.run("stop", "--all").wall

    def list(self) -> Sample:
        return self.run("ps")

    def flood(self) -> Sample:
        """How long the payload takes to write beyond what its log takes."""
        return self._writing("flood", "")

    def write_file(self) -> Sample:
        return self._writing("plain", "/out/plain")

    def _writing(self, name: str, path: str) -> Sample:
        self.start(name, writing(FLOOD, path), BOUNDED)
        try:
            return self.written()
        finally:
            self.stop(name)
            (self.out / "plain").unlink(missing_ok=True)

    def memory(self) -> float:
        """KiB of all the processes of all the workloads."""
        records = Path(self.environment["VOLT_ROOT"], "run/runs").glob("*/record.json")
        pids = [json.loads(record.read_text())["pid"] for record in records]
        return sum(memory.of(one).pss for pid in pids for one in memory.below(pid))


class Podman(Launcher):
    """With cgroups disabled, its fastest way, where no cgroups are in sight; stopped by SIGKILL at once."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "podman")
        self._folders = peers.podman_folders(world.folder / "podman-life")
        self._covered = ThreadPoolExecutor(1, initializer=cover_cgroups)

    def __exit__(self, *_: object) -> None:
        try:
            self.run("rm", "--all", "--force", "--time", "0")
        finally:
            self._covered.shutdown()

    def run(self, *words: str) -> Sample:
        argv = ("podman", *self._folders, *words)
        return self._covered.submit(timed, argv, self.environment).result()

    def start(self, name: str, command: Sequence[str]) -> Sample:
        run, *options = peers.PODMAN
        more = ("--detach", "--name", name, "--log-driver=k8s-file", f"--volume={self.out}:/out")
        return self.run(run, *options, *more, "--rootfs", str(self.world.root), *command)

    def stop(self, name: str) -> None:
        self.run("stop", "--time", "0", name)

    def stop_all(self) -> float:
        return self.run("stop", "--all", "--time", "0").wall

    def list(self) -> Sample:
        return self.run("ps")
