"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import volt
from bench import (
    boot,
    imports,
    life,
    life_report,
    limits,
    memory,
    network,
    network_report,
    page,
    peers,
    plot,
    report,
    store,
    store_report,
    throughput,
    validate,
)
from bench.measure import BenchFailed, Measure, interleaved
from bench.world import world

TOP = Path(__file__).parents[1]
REFERENCE = TOP / "docs/reference"
PAGE, PLOT = "benchmarks.md", "benchmarks.svg"


def main(arguments: list[str]) -> int:
    """The exit status: 1 when a measurement failed, which is then told on standard error."""
    options = parser().parse_args(arguments)
    try:
        return int(options.verb(options))
    except BenchFailed as failed:
        sys.stderr.write(f"scripts/bench: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="scripts/bench", description="Measure volt. Needs root.")
    verbs = top.add_subparsers(required=True, metavar="launch|boot|memory|life|network|store|validate|limits|imports")
    launch = verbs.add_parser("launch", help="start to exit, against nspawn, crun, podman and bwrap")
    launch.add_argument("--rounds", type=positive, default=100, metavar="N", help="how many (100)")
    launch.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE} and its plot")
    launch.set_defaults(verb=measure_launch)
    booted = verbs.add_parser("boot", help="up to an image's default target, against systemd-nspawn --boot")
    booted.add_argument("--rounds", type=positive, default=20, metavar="N", help="how many (20)")
    booted.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    booted.set_defaults(verb=measure_boot)
    idle = verbs.add_parser("memory", help="what stays beside a sleeping payload, against nspawn and podman")
    idle.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    idle.set_defaults(verb=measure_memory)
    living = verbs.add_parser("life", help="detached, listed, entered, read, stopped, against podman")
    living.add_argument("--rounds", type=positive, default=10, metavar="N", help="how many (10)")
    living.add_argument("--workloads", type=positive, default=300, metavar="N", help="that volt keeps running (300)")
    living.add_argument("--peers", type=positive, default=100, metavar="N", help="that podman keeps running (100)")
    living.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    living.set_defaults(verb=measure_life)
    connected = verbs.add_parser("network", help="bridge and published ports, against podman and a bare veth")
    connected.add_argument("--rounds", type=positive, default=20, metavar="N", help="how many (20)")
    connected.add_argument("--workloads", type=positive, default=300, metavar="N", help="that volt launches (300)")
    connected.add_argument("--peers", type=positive, default=30, metavar="N", help="that podman launches (30)")
    connected.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    connected.set_defaults(verb=measure_network)
    stored = verbs.add_parser("store", help="images in, on disk and as roots, against cp, ostree, umoci and podman")
    stored.add_argument("--rounds", type=positive, default=10, metavar="N", help="how many (10)")
    stored.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    stored.set_defaults(verb=measure_store)
    manifests = verbs.add_parser("validate", help="manifests a second, against tomli and pydantic alone")
    manifests.add_argument("--rounds", type=positive, default=20, metavar="N", help="how many (20)")
    manifests.add_argument("--write", action="store_true", help=f"write docs/reference/{PAGE}")
    manifests.set_defaults(verb=measure_validate)
    limited = verbs.add_parser("limits", help="what [resources] adds, where cgroup v2 has the controllers")
    limited.add_argument("--rounds", type=positive, default=40, metavar="N", help="how many (40)")
    limited.set_defaults(verb=measure_limits)
    modules = verbs.add_parser("imports", help="what volt run imports up to the hand-over")
    modules.add_argument("--rounds", type=positive, default=5, metavar="N", help="the least of N runs (5)")
    modules.set_defaults(verb=measure_imports)
    for verb in (launch, booted, idle, living, connected, stored, manifests, limited, modules):
        verb.add_argument("--json", action="store_true", help="print a JSON document")
    return top


def positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def measure_launch(options: argparse.Namespace) -> int:
    where = machine()  # before the measurement makes a load of its own
    with world() as own, Measure(own.folder) as measure:
        cases = peers.cases(own)
        rounds = interleaved(cases, options.rounds, measure, progress(options.rounds))
    titles = {case.name: case.title for case in cases}
    done = report.Report(command("launch", options), where, titles, peers.OURS, peers.PEERS, rounds, peers.FLOORS)
    if options.write:
        write("launch", report.part(done, PLOT))
        (REFERENCE / PLOT).write_text(plot.svg(done))
    show(json.dumps(report.document(done)) if options.json else report.table(done))
    return 0


