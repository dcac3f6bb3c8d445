"""Sweeping: what a crash left is removed by the next command, and by two of them at once without harm.

A run's lock file is held by its supervisor for as long as that lives, made before all else and removed
last. So a run whose lock is free, or missing, is dead: its folder, cgroup and set-aside layer are rubbish.
"""

# What runs before every launch must not cost more than its system calls: no path objects.
# ruff: noqa: PTH108, PTH208

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.folders import NETWORKS_FOLDER, UIDS_FOLDER
from volt.model.values import Value
from volt.runs.claims import is_held, remove_dead, take_dead

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

_ID_LENGTH = 12
_HEX = frozenset("0123456789abcdef")
_LOCK = ".lock"
_ASIDE = ".old-"
_PRIVATE = ".run-"  # the layer of a run of --rm
_UNNAMED = ".claim-"
_ADDRESSES, _OF_NAMES = "addresses", ".names"
_MOST = 1 << 20


class Swept(Value):
    """The ids of the dead runs that were cleared away, and in words what could not be."""

    runs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def sweep(folders: Folders, *, uids: str = UIDS_FOLDER, networks: str = NETWORKS_FOLDER) -> Swept:
    """Remove what dead runs left: processes, cgroup, folder, set-aside layer, claims.

    Raises nothing: what cannot be removed, or not be understood, is left as it is and told. A caller who
    may not look into the folders sees nothing to sweep.
    """
    cleared, problems = [], []
    for run in _ids(folders):
        try:
            if _sweep_run(folders, run):
                cleared.append(run)
        except StateError as error:
            problems.append(f"{error.message}; it is left as it is, see {folders.run}/runs/{run}")
        except OSError as error:
            problems.append(f"run {run}: what is left of it cannot be removed: {_cause(error)}")
    for folder in (f"{folders.run}/runs", f"{folders.run}/names", uids, *network_folders(networks)):
        addresses = folder.endswith(f"/{_ADDRESSES}")
        problems += _sweep_claims(folder, named=folder != f"{folders.run}/runs", addresses=addresses)
    problems += _sweep_claims(f"{folders.state}/store/leases", named=True)
    _sweep_entries(f"{folders.state}/plans")
    return Swept(tuple(cleared), tuple(problems))


def address_folders(networks: str = NETWORKS_FOLDER) -> list[str]:
    """Where addresses are claimed: a folder for each network namespace."""
    return [f"{networks}/{name}/{_ADDRESSES}" for name in _names(networks)]


def network_folders(networks: str = NETWORKS_FOLDER) -> list[str]:
    """Where addresses are claimed, a folder for each network namespace, and names, one for each network."""
    folders = []
    for namespace in _names(networks):
        here = f"{networks}/{namespace}"
        folders += [f"{here}/{name}" for name in _names(here) if name == _ADDRESSES or name.endswith(_OF_NAMES)]
    return folders


def _ids(folders: Folders) -> list[str]:
    """Every run that has a lock, a folder, a set-aside layer or one of its own."""
    here = (name.removesuffix(_LOCK) for name in _names(f"{folders.run}/runs"))
    layers = _names(f"{folders.state}/layers")
    aside = (name.removeprefix(kind) for kind in (_ASIDE, _PRIVATE) for name in layers if name.startswith(kind))
    return sorted({name for names in (here, aside) for name in names if _is_id(name)})


def _is_id(name: str) -> bool:
    return len(name) == _ID_LENGTH and _HEX.issuperset(name)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _lock(folders: Folders, run: str) -> str:
    return f"{folders.run}/runs/{run}{_LOCK}"


def _sweep_run(folders: Folders, run: str) -> bool:
    """Clear away one run; False when it lives, or when another sweep is at it."""
    lock = _lock(folders, run)
    descriptor = take_dead(lock)
    if descriptor is None:
        if os.path.lexists(lock):
            return False
        return _clear(folders, run)
    try:
        _clear(folders, run)
        os.unlink(lock)
    finally:
        os.close(descriptor)
    return True


def _clear(folders: Folders, run: str) -> bool:
    """Processes first, the record last but for the lock: a sweep that is itself killed is taken up again.
    False when nothing was there any more."""
    from volt.runs.tree import remove_tree

    folder = f"{folders.run}/runs/{run}"
    layers = [f"{folders.state}/layers/{kind}{run}" for kind in (_ASIDE, _PRIVATE)]
    there = any(map(os.path.lexists, (folder, *layers)))
    record = _record(folders, run)
    if record:  # without one the launch had not come as far as its cgroup
        from volt.runs.cgroup import end_cgroup

        end_cgroup(record.cgroup, run)
        _remove_unfinished(folders, record)
        if record.log and not record.kept:
            remove_tree(record.log.rpartition("/")[0])
    for layer in layers:
        remove_tree(layer)
    if record and record.kept:
        from volt.runs.ended import end_kept

        end_kept(folders, record)
    remove_tree(folder)
    return there


def _remove_unfinished(folders: Folders, record: Record) -> None:
    """The layer's record of its root, killed between being written and getting its name."""
    if "/" not in record.name:
        with suppress(FileNotFoundError):
            os.unlink(f"{folders.state}/layers/{record.name}/root.new-{record.pid}")


def _record(folders: Folders, run: str) -> Record | None:
    """The run's record, None before it was written, or when a power failure left it empty: its processes and its
    cgroup went with the power. Raises StateError."""
    try:
        descriptor = os.open(f"{folders.run}/runs/{run}/record.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    from volt.runs.record import parse_record

    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_MOST)
    return parse_record(data, run) if data else None


def _sweep_entries(folder: str) -> None:
    """Entries of the plan cache whose writer was killed before they had their name: .NAME-PID."""
    for name in _names(folder):
        if name.startswith(".") and not os.path.lexists(f"/proc/{name.rpartition('-')[2]}"):
            with suppress(OSError):
                os.unlink(f"{folder}/{name}")


def _cause(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _sweep_claims(folder: str, *, named: bool, addresses: bool = False) -> list[str]:
    """Remove the claims in a folder whose holders have died, and files that never became a claim. What leads to the
    address of a dead one goes first."""
    problems = []
    for name in _names(folder):
        path = f"{folder}/{name}"
        try:
            if name.startswith(_UNNAMED):
                _remove_unnamed(path, name.removeprefix(_UNNAMED))
            elif named and not name.startswith("."):
                if addresses and os.path.lexists(path) and not is_held(path):
                    from volt.runs.retracting import remove_dead_address

                    remove_dead_address(folder, name)
                elif not addresses:
                    remove_dead(path)
        except OSError as error:
            problems.append(f"a claim cannot be removed: {_cause(error)}")
    return problems


def _remove_unnamed(path: str, pid: str) -> None:
    """Where there is no O_TMPFILE a claim first has the name of the process that makes it. This process makes
    none: it may become the one that does, and then must not find a dead one's in its place."""
    if pid.isdecimal() and (int(pid) == os.getpid() or not os.path.lexists(f"/proc/{pid}")):
        remove_dead(path)
