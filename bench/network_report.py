"""What is printed and written of bridge and published ports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.network import AT_ONCE, Network
from bench.page import section
from bench.report import Machine, columns, facts, markdown
from bench.traffic import SECONDS, TURNS


@dataclass(frozen=True, slots=True)
class Pair:
    """Two that are compared: the ratio of their best values shall be at most `bound`, or with `more` at least that,
    for there the most is the best. What nothing was promised of has none."""

    ours: str
    theirs: str
    bound: float | None
    more: bool = False

    def best(self, values: Sequence[float]) -> float:
        return max(values) if self.more else min(values)

    def reached(self, found: float) -> bool:
        return self.bound is None or (found >= self.bound if self.more else found <= self.bound)


@dataclass(frozen=True, slots=True)
class Found:
    """A pair with its values, and the ratio of the best ones."""

    name: str
    pair: Pair
    values: tuple[Sequence[float], Sequence[float]]

    @property
    def ratio(self) -> float:
        ours, theirs = map(self.pair.best, self.values)
        return ours / theirs


PAIRS = {
    "start": Pair("volt run, a port published, ms", "podman run", 0.1),
    "plain": Pair("volt run, a port published, ms", "volt run, no network", 1.6),
    "first": Pair("volt run --detach until its port answers, ms", "podman run --detach", None),
    "throughput": Pair("through a published port, Gbit/s", "veth and DNAT", 0.95, more=True),
    "throughput-podman": Pair("through a published port, Gbit/s", "podman", None, more=True),
    "echo": Pair("round trips a second through it", "veth and DNAT", 0.95, more=True),
    "echo-podman": Pair("round trips a second through it", "podman", None, more=True),
}
FLAT_MOST = 1.1


def found(network: Network) -> Iterator[Found]:
    """Every pair, those too whose names have a number in them."""
    named = PAIRS | {
        "rate": Pair(f"{network.workloads} launched, a second", f"podman, {network.peers}", 10, more=True),
        "new": Pair(f"{network.workloads} launched, none planned before, a second", "podman", None, more=True),
    }
    for name, pair in named.items():
        yield Found(name, pair, network.values[name])
    for others in sorted(network.flat)[1:]:
        pair = Pair(f"µs of a round trip, {others} others publish", "none other does", FLAT_MOST)
        yield Found(f"flat-{others}", pair, (network.flat[others], network.flat[0]))


def number(value: float) -> str:
    """Some four digits."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def pair_rows(network: Network) -> Iterator[list[str]]:
    yield ["", "best", "median", "against", "best", "median", "ratio"]
    for one in found(network):
        ours, theirs = ([number(one.pair.best(values)), number(median(values))] for values in one.values)
        yield [one.pair.ours, *ours, one.pair.theirs, *theirs, f"{one.ratio:.3f}"]


def promised(network: Network) -> list[Found]:
    return [one for one in found(network) if one.pair.bound is not None]


def missed(network: Network) -> list[Found]:
    return [one for one in promised(network) if not one.pair.reached(one.ratio)]


def target_rows(network: Network) -> Iterator[list[str]]:
    yield ["target, by the best of each", "bound", "is", ""]
    for one in promised(network):
        bound = f"{'≥' if one.pair.more else '≤'} {one.pair.bound:g}"
        verdict = "reached" if one.pair.reached(one.ratio) else "missed"
        yield [f"{one.pair.ours} / {one.pair.theirs}", bound, f"{one.ratio:.3f}", verdict]


def table(network: Network) -> str:
    """What a terminal shows."""
    return "\n".join(columns(list(rows(network))) for rows in (pair_rows, target_rows))


def document(network: Network) -> dict[str, Any]:
    """JSON, version 1: everything, the single values too."""
    targets = [
        {"name": one.name, "bound": one.pair.bound, "is": round(one.ratio, 4), "reached": one.pair.reached(one.ratio)}
        for one in promised(network)
    ]
    return {"version": 1, **asdict(network), "targets": targets}


ABOUT = """\
Workloads on the bridge with published ports: what that adds to a launch, how soon a port answers, and what packets pay;
against podman with netavark, and against a bare veth with one DNAT rule."""
FOUND = """\
{pairs}
The best is the minimum of what takes time, and the maximum of what is done in a second; the ratio is that of the best.

### Targets

{verdict}

{targets}
### How it is measured

- volt, podman and the bare path have a machine each: a network namespace with a routed link to one more, the world,
  where the clients are. In each round everything is done once, in a new order; what fails stops the measurement. At the
  end `volt net rm` has to take away all of volt's network.
- On both sides one workload with a port stays meanwhile, as on a machine that serves. Both run busybox of one root file
  system. podman runs with cgroups disabled, its fastest way, in a mount namespace without the machine's cgroups.
- Start to exit is of `/bin/true`, from the plan cache, with one port published; without a network it is the same
  otherwise.
- Until its port answers: from the start of `run --detach` until the world has the first byte of busybox's httpd, which
  it asks again each millisecond. Ending the workload is outside of the time.
- Launched are sleeping workloads with a port each, {at_once} commands at a time, from the first start to the last end.
  volt has launched each once before; "none planned before" are those launches, of a new manifest each.
- Through the port goes one stream of iperf3 for {seconds} s, from the world into the workload; and for {turns:g} s a
  message of 64 bytes, which a cat behind busybox's nc sends back. The bare path has the same servers of the same root
  in a network namespace alone: one veth, one nftables rule, no bridge.
- Those µs are of the same round trip, always through the same port, while so many other workloads have one.
"""


def part(command: str, machine: Machine, network: Network) -> str:
    """Its part of docs/reference/benchmarks.md."""
    count, short = len(promised(network)), len(missed(network))
    said = FOUND.format(
        pairs=markdown(list(pair_rows(network))),
        targets=markdown(list(target_rows(network))),
        verdict=f"{short} of {count} are missed." if short else f"All {count} are reached.",
        at_once=AT_ONCE,
        seconds=SECONDS,
        turns=TURNS,
    )
    rounds = len(network.values["start"][0])
    return section("Bridge and published ports", ABOUT, command, facts(machine, rounds), said)