def measure_boot(options: argparse.Namespace) -> int:
    where = machine()
    with world() as own, Measure(own.folder) as measure:
        cases = boot.cases(own)
        rounds = interleaved(cases, options.rounds, measure, progress(options.rounds))
    titles = {case.name: case.title for case in cases}
    done = report.Report(command("boot", options), where, titles, (boot.OURS,), (boot.PEER,), rounds)
    if options.write:
        write("boot", boot.part(done))
    show(json.dumps(report.measured(done)) if options.json else boot.table(done))
    return 0


def measure_memory(options: argparse.Namespace) -> int:
    where = machine()
    with world() as own:
        peers.root_file_system(own.root)
        idle = memory.measure(own)
    if options.write:
        write("memory", memory.part(command("memory", options), where, idle))
    show(json.dumps(memory.document(idle)) if options.json else report.columns(list(memory.rows(idle))))
    return 0


def measure_life(options: argparse.Namespace) -> int:
    where = machine()
    with world() as own:
        peers.root_file_system(own.root)
        told = progress(options.rounds)
        found = life.measure(own, options.rounds, options.workloads, options.peers, told)
    if options.write:
        write("life", life_report.part(command("life", options), where, found))
    show(json.dumps(life_report.document(found)) if options.json else life_report.table(found))
    return 0


def measure_network(options: argparse.Namespace) -> int:
    where = machine(debian=network.PACKAGES)
    with world() as own:
        found = network.measure(own, options.rounds, options.workloads, options.peers, progress(options.rounds))
    if options.write:
        write("network", network_report.part(command("network", options), where, found))
    show(json.dumps(network_report.document(found)) if options.json else network_report.table(found))
    return 0


def measure_store(options: argparse.Namespace) -> int:
    where = machine(debian=store.PACKAGES)
    with world() as own:
        found = store.measure(own, options.rounds, progress(options.rounds))
    if options.write:
        write("store", store_report.part(command("store", options), where, found))
    show(json.dumps(store_report.document(found)) if options.json else store_report.table(found))
    return 0


def measure_validate(options: argparse.Namespace) -> int:
    where = machine("pydantic", "pydantic-core", "tomli")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        cases = validate.cases(validate.manifests(Path(folder)))
        rounds = interleaved(cases, options.rounds, validate.once, progress(options.rounds))
    done = report.Report(command("validate", options), where, validate.TITLES, validate.OURS, validate.PEERS, rounds)
    if options.write:
        write("validate", throughput.part(done))
    show(json.dumps(throughput.document(done)) if options.json else throughput.table(done))
    return 0


def measure_limits(options: argparse.Namespace) -> int:
    where = machine("jeepney")
    with world() as own, Measure(own.folder) as measure:
        rounds = interleaved(limits.cases(own), options.rounds, measure, progress(options.rounds))
    done = report.Report(command("limits", options), where, limits.TITLES, limits.OURS, limits.PEERS, rounds)
    show(json.dumps(report.measured(done)) if options.json else limits.table(done))
    return 0


def command(verb: str, options: argparse.Namespace) -> str:
    rounds = f" --rounds={options.rounds}" if "rounds" in options else ""
    return f"scripts/bench {verb}{rounds}" + (" --write" if vars(options).get("write") else "")


def write(part: str, text: str) -> None:
    path = REFERENCE / PAGE
    path.write_text(page.renewed(path.read_text(), part, text))


def measure_imports(options: argparse.Namespace) -> int:
    with world() as own:
        manifest = peers.manifest(own)
        modules = imports.measure(manifest, own.environment, options.rounds)
    show(json.dumps(imports.document(modules)) if options.json else imports.table(modules))
    return 0


def show(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


def progress(rounds: int) -> Callable[[int], None]:
    """Tells a terminal how far it is."""

    def tell(number: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rround {number} of {rounds}" if number < rounds else "\r\033[K")

    return tell


def machine(*distributions: str, debian: Sequence[str] = peers.PACKAGES) -> report.Machine:
    """This one; with the versions of Python packages, or else of the Debian packages that take part."""
    return report.Machine(
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        kernel=f"Linux {platform.release()} {platform.machine()}",
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        versions=packages(distributions) if distributions else peers.versions(debian),
    )


def packages(distributions: Sequence[str]) -> dict[str, str]:
    own = {"volt": f"{volt.__version__} on Python {platform.python_version()}"}
    return own | {name: metadata.version(name) for name in distributions}


def commit() -> str:
    """The tree's, and whether what is measured differs from it."""
    head = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "volt", "profiles")
    return (head or "unknown") + (", with changes" if changed else "")


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(TOP), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
