"""Network namespaces of the benchmark's own: machines behind routed links of one world; the machine's own network stays
as it is."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, Self, TypeVar

from bench.measure import BenchFailed, call, cover_cgroups

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, unshare(2)
P = ParamSpec("P")
R = TypeVar("R")


class Namespace:
    """A network namespace, by a thread that is in it: what this does, opens and starts is there. It goes with the
    thread and all of that."""

    def __init__(self, *, covered: bool = False) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.path = self.do(_enter, covered)
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def begin(self, action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._thread.submit(action, *args, **kwargs)

    def do(self, action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self.begin(action, *args, **kwargs).result()

    def run(self, *words: str, said: str = "") -> str:
        """What a command prints that is told `said`. Raises BenchFailed."""
        return self.do(_run, words, said)


class Machine(Namespace):
    """A machine at `address`, whose way out is a link of its own to the world."""

    def __init__(self, world: Namespace, number: int, *, covered: bool = False) -> None:
        super().__init__(covered=covered)
        self.address, outside = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
        link((self, "wan", self.address), (world, f"eth{number}", outside))
        self.run("ip", "route", "add", "default", "via", outside)


def link(*ends: tuple[Namespace, str, str]) -> None:
    """Both ends of a veth: where each is, what it is called, its address."""
    (near, here, _), (far, there, _) = ends
    near.run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", far.path)
    for one, name, address in ends:
        one.run("ip", "address", "add", f"{address}/30", "dev", name)
        one.run("ip", "link", "set", name, "up")


def _enter(covered: bool) -> str:
    """The namespace's path."""
    call("unshare", _NEW_NETWORK)
    if covered:
        cover_cgroups()
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def _run(words: Sequence[str], said: str) -> str:
    done = subprocess.run(words, input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout
