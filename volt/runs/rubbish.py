"""What crashes, reboots and time have left: found, told, and removed."""

# ruff: noqa: PTH116, PTH208 (as in the rest of this room)

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.folders import UIDS_FOLDER
from volt.model.run import Cleared, Rubbish
from volt.runs.cgroup import mounts, remove_empty
from volt.runs.claims import is_held
from volt.runs.removal import ASIDE, remove_run
from volt.runs.states import is_id
from volt.runs.sweep import network_folders, sweep
from volt.runs.tree import remove_tree

if TYPE_CHECKING:
    from volt.model.folders import Folders

SETTLED = 60  # seconds before an empty cgroup is nobody's: a launch makes it, and then its first process
DEAD = "its supervisor has died"


def clear(folders: Folders, older_than: int, *, dry: bool = False) -> Cleared:
    """Remove what dead runs left; records and logs of runs that have ended more than `older_than` seconds ago; logs as
    old without a record; empty cgroups of runs that are gone. With `dry` nothing is removed.

    What cannot be removed is a problem, in words, and keeps nothing else from being removed.
    """
    found = tuple(_rubbish(folders, older_than))
    if dry:
        return Cleared(found)
    problems = [*sweep(folders).problems]
    for one in found:
        try:
            _remove(folders, one)
        except StateError as error:
            problems.append(error.message)
        except OSError as error:
            problems.append(f"{one.path} cannot be removed: {error.strerror}")
    return Cleared(tuple(one for one in found if not os.path.lexists(one.path)), tuple(problems))


def _remove(folders: Folders, one: Rubbish) -> None:
    """What the sweep does not take."""
    if one.kind == "ended":
        remove_run(folders, one.run)
    elif one.kind in ("log", "aside"):
        remove_tree(one.path)
    elif one.kind == "cgroup":
        remove_empty(one.path)


def _rubbish(folders: Folders, older_than: int) -> Iterator[Rubbish]:
    now = time.time()
    yield from _dead(folders)
    yield from _claims(folders)
    for name in _names(f"{folders.run}/ended"):
        path = f"{folders.run}/ended/{name}"
        if name.startswith(ASIDE):
            yield Rubbish("aside", path, name.removeprefix(ASIDE), "its removal was not finished")
        elif is_id(name) and (age := _age(f"{path}/outcome.json", now)) is not None and age >= older_than:
            yield Rubbish("ended", path, name, f"it ended {age} seconds ago")
    for name in _names(folders.log):
        path = f"{folders.log}/{name}"
        known = any(os.path.lexists(f"{folders.run}/{place}/{name}") for place in ("runs", "ended"))
        if is_id(name) and not known and (age := _age(_newest(path), now)) is not None and age >= older_than:
            yield Rubbish("log", path, name, "nothing else is left of its run")
    yield from _cgroups(folders, now)


def _dead(folders: Folders) -> Iterator[Rubbish]:
    """What every command sweeps: runs whose supervisor has died, and layers that were set aside or were theirs."""
    runs = {name.removesuffix(".lock") for name in _names(f"{folders.run}/runs")}
    for run in sorted(filter(is_id, runs)):
        if not is_held(f"{folders.run}/runs/{run}.lock"):
            yield Rubbish("run", f"{folders.run}/runs/{run}", run, DEAD)
    for name in _names(f"{folders.state}/layers"):
        for kind in (ASIDE, ".run-"):
            run = name.removeprefix(kind)
            if name != run and is_id(run) and not is_held(f"{folders.run}/runs/{run}.lock"):
                yield Rubbish("layer", f"{folders.state}/layers/{name}", run, DEAD)


def _claims(folders: Folders) -> Iterator[Rubbish]:
    for folder in (f"{folders.run}/names", UIDS_FOLDER, *network_folders()):
        for name in _names(folder):
            path = f"{folder}/{name}"
            if not name.startswith(".") and os.path.lexists(path) and not is_held(path) and os.path.lexists(path):
                yield Rubbish("claim", path, "", "who held it has died")


def _cgroups(folders: Folders, now: float) -> Iterator[Rubbish]:
    """Empty ones alone: one that holds a process may be a run's of another state than this."""
    for root in mounts():
        for here, below, _ in os.walk(root):
            for name in [name for name in below if name.startswith("volt-")]:
                run, path = name.removeprefix("volt-"), f"{here}/{name}"
                if is_id(run):
                    below.remove(name)
                    if not _lives(folders, run) and _is_empty(path) and (_age(path, now) or 0) >= SETTLED:
                        yield Rubbish("cgroup", path, run, "it is empty, and its run is gone")


def _lives(folders: Folders, run: str) -> bool:
    return is_held(f"{folders.run}/runs/{run}.lock")


def _is_empty(cgroup: str) -> bool:
    try:
        with open(f"{cgroup}/cgroup.events", encoding="ascii") as file:  # noqa: PTH123
            return "populated 0" in file.read().splitlines()
    except OSError:
        return False


def _age(path: str, now: float) -> int | None:
    """Whole seconds since it was written, None where it is not there."""
    try:
        return max(0, int(now - os.stat(path).st_mtime))
    except OSError:
        return None


def _newest(folder: str) -> str:
    """What was written there last; the folder itself where nothing is in it."""
    paths = [folder, *(f"{folder}/{name}" for name in _names(folder))]
    times: dict[str, float] = {}
    for path in paths:
        with suppress(OSError):
            times[path] = os.lstat(path).st_mtime
    return max(times, key=times.__getitem__, default=folder)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
