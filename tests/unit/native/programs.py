"""The programs of these tests: the static one and its C tests, compiled once for all workers of a run."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from volt.model.binary import encode
from volt.model.plan import LaunchPlan
from volt.native import build

HERE = Path(__file__).parent
C_TESTS = sorted(HERE.glob("test_*.c"))
# A sanitizer's report ends the program with a status that nothing else uses.
SANITIZED = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}


def names() -> list[str]:
    """Every C test by name."""
    return [name for path in C_TESTS for name in re.findall(r"^TEST\((\w+)\)", path.read_text(), re.MULTILINE)]


def files() -> list[Path]:
    """The program's sources and its C tests; runner.c holds main.c."""
    return [path for path in build.sources() if path.name != "main.c"] + [HERE / "runner.c", *C_TESTS]


def compiled(folder: Path, name: str, compile_to: Callable[[Path], None]) -> Path:
    """`folder`/`name`, compiled by whichever worker comes first."""
    target = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            compile_to(target)
    return target


def plan(
    host: Sequence[object] = (),
    guard: Sequence[object] = (),
    init: Sequence[object] = (),
    payload: Sequence[object] = (),
    inherited: Sequence[str] = (),
) -> LaunchPlan:
    """A plan of these steps."""
    return LaunchPlan("t", "container", tuple(host), tuple(guard), tuple(init), tuple(payload), tuple(inherited))


def memory_file(data: bytes, *, sealed: bool = False) -> int:
    """A memfd that holds `data`, for the caller to close; `sealed` as an env file is."""
    descriptor = os.memfd_create("t", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if sealed:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    return descriptor


def perform(
    program: Path, what: LaunchPlan | bytes, *, keep: Sequence[int] = (), within: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`volt perform FD` of a plan, or of bytes that claim to be one; `within` are words before it."""
    descriptor = memory_file(encode(what) if isinstance(what, LaunchPlan) else what)
    try:
        return subprocess.run(
            [*within, program, "perform", str(descriptor)],
            pass_fds=(descriptor, *keep),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**SANITIZED, "PATH": os.environ["PATH"]},
            check=False,
        )
    finally:
        os.close(descriptor)
