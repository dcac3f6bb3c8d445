"""Ending what is left in a dead run's cgroup, and removing it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from volt.errors import StateError

DEADLINE = 5.0  # seconds that killed processes may take to leave
_PAUSE = 0.001
# The cgroup, or one below it, has been removed meanwhile: by another sweep, or by its supervisor.
_GONE = (errno.ENOENT, errno.ENODEV)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def end_cgroup(path: str, run: str) -> None:
    """SIGKILL to every process of the run's cgroup, and rmdir(2) of it and of what is below it.

    A record is believed only so far: the folder must be called volt-ID and lie in a cgroup v2 file
    system. Nothing there is no error. Raises StateError.
    """
    check_path(path, run)
    try:
        folder = os.open(path, _FLAGS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"run {run}: its cgroup cannot be opened: {error}") from error
    try:
        if os.fstat(folder).st_dev not in _devices():
            raise StateError(f"run {run}: its record names a cgroup where none is mounted: {path}")
        _end(path, folder)
    except OSError as error:
        raise StateError(f"run {run}: its cgroup {path} cannot be removed: {error.strerror}") from error
    finally:
        os.close(folder)


def check_path(path: str, run: str) -> None:
    """A record is believed only when its cgroup has the run's own name. Raises StateError."""
    if not path.startswith("/") or ".." in path.split("/") or path.rpartition("/")[2] != f"volt-{run}":
        raise StateError(f"run {run}: its record names a cgroup that is not its own: {path}")


def _devices(mountinfo: str = "/proc/self/mountinfo") -> set[int]:
    """The device numbers of cgroup v2, proc_pid_mountinfo(5)."""
    return {device for device, _ in _mounted(mountinfo)}


def mounts(mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """Where cgroup v2 is mounted whole; what is a part of it, as containers have it, is not this machine's to clear."""
    return [path for _, path in _mounted(mountinfo, whole=True)]


def _mounted(mountinfo: str, *, whole: bool = False) -> Iterator[tuple[int, str]]:
    with Path(mountinfo).open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                _, _, device, root, path = before.split(" ")[:5]
                major, minor = device.split(":")
                if not whole or root == "/":
                    yield os.makedev(int(major), int(minor)), path


def _end(path: str, folder: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while not _remove(path, folder, deadline):
        if time.monotonic() > deadline:
            raise TimeoutError(0, f"its processes are still there after {DEADLINE:.0f} s")
        _kill(folder)
        time.sleep(_PAUSE)


def remove_empty(path: str) -> None:
    """One without processes, and those below it. Nothing there is no error. Raises OSError."""
    with suppress(FileNotFoundError):
        folder = os.open(path, _FLAGS)
        try:
            if not _remove(path, folder, time.monotonic() + DEADLINE):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        finally:
            os.close(folder)


def _kill(folder: int) -> None:
    """cgroup.kill, cgroups(7): every process of the cgroup and below at once, those that fork meanwhile too.

    There since Linux 5.14; volt needs a newer one. Never process by process: a number that is read may be
    another process's by the time it is killed, and reads as 0 (which is this process's own group) for
    processes that this pid namespace does not see.
    """
    try:
        switch = os.open("cgroup.kill", os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return
    try:
        os.write(switch, b"1")
    except OSError as error:
        if error.errno not in _GONE:
            raise
    finally:
        os.close(switch)


def _remove(path: str, folder: int, deadline: float) -> bool:
    """With those below it, a cgroup's files go along; False while something is left."""
    return _remove_below(folder, deadline) and (_removed(path) or not os.path.lexists(path))


def _remove_below(folder: int, deadline: float) -> bool:
    """What is below goes first, from folder to folder: an image's init may have made more than a path is long."""
    here, depth, progress = os.dup(folder), 0, False
    try:
        while time.monotonic() < deadline:
            names = _folders(here)
            left = [name for name in names if not _removed(name, here)]
            progress = progress or len(left) < len(names)
            if not left and (depth == 0 or not progress):
                return depth == 0  # else it is nothing below which keeps this one
            with suppress(FileNotFoundError):
                other = os.open(left[0] if left else "..", _FLAGS, dir_fd=here)
                os.close(here)
                here, depth, progress = other, depth + (1 if left else -1), progress and not left
    finally:
        os.close(here)
    return False


def _folders(here: int) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(here) if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return []


def _removed(name: str, folder: int | None = None) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, *_GONE):
            raise
        return error.errno in _GONE
    return True
