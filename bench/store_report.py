"""What is printed and written of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.mounting import TIMES
from bench.network_report import number
from bench.page import section
from bench.report import Machine, columns, facts, markdown
from bench.samples import FEW, HUGE, MANY, SECOND, SIMILAR, SUITE
from bench.store import LAUNCHES, WARMING, Found


@dataclass(frozen=True, slots=True)
class Pair:
    """Two that are compared by the best of each: the ratio, or where it is said so the difference, shall be at most
    `most`. What nothing was promised of has none."""

    ours: str
    theirs: str
    most: float | None
    difference: bool = False

    @property
    def title(self) -> str:
        return f"{self.ours} {'-' if self.difference else '/'} {self.theirs}"

    def found(self, values: tuple[Sequence[float], Sequence[float]]) -> float:
        ours, theirs = map(min, values)
        return ours - theirs if self.difference else ours / theirs


PAIRS = {
    "import-cp": Pair("volt image import DIR, ms", "cp -a, and sync", 1.2),
    "import-ostree": Pair("volt image import DIR, ms", "ostree commit", 0.5),
    "pull-umoci": Pair("volt image pull, ms", "skopeo copy, umoci unpack", 0.7),
    "pull-umoci-synced": Pair("volt image pull, ms", "the same, and sync", None),
    "pull-podman": Pair("volt image pull, ms", "podman pull", None),
    "disk": Pair(f"{len(SIMILAR)} similar images on disk, MiB", "as folders", 0.3),
    "cache": Pair("page cache that reading a second one adds, MiB", "the first one", 0.12),
    "launch": Pair("volt run from an image, ms", "from a folder", 1.0, difference=True),
}
MOUNT_MOST = 0.25  # ms
FLAT_MOST = 1.1  # times as long for so many more files
MEMORY_MOST = 150  # MiB


@dataclass(frozen=True, slots=True)
class Promise:
    """What was promised, and what it is."""

    title: str
    most: float
    found: float

    @property
    def reached(self) -> bool:
        return self.found <= self.most


def promised(found: Found) -> list[Promise]:
    pairs = [
        Promise(pair.title, pair.most, pair.found(found.values[name]))
        for name, pair in PAIRS.items()
        if pair.most is not None
    ]
    few, many = found.mounts[FEW], found.mounts[MANY]
    return [
        *pairs,
        Promise(f"root of {FEW:,} files, ms", MOUNT_MOST, few),
        Promise(f"root of {MANY:,} files, ms", MOUNT_MOST, many),
        Promise(f"root of {MANY:,} files / of {FEW:,}", FLAT_MOST, many / few),
        *(Promise(f"memory of a pull at its peak, {name}, MiB", MEMORY_MOST, at) for name, at in found.memory.items()),
    ]


def missed(found: Found) -> list[Promise]:
    return [one for one in promised(found) if not one.reached]


def pair_rows(found: Found) -> Iterator[list[str]]:
    yield ["", "best", "median", "against", "best", "median", "ratio"]
    for name, pair in PAIRS.items():
        ours, theirs = ([number(min(values)), number(median(values))] for values in found.values[name])
        by = f"{pair.found(found.values[name]):+.2f}" if pair.difference else f"{pair.found(found.values[name]):.3f}"
        yield [pair.ours, *ours, pair.theirs, *theirs, by]


def target_rows(found: Found) -> Iterator[list[str]]:
    yield ["target, by the best of each", "at most", "is", ""]
    for one in promised(found):
        digits = f"{one.found:.3f}" if one.most < 10 else f"{one.found:.0f}"
        yield [one.title, f"{one.most:g}", digits, "reached" if one.reached else "missed"]


def table(found: Found) -> str:
    """What a terminal shows."""
    return "\n".join(columns(list(rows(found))) for rows in (pair_rows, target_rows))


def document(found: Found) -> dict[str, Any]:
    """JSON, version 1: everything, the single values too."""
    targets = [
        {"title": one.title, "most": one.most, "is": round(one.found, 4), "reached": one.reached}
        for one in promised(found)
    ]
    return {"version": 1, **asdict(found), "targets": targets}


ABOUT = """\
What it costs to take images in, what they take on disk and in memory, and how soon they are a root; against cp, ostree,
skopeo with umoci, and podman, on the same disk."""
FOUND = """\
{pairs}
The best is the minimum; the ratio is that of the best, of launches it is their difference.

### Targets

{verdict}

{targets}
### How it is measured

- The disk is a fresh ext4 file system over a file, in a mount namespace of its own. Before each measurement all that
  was written is on it. Each round does everything once, in a new order, into a store that is new; {warming} round to
  warm up is not counted. What fails stops the measurement.
- Imported is a Debian {suite} that mmdebstrap has made. volt ends when all is on disk, as ostree does; cp is followed
  by a sync of that file system. Pulled is the same from Debian's docker-registry on a loopback of its own: one layer
  that has {compressed:.0f} MB. Neither umoci nor podman waits for the disk, so there is a row with a sync, too.
- The similar images are Debian with Python and another library each. What they take is what the file system has less
  of then.
- The page cache is what fincore(1) counts of the whole disk, which was unmounted before, when a workload has read
  every file of the image `{first}`, and then one that of `{second}`.
- The peak of memory is the maximum of the resident set, of the image above, of one of {many:,} files, and of one with a
  file of {huge} MiB that does not compress.
- A root: volt's own program performs the plan of a launch until its payload says something, and the same plan with the
  steps that mount the image, the objects and the overlay {times} times more; it is the difference for each.
- `volt run` is of `/bin/true` of a Debian, from the plan cache, {launches} times in each round.
"""


def part(command: str, machine: Machine, found: Found) -> str:
    """Its part of docs/reference/benchmarks.md."""
    count, short = len(promised(found)), len(missed(found))
    said = FOUND.format(
        pairs=markdown(list(pair_rows(found))),
        targets=markdown(list(target_rows(found))),
        verdict=f"{short} of {count} are missed." if short else f"All {count} are reached.",
        warming=WARMING,
        suite=SUITE,
        compressed=found.compressed / 1e6,
        first=next(iter(SIMILAR)),
        second=SECOND,
        many=MANY,
        huge=HUGE >> 20,
        times=TIMES,
        launches=LAUNCHES,
    )
    return section("The store", ABOUT, command, facts(machine, len(found.values["import-cp"][0])), said)
