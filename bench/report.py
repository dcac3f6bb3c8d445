"""What is printed and written: a table, a JSON document, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.figures import TARGETS, Ratio, Rounds, Summary, Target, ratio, reached, summary
from bench.page import section

# A machine that does more than this besides measures itself.
BUSY = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what it was measured. `load` is that of the minute before."""

    commit: str
    date: str
    kernel: str
    processor: str
    cores: int
    load: float
    versions: Mapping[str, str]

    @property
    def busy(self) -> bool:
        return self.load > BUSY


@dataclass(frozen=True, slots=True)
class Report:
    """One measurement: the titles of all cases by their names, ours first, and their samples. `floors` are shown, and
    nothing is compared with them."""

    command: str
    machine: Machine
    titles: Mapping[str, str]
    ours: Sequence[str]
    peers: Sequence[str]
    rounds: Rounds
    floors: Sequence[str] = ()

    @property
    def count(self) -> int:
        return len(next(iter(self.rounds.values())))

    def summaries(self) -> dict[str, Summary]:
        return {name: summary(self.rounds[name]) for name in (*self.ours, *self.peers, *self.floors)}

    def ratios(self) -> list[Ratio]:
        return [ratio(case, peer, self.rounds) for case in self.ours for peer in self.peers]

    def verdicts(self) -> list[tuple[Target, Ratio, bool]]:
        return [(one, ratio(one.case, one.peer, self.rounds), reached(one, self.rounds)) for one in TARGETS]


def document(report: Report) -> dict[str, Any]:
    """JSON, version 1: everything, the single samples too."""
    targets = [
        {**asdict(target), "ratio": round(found.minimum, 3), "reached": met} for target, found, met in report.verdicts()
    ]
    return {**measured(report), "targets": targets}


def measured(report: Report) -> dict[str, Any]:
    """What every measurement's document has."""
    return {
        "version": 1,
        "command": report.command,
        "machine": asdict(report.machine),
        "rounds": report.count,
        "cases": [
            {"name": name, "title": report.titles[name], **rounded(asdict(one))}
            for name, one in report.summaries().items()
        ],
        "ratios": [rounded(asdict(one)) for one in report.ratios()],
        "samples": {
            name: [[round(sample.wall, 3), round(sample.cpu, 3)] for sample in samples]
            for name, samples in report.rounds.items()
        },
    }


def rounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}


def case_rows(report: Report, what: str = "/bin/true") -> Iterator[list[str]]:
    yield [f"{what}, ms", "minimum", "median", "p99", "CPU"]
    for name, one in report.summaries().items():
        yield [report.titles[name], *(f"{value:.1f}" for value in (one.minimum, one.median, one.p99, one.cpu))]


def ratio_rows(report: Report) -> Iterator[list[str]]:
    """One row for each of ours, one column for each peer: the paired ratio / the ratio of the minima."""
    yield ["paired / minima", *(f"× {name}" for name in report.peers)]
    found = {(one.case, one.peer): f"{one.paired:.2f} / {one.minimum:.2f}" for one in report.ratios()}
    for case in report.ours:
        yield [report.titles[case], *(found[case, peer] for peer in report.peers)]


def target_rows(report: Report) -> Iterator[list[str]]:
    yield ["target, by minimum", "at most", "is", ""]
    for target, found, met in report.verdicts():
        title = f"{report.titles[target.case]} / {target.peer}"
        yield [title, f"{target.most:.2f}", f"{found.minimum:.3f}", "reached" if met else "missed"]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table of text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def table(report: Report) -> str:
    """What a terminal shows."""
    return head(report) + "\n".join(columns(list(rows(report))) for rows in (case_rows, ratio_rows, target_rows))


def head(report: Report) -> str:
    machine = report.machine
    first = f"{report.count} rounds, commit {machine.commit}, load {machine.load:.2f} on {machine.cores} cores"
    busy = "The machine was busy: trust minima and CPU.\n" if machine.busy else ""
    return f"{first}\n{busy}\n"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    first, *others = rows
    lines = [first, ["---", *("---:" for _ in first[1:])], *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


ABOUT = """\
How long a launch takes from start to exit: `/bin/true` of one small root file system, started by volt and by what it
is compared with."""
FOUND = """\
![Start to exit of each launcher, from the minimum through the median to p99]({plot})

{cases}
CPU is the median of the user and system time of all processes that the command started, those too that outlived it.

### volt as a multiple of the others

The median of each round's own ratio / the ratio of the minima.

{ratios}
### Targets

By minimum, with volt's user namespace and filter on. {verdict}

{targets}
### How it is measured

- Each round starts every command once, in a new order, one after another; four rounds to warm up are not counted. A
  command that does not end with 0 stops the measurement.
- All have the same environment and root file system, `/dev/null` as input and output, and no network; only
  systemd-nspawn has the host's, its default. volt's manifest has a writable layer on a tmpfs.
- `volt run` and `python -m volt run` repeat one command, so that a version with a cache of plans serves them from it.
  `{first}` is a first run each time: in a state folder in which nothing ran before. `{later}` is a
  command line that is new each time, where others ran before: the compiled filter is kept, and no plan answers it.
- `{bare}` and `{isolated}` are Python alone, to its orderly end: `python -m volt run` is one of them,
  what `-m` imports, and `volt run`.
- `{performer}` is the static program performing a plan made beforehand: what remains of a launch
  when nothing has to be decided.
- `{open}` is `volt run` without Landlock and with a filter that permits everything: what these two walls cost.
- systemd-nspawn has its defaults but for `--register=no --keep-unit`, which it needs without systemd. crun has its
  example configuration, with podman's filter in it. podman and crun run with cgroups disabled, their fastest way, in a
  mount namespace without the machine's cgroups: crun refuses a mix of v1 and v2. bwrap has neither a filter nor limits.
"""


def facts(machine: Machine, rounds: int | None) -> str:
    """The rows of a table: of what and where it was measured. What is not timed has no rounds, and bears a load."""
    busy = ": busy, trust minima and CPU" if machine.busy and rounds else ""
    load = f"{machine.load:.2f} in the minute before{busy}"
    found = {
        "commit": machine.commit,
        "date": machine.date,
        **({"rounds": str(rounds)} if rounds else {}),
        "kernel": machine.kernel,
        "processor": f"{machine.processor}, {machine.cores} cores",
        "load": load,
        **machine.versions,
    }
    return "\n".join(f"| {name} | {value} |" for name, value in found.items())


def part(report: Report, plot: str) -> str:
    """Its part of docs/reference/benchmarks.md; `plot` is the picture's name beside it."""
    missed = sum(not met for _, _, met in report.verdicts())
    found = FOUND.format(
        plot=plot,
        cases=markdown(list(case_rows(report))),
        ratios=markdown(list(ratio_rows(report))),
        targets=markdown(list(target_rows(report))),
        verdict=f"{missed} of {len(TARGETS)} are missed." if missed else f"All {len(TARGETS)} are reached.",
        first=report.titles["first"],
        later=report.titles["later"],
        bare="python -c pass",
        isolated="python -I -S -c pass",
        performer=report.titles["performer"],
        open=report.titles["open"],
    )
    return section("Launching", ABOUT, report.command, facts(report.machine, report.count), found)
