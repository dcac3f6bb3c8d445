"""What the measurements say: the statistics of one case, the ratios of two, and the targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One launch, in milliseconds: start to exit, and the processor time of all its processes."""

    wall: float
    cpu: float


# The samples of each case, one per round: those at the same place were taken side by side.
Rounds = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Summary:
    """One case in milliseconds; `cpu` is the median."""

    minimum: float
    median: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How long one case takes, as a multiple of another: the median of the rounds' own ratios, and of the minima."""

    case: str
    peer: str
    paired: float
    minimum: float


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: the minimum of `case` is at most `most` times that of `peer`."""

    case: str
    peer: str
    most: float


TARGETS = (
    Target("volt", "nspawn", 0.3),
    Target("volt", "podman", 0.15),
    Target("volt", "crun", 0.7),
    Target("python", "nspawn", 0.45),
    Target("python", "crun", 1.1),
    Target("first", "podman", 1.8),
    Target("volt", "open", 1.05),
)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summary(samples: Sequence[Sample]) -> Summary:
    walls = [sample.wall for sample in samples]
    return Summary(min(walls), median(walls), percentile(walls, 0.99), median(sample.cpu for sample in samples))


def ratio(case: str, peer: str, rounds: Rounds) -> Ratio:
    ours = [sample.wall for sample in rounds[case]]
    theirs = [sample.wall for sample in rounds[peer]]
    paired = median(one / other for one, other in zip(ours, theirs, strict=True))
    return Ratio(case, peer, paired, min(ours) / min(theirs))


def reached(target: Target, rounds: Rounds) -> bool:
    return ratio(target.case, target.peer, rounds).minimum <= target.most
