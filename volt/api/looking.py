"""Which run a word means, for the verbs that look at one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volt.errors import HostUnfit, NoSuchRun, StateError
from volt.model.values import Value
from volt.runs.find import find
from volt.runs.record import Record
from volt.runs.states import look, named_run, read_record

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState


class Looked(Value):
    """A run's record, and whether it lives."""

    record: Record
    lives: bool


def require_root() -> None:
    """Raises HostUnfit: records are root's."""
    if os.geteuid() != 0:
        raise HostUnfit("looking at a workload needs root", hint="run it with sudo")


def looked(folders: Folders, word: str) -> Looked:
    """The run that a name, an id or the beginning of an id means. Raises StateError, HostUnfit without root."""
    require_root()
    # One that lives is found by its claim: the records of all the others need not be read.
    run = named_run(folders, word)
    if run and (record := read_record(f"{folders.run}/runs/{run}", run)):
        return Looked(record, True)
    state = find(look(folders), word)
    found = _record(folders, state)
    if found is None:
        raise StateError(f"{state.name} has been removed meanwhile")
    return Looked(found, state.lives)


def running(folders: Folders, word: str) -> Record:
    """As `looked`, of a run that lives. Raises NoSuchRun too."""
    found = looked(folders, word)
    if not found.lives:
        raise NoSuchRun(f"{found.record.name} has ended", hint="volt ps lists what runs")
    return found.record


def living(folders: Folders) -> list[Record]:
    """The records of the runs that live, oldest first; what cannot be read of others is for `ps` to tell."""
    records = (_record(folders, state) for state in look(folders).runs if state.lives)
    return [record for record in records if record]


def _record(folders: Folders, state: RunState) -> Record | None:
    """Wherever it lies: one that has ended meanwhile has moved."""
    for folder in ("runs", "ended"):
        if record := read_record(f"{folders.run}/{folder}/{state.id}", state.id):
            return record
    return None
