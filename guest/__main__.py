"""The command line of scripts/ci-vm."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from guest import GuestFailed, cache, qemu, tree
from guest.image import SUITES, TOP, TREE, image
from guest.kvm import usable
from guest.qemu import Channels
from guest.run import Request, passed_on, run, shell

FOLDERS = ("tests/vm", "tests/host", "tests/attack")
QUICK, LONG = 3600.0, 7200.0  # seconds: the deadline of what is marked, and of everything


def main(words: list[str]) -> int:
    """pytest's exit status; 1 when the guest failed, which is then told on standard error."""
    options, pytest = parser().parse_known_args(words)
    try:
        with machine(options) as argv:
            return shell(argv) if options.shell else run_tests(argv, options, pytest)
    except GuestFailed as failed:
        sys.stderr.write(f"scripts/ci-vm: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="scripts/ci-vm",
        usage="scripts/ci-vm [options] [pytest's files and options]",
        description="Run tests in a Debian guest: the files, or tests/vm and those of host and attack marked `kernel`.",
        allow_abbrev=False,
    )
    top.add_argument("--suite", choices=SUITES, default="trixie", help="Debian's release (trixie)")
    top.add_argument("--long", action="store_true", help="every test of host and attack, not only those marked")
    top.add_argument(
        "--deadline", type=float, metavar="SECONDS", help=f"end the guest then ({QUICK:.0f}; with --long {LONG:.0f})"
    )
    top.add_argument("--junitxml", type=Path, metavar="FILE", help="write pytest's results there")
    top.add_argument(
        "--shell",
        action="store_true",
        help=f"no tests: root's shell in the guest, the work tree in /{TREE}; ends by poweroff",
    )
    return top


@contextmanager
def machine(options: argparse.Namespace) -> Iterator[Callable[[Channels], list[str]]]:
    """The command line of a guest with the work tree as it is now; what is missing is built. Raises GuestFailed."""
    kept = cache.Cache(cache.folder())
    suite, program = image(SUITES[options.suite], kept), qemu.program(kept)
    with tempfile.TemporaryDirectory(prefix="ci-vm-") as folder:
        archive = Path(folder, "tree.tar")
        tree.pack(TOP, archive)
        os.environ["TMPDIR"] = folder  # where QEMU keeps what the guest writes
        fast = usable(kept.folder / "kvm")
        yield lambda channels: [*program, *qemu.arguments(suite, archive, channels, kvm=fast, shell=options.shell)]


def run_tests(argv: Callable[[Channels], list[str]], options: argparse.Namespace, pytest: list[str]) -> int:
    """pytest's exit status."""
    environment = passed_on() | {"COLUMNS": str(shutil.get_terminal_size().columns)}
    request = Request(arguments(pytest, long=options.long), environment)
    answer = run(argv, request, options.deadline or (LONG if options.long else QUICK), sys.stdout.buffer)
    if options.junitxml:
        options.junitxml.write_text(answer.junit)
    return answer.status


def arguments(pytest: list[str], *, long: bool) -> tuple[str, ...]:
    """pytest's, with the files that are meant where none is named."""
    color = ["--color=yes"] if sys.stdout.isatty() else []
    if any((TOP / word.partition("::")[0]).exists() for word in pytest):
        return (*color, *pytest)
    folders = [folder for folder in FOLDERS if any((TOP / folder).glob("test_*.py"))]
    return (*color, *([] if long else ["-m", "kernel"]), *pytest, *folders)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
