"""Pausing a run: its cgroup is frozen, and thawed again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from volt.errors import HostUnfit, StateError
from volt.model.values import replace
from volt.runs.cgroup import check_path
from volt.runs.processes import between_starts
from volt.runs.supervisor import hold

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState
    from volt.runs.record import Record

SECONDS = 5.0  # that a cgroup may take to freeze: one process in uninterruptible sleep holds it up
_PAUSE = 0.002


def pause(folders: Folders, state: RunState) -> RunState:
    """The run, paused. Raises StateError where it does not run or cannot be paused, HostUnfit."""
    if state.state == "paused":
        raise StateError(f"{state.name} is paused already", hint="volt unpause lets it go on")
    if state.state == "restarting":
        raise StateError(f"{state.name} is between two starts", hint="volt ps tells when the next one is")
    freeze(_record(folders, state))
    return replace(state, state="paused")


def unpause(folders: Folders, state: RunState) -> RunState:
    """The run, no longer paused. Raises StateError where it is not, HostUnfit."""
    if state.state == "running":
        raise StateError(f"{state.name} is not paused")
    thaw(_record(folders, state))
    return replace(state, state="running")


def _record(folders: Folders, state: RunState) -> Record:
    """The record of a run whose supervisor lives: a number in a dead one's is nobody's. Raises StateError."""
    supervisor = hold(folders, state.id) if state.lives else None
    if supervisor is None:
        raise StateError(f"{state.name} has ended", hint="volt ps lists what runs")
    with supervisor:
        return supervisor.record


def freeze(record: Record) -> None:
    """Stop every process of the run where it is, cgroup.freeze of cgroups(7). Returns when all of them have stopped;
    where they do not in time they run on. Raises StateError, HostUnfit."""
    _write(record, frozen=True)
    deadline = time.monotonic() + SECONDS
    while not _has_frozen(record):
        if time.monotonic() > deadline:
            _write(record, frozen=False)
            raise StateError(f"{record.name} could not be paused within {SECONDS:.0f} seconds, and runs on")
        time.sleep(_PAUSE)


def thaw(record: Record) -> None:
    """Let every process of the run go on. Raises StateError, HostUnfit."""
    _write(record, frozen=False)


def _write(record: Record, *, frozen: bool) -> None:
    check_path(record.cgroup, record.id)
    try:
        Path(record.cgroup, "cgroup.freeze").write_text(f"{frozen:d}\n")
    except FileNotFoundError as error:
        raise between_starts(record) or StateError(f"{record.name} has ended meanwhile") from error
    except PermissionError as error:
        raise HostUnfit("pausing a workload needs root", hint="run it with sudo") from error
    except OSError as error:
        raise StateError(f"{record.name}: its cgroup takes no cgroup.freeze: {error.strerror}") from error


def _has_frozen(record: Record) -> bool:
    """cgroup.events, Documentation/admin-guide/cgroup-v2.rst. Raises StateError."""
    try:
        return "frozen 1" in Path(record.cgroup, "cgroup.events").read_text().splitlines()
    except OSError as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
