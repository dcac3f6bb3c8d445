"""Which run a word means, for the verbs that look at one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.values import Value
from volt.runs.record import Record, parse_record
from volt.runs.sweep import runs

if TYPE_CHECKING:
    from volt.model.facts import Folders


class Looked(Value):
    """A run's record, and whether it lives."""

    record: Record
    lives: bool


def looked(folders: Folders, word: str) -> Looked:
    """The run that a name, an id or the beginning of an id means. Raises StateError."""
    found = _all(folders)
    by_id = [one for one in found if one.record.id == word]
    named = sorted((one for one in found if one.record.name == word), key=lambda one: (one.lives, one.record.started))
    begun = [one for one in found if word and one.record.id.startswith(word)]
    for which in (by_id, named[-1:], begun):
        if len(which) == 1:
            return which[0]
    if begun:
        raise StateError(f"'{word}' can mean {len(begun)} runs", hint="write more of the id")
    hint = "run it with sudo" if os.geteuid() else "volt ps -a lists them"
    raise StateError(f"no workload called '{word}' is running, and no run of it is kept", hint=hint)


def _all(folders: Folders) -> list[Looked]:
    ended = [
        Looked(parse_record(file.read_bytes(), file.parent.name), False)
        for file in Path(folders.run, "ended").glob("*/record.json")
    ]
    return [*ended, *(Looked(record, True) for record in runs(folders))]
