"""Booting an image's own init up to its default target: volt's hybrid-native, and systemd-nspawn --boot by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.figures import ratio
from bench.measure import Case
from bench.page import section
from bench.peers import COMMAND, find_program
from bench.report import Report, case_rows, columns, facts, head, markdown
from bench.world import World
from guest import cache, debian

SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus")
OURS, PEER = "boot", "nspawn-boot"
MOST = 1.05
WHAT = "to the default target"
# What is started last ends process 1 at once, with status 0: from start to exit is a boot and no shutdown.
REACHED = """\
[Unit]
Description=The default target is reached
After=multi-user.target graphical.target
SuccessAction=exit-force
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/true
"""
UNITS = "etc/systemd/system"
MANIFEST = """\
[workload]
name = "bench-boot"
mode = "hybrid-native"

[network]
mode = "none"

[storage]
rootfs = "{root}"
writable_layer = "tmpfs"
"""
NSPAWN = ("--boot", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network", "--quiet")
ABOUT = """\
How long an image of {packages} takes from start until its default target is reached, where a last unit ends process 1
at once."""
FOUND = """\
{cases}
### Target

By minimum; by the median of each round's own ratio it is {paired:.2f}.

{target}
### How it is measured

- Both boot one tree, Debian 12's {packages} and what they need, with an overlay on a tmpfs above it and no network.
- systemd-nspawn has its defaults but for `{options}`.
  It has no user namespace, no Landlock and no ids to map; volt has them all.
- Each round starts both once, in a new order.
"""


def cases(world: World) -> list[Case]:
    """Both, with the tree in place. Raises BenchFailed, GuestFailed."""
    root = world.folder / world.root.name
    debian.call(["cp", "--archive", tree(), root])
    file = world.folder / "boot.toml"
    file.write_text(MANIFEST.format(root=root))
    nspawn = ("systemd-nspawn", *NSPAWN, "-D", str(root))
    run = ("volt", "run", str(file))
    return [
        Case(OURS, "volt run, hybrid-native", COMMAND, run, environment=world.environment),
        Case(
            PEER,
            "systemd-nspawn --boot",
            find_program("systemd-nspawn", world.environment),
            nspawn,
            environment=world.environment,
        ),
    ]


def tree() -> Path:
    """The tree, built where it is missing: half a minute. Raises GuestFailed."""
    return cache.Cache(cache.folder()).get(f"bench-boot-{SUITE}", _build) / "root"


def _build(folder: Path) -> None:
    root = folder / "root"
    debian.bootstrap(SUITE, root, PACKAGES, variant="minbase")
    (root / UNITS / "reached.service").write_text(REACHED)
    wants = root / UNITS / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "reached.service").symlink_to("../reached.service")


def target_rows(report: Report) -> Iterator[list[str]]:
    found = ratio(OURS, PEER, report.rounds)
    yield ["target, by minimum", "at most", "is", ""]
    title = f"{report.titles[OURS]} / {report.titles[PEER]}"
    yield [title, f"{MOST:.2f}", f"{found.minimum:.3f}", "reached" if found.minimum <= MOST else "missed"]


def table(report: Report) -> str:
    """What a terminal shows."""
    return head(report) + "\n".join(columns(list(rows)) for rows in (case_rows(report, WHAT), target_rows(report)))


def part(report: Report) -> str:
    """Its part of docs/reference/benchmarks.md."""
    packages = ", ".join(PACKAGES)
    found = FOUND.format(
        cases=markdown(list(case_rows(report, WHAT))),
        paired=ratio(OURS, PEER, report.rounds).paired,
        target=markdown(list(target_rows(report))),
        packages=packages,
        options=" ".join(NSPAWN),
    )
    about = ABOUT.format(packages=packages)
    return section("Booting", about, report.command, facts(report.machine, report.count), found)
