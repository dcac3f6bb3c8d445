"""Runs that have ended and are kept: the folder of each, with its record and its outcome, until it is removed."""

# What runs before every launch must not cost more than its system calls: no path objects.

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from volt.model.run import LOST, RESTARTED, Outcome
from volt.model.values import kinds
from volt.runs.boot import is_of_this_boot

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

OUTCOME = "outcome.json"
VOLT_FAILED = 125


def ended_folder(folders: Folders, run: str) -> str:
    return f"{folders.run}/ended/{run}"


def lost(record: Record) -> Outcome:
    """The outcome of a run whose supervisor did not come to write one. Raises OSError."""
    message = LOST if is_of_this_boot(record) else RESTARTED
    return Outcome(by="volt", status=VOLT_FAILED, message=message)


def end_kept(folders: Folders, record: Record) -> None:
    """What the supervisor of a kept run did not come to: its outcome, and its folder's move. Raises OSError."""
    folder = f"{folders.run}/runs/{record.id}"
    path = f"{folder}/{OUTCOME}"
    if not os.path.lexists(path):
        temporary, outcome = f"{path}.new", lost(record)
        with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 (as above)
            file.write(json.dumps({"version": 1, **{name: getattr(outcome, name) for name in kinds(Outcome)}}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)  # noqa: PTH104 (as above)
    os.makedirs(f"{folders.run}/ended", 0o700, exist_ok=True)  # noqa: PTH103 (as above)
    os.rename(folder, ended_folder(folders, record.id))  # noqa: PTH104 (as above)
