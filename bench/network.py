"""Bridge and published ports: what they add to a launch, how soon they answer, and what a packet pays; against podman,
and against a bare veth with one DNAT rule."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from bench import memory, peers
from bench.life import timed
from bench.measure import WARMING, BenchFailed, Case, adopt_orphans, once
from bench.namespaces import Machine, Namespace
from bench.traffic import ECHO, HTTP, IPERF, SERVE, bare_machine, first_answer, serving_root, throughput, turns
from bench.world import World
from volt.model.folders import NETWORKS_FOLDER

PACKAGES = "systemd-container dnsmasq-base crun podman conmon netavark iptables iperf3".split()
SLEEP = list(memory.SLEEP)
NETAVARK = "/run/containers"  # what it knows of addresses, wherever podman's own folders are
STAYS, MANY = 7000, 20000  # ports of a machine; MANY is the first of them
SHELL = ["/bin/busybox", "sh", "-c"]
AT_ONCE = 8  # commands
FLAT = (100, 300)  # other workloads that publish a port
MANIFEST = """\
[workload]
name = "{name}"
mode = "container"
command = {command}

[network]
{network}

[storage]
rootfs = "{root}"
writable_layer = "tmpfs"
"""
# What is launched: its command, and the ports that it publishes, each HOST:INSIDE; without one it has no network.
Workloads = Mapping[str, tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Network:
    """What was found. `values` has those of both sides of each pair in `network_report`, by its name: milliseconds of
    commands, Gbit/s, workloads a second, round trips a second; `flat` has microseconds of a round trip, by how many
    other workloads publish a port."""

    workloads: int
    peers: int
    values: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    flat: Mapping[int, Sequence[float]]


Action = Callable[[], float]
Tell = Callable[[int], None]


def measure(world: World, rounds: int, workloads: int, others: int, tell: Tell) -> Network:
    """Raises BenchFailed."""
    serving_root(world.root)
    every = every_workload(max(workloads, others))
    values: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    with ExitStack() as stack:
        outside = stack.enter_context(Namespace())
        volt = stack.enter_context(Volt(world, outside, every))
        podman = stack.enter_context(Podman(world, outside, every))
        for one in (volt, podman):  # their networks are in use all the time, as on a machine that serves
            one.stay()
        launches: dict[str, Action] = {"port": volt.start, "none": partial(volt.start, "alone"), "podman": podman.start}
        starts = interleaved(launches, rounds, tell)
        values |= {"start": (starts["port"], starts["podman"]), "plain": (starts["port"], starts["none"])}
        firsts = interleaved({"volt": volt.first_byte, "podman": podman.first_byte}, rounds, tell)
        values["first"] = firsts["volt"], firsts["podman"]
        bare = stack.enter_context(bare_machine(world, outside))
        for one in (volt, podman):
            one.detach("serve")
        machines = {"volt": volt.machine, "podman": podman.machine, "bare": bare}
        for name, how in {"throughput": throughput, "echo": turns}.items():
            actions = {whose: partial(how, outside, each.address) for whose, each in machines.items()}
            found = interleaved(actions, rounds, tell, warming=1)
            values |= {name: (found["volt"], found["bare"]), f"{name}-podman": (found["volt"], found["podman"])}
        podman.stop("serve")
        volt.stop("stays")
        new, flat = volt.grow(workloads, rounds)
        volt.stop_all()
        values["rate"] = [volt.launch(range(workloads))], [podman.launch(range(others))]
        values["new"] = [new], values["rate"][1]
    return Network(workloads, others, values, flat)


def every_workload(many: int) -> Workloads:
    return {
        "start": ([peers.PAYLOAD], [f"{HTTP}:80"]),
        "alone": ([peers.PAYLOAD], []),
        "stays": (SLEEP, [f"{STAYS}:80"]),
        "first": (["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/"], [f"{HTTP}:80"]),
        "serve": ([*SHELL, SERVE], [f"{ECHO}:{ECHO}", f"{IPERF}:{IPERF}"]),
        **{f"many-{number}": (SLEEP, [f"{MANY + number}:80"]) for number in range(many)},
    }


def interleaved(
    actions: Mapping[str, Action], rounds: int, tell: Tell, warming: int = WARMING
) -> dict[str, list[float]]:
    """Every action once in each round, in a new order; the first rounds are not counted."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(warming + rounds):
        tell(max(0, number - warming))
        for name in random.sample([*actions], len(actions)):
            value = actions[name]()
            if number >= warming:
                found[name].append(value)
    return found


# ── launchers


class Launcher(ABC):
    """A launcher on a machine of its own, and what it is asked from the world."""

    def __init__(self, world: World, machine: Machine, outside: Namespace, every: Workloads) -> None:
        self.world, self.machine, self.outside, self.every = world, machine, outside, every

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def words(self, name: str, *, detach: bool) -> tuple[str, ...]:
        """The command that launches it."""

    @abstractmethod
    def stop(self, name: str) -> None: ...

    def run(self, *words: str) -> float:
        """Milliseconds."""
        return self.machine.do(timed, words, self.world.environment).wall

    def detach(self, name: str) -> float:
        return self.run(*self.words(name, detach=True))

    def stay(self) -> None:
        """What it leaves running is not this process's to wait for."""
        adopt_orphans(False)
        self.detach("stays")
        adopt_orphans()

    def start(self, name: str = "start") -> float:
        """Start to exit, and whatever it leaves behind has ended."""
        argv = self.words(name, detach=False)
        program = peers.find_program(argv[0], self.world.environment)
        case = Case(name, " ".join(argv[:2]), program, argv, environment=self.world.environment)
        return self.machine.do(once, case).wall

    def first_byte(self) -> float:
        """From the command's start to the first byte that the world is answered."""
        begin = time.perf_counter()
        answered = self.outside.begin(first_answer, self.machine.address)
        self.detach("first")
        took = (answered.result() - begin) * 1e3
        self.stop("first")
        return took

    def launch(self, numbers: range) -> float:
        """Workloads a second, each with a port of its own."""
        every = [self.words(f"many-{number}", detach=True) for number in numbers]
        begin = time.perf_counter()
        self.machine.do(at_once, every, self.world.environment)
        return len(every) / (time.perf_counter() - begin)


