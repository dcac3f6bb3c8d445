"""The programs and libraries that a launch uses: found at known places, never through the caller's PATH."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
_SHARED = re.compile(r"libsystemd-shared-(\d+)\b.*\.so")
_VERSION = re.compile(r"systemd (\d+)")


def libraries(architecture: str) -> tuple[str, ...]:
    """Where a distribution keeps this architecture's libraries: Debian's way, Fedora's, everyone's."""
    return f"/usr/lib/{architecture}-linux-gnu", "/usr/lib64", "/usr/lib", "/lib"


def places(name: str) -> tuple[str, ...]:
    """Where a program is looked for."""
    return tuple(f"{folder}/{name}" for folder in PROGRAMS)


def find_program(name: str, folders: Sequence[str] = PROGRAMS) -> str:
    """The absolute path of a program that belongs to root and that nobody else can write; "" for none."""
    for folder in folders:
        path = f"{folder}/{name}"
        try:
            status = Path(path).stat()
        except OSError:
            continue
        if _trusted(status) and status.st_mode & stat.S_IXUSR:
            return path
    return ""


def _trusted(status: os.stat_result) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISREG(status.st_mode) and status.st_uid == 0 and not status.st_mode & others


def systemd_version(program: str, folders: Sequence[str]) -> int:
    """systemd's number, 0 without a program.

    systemd-nspawn loads the private library that bears its version: one such file tells it without
    starting anything. Where there is none, or several of an unfinished upgrade, the program is asked.
    """
    if not program:
        return 0
    numbers = {
        int(match[1])
        for folder in folders
        for path in (folder, f"{folder}/systemd")
        for match in map(_SHARED.fullmatch, _names(path))
        if match
    }
    return numbers.pop() if len(numbers) == 1 else _asked(program)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a library folder has thousands of names: no object for each)
    except OSError:
        return []


def _asked(program: str) -> int:
    import subprocess

    try:
        done = subprocess.run(
            [program, "--version"],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.match(done.stdout.decode(errors="replace"))
    return int(match[1]) if match else 0


def find_library(name: str, folders: Sequence[str]) -> str:
    """The path of a shared library, "" for none. Not by ldconfig(8), which costs more than the launch."""
    return next((path for path in (f"{folder}/{name}" for folder in folders) if Path(path).is_file()), "")


def static_program(package: Path = Path(__file__).parents[1]) -> str:
    """The static program beside the package's C sources, "" when it has not been built."""
    path = package / "native" / "volt"
    return str(path) if path.is_file() and os.access(path, os.X_OK) else ""