class Volt(Launcher):
    """Each workload has a manifest of its own, old enough for its plan to be remembered at once."""

    def __init__(self, world: World, outside: Namespace, every: Workloads) -> None:
        super().__init__(world, Machine(outside, 0), outside, every)
        self._before = self._links()
        for name, (command, ports) in every.items():
            network = f'mode = "bridge"\nports = {json.dumps(ports)}' if ports else 'mode = "none"'
            words = {"name": name, "command": json.dumps(command), "root": world.root, "network": network}
            self._manifest(name).write_text(MANIFEST.format_map(words))
        time.sleep(peers.REMEMBERED)

    def __exit__(self, *_: object) -> None:
        """Raises BenchFailed for links and rules that are left: a network that is used is not taken away."""
        try:
            self.stop_all()
            self.run(peers.COMMAND, "net", "rm", "bridge")
            memory.reap()
            links, rules = self._links() - self._before, self.machine.run("nft", "list", "ruleset")
            if links or rules:
                raise BenchFailed(f"of volt's network is left: {' '.join(links)}\n{rules}")
        finally:
            folder = Path(NETWORKS_FOLDER, str(Path(self.machine.path).stat().st_ino))
            shutil.rmtree(folder, ignore_errors=True)
            self.machine.__exit__()

    def _links(self) -> set[str]:
        return {*re.findall(r"^\d+: ([\w.-]+)", self.machine.run("ip", "-o", "link"), re.MULTILINE)}

    def _manifest(self, name: str) -> Path:
        return self.world.folder / f"network-{name}.toml"

    def words(self, name: str, *, detach: bool) -> tuple[str, ...]:
        return peers.COMMAND, "run", *(("--detach", "--rm") if detach else ()), str(self._manifest(name))

    def stop(self, name: str) -> None:
        self.run(peers.COMMAND, "stop", name)

    def stop_all(self) -> None:
        self.run(peers.COMMAND, "stop", "--all")

    def grow(self, workloads: int, rounds: int) -> tuple[float, dict[int, list[float]]]:
        """More and more publish a port: how many were launched a second, each for the first time, and the microseconds
        of a round trip through the port of another on the way."""
        flat: dict[int, list[float]] = {}
        there, seconds = 0, 0.0
        for number in sorted({0, *(each for each in FLAT if each < workloads), workloads}):
            if number > there:
                seconds += (number - there) / self.launch(range(there, number))
                there = number
            time.sleep(memory.SETTLED)
            flat[number] = [1e6 / turns(self.outside, self.machine.address) for _ in range(rounds)]
        return there / seconds, flat


class Podman(Launcher):
    """With cgroups disabled, its fastest way, where no cgroups are in sight; its network is netavark's own default."""

    def __init__(self, world: World, outside: Namespace, every: Workloads) -> None:
        super().__init__(world, Machine(outside, 1, covered=True), outside, every)
        self._podman = "podman", *peers.podman_folders(world.folder / "podman-network")
        Path(NETAVARK).mkdir(exist_ok=True)
        self.machine.run("mount", "-t", "tmpfs", "none", NETAVARK)  # in the thread's mount namespace alone

    def __exit__(self, *_: object) -> None:
        try:
            self.run(*self._podman, "rm", "--all", "--force", "--time", "0")
        finally:
            self.machine.__exit__()

    def words(self, name: str, *, detach: bool) -> tuple[str, ...]:
        command, ports = self.every[name]
        run, *options = [option for option in peers.PODMAN if not option.startswith("--network")]
        published = [f"--publish={port}" for port in ports]
        living = ("--detach", "--name", name, "--log-driver=k8s-file") if detach else ()
        return *self._podman, run, *options, *published, *living, "--rootfs", str(self.world.root), *command

    def stop(self, name: str) -> None:
        self.run(*self._podman, "rm", "--force", "--ignore", "--time", "0", name)


def at_once(every: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
    """Commands, so many at a time as AT_ONCE says. Raises BenchFailed when one has failed, once all have ended."""
    running: dict[int, Sequence[str]] = {}
    failed: list[str] = []

    def wait(left: int) -> None:
        while len(running) > left:
            process, status = os.wait()
            argv = running.pop(process, ())  # or an orphan of one
            if argv and (code := os.waitstatus_to_exitcode(status)):
                failed.append(f"{' '.join(argv)} ended with {code}")

    with tempfile.TemporaryFile() as said:
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, said.fileno(), 2),
        ]
        for argv in every:
            wait(AT_ONCE - 1)
            program = peers.find_program(argv[0], environment)
            running[os.posix_spawn(program, [*argv], environment, file_actions=actions)] = argv
        wait(0)
        if failed:
            said.seek(0)
            told = said.read().decode(errors="replace")[-1000:]
            raise BenchFailed(f"{len(failed)} of {len(every)} failed, the first: {failed[0]}\n{told}")
