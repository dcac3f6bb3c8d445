"""Removing what is kept of runs that have ended: records, logs, and a workload's kept layer."""

# ruff: noqa: PTH103, PTH104, PTH108, PTH112 (as in the rest of this room)

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.runs.claims import take
from volt.runs.tree import remove_tree

if TYPE_CHECKING:
    from volt.model.folders import Folders

ASIDE = ".old-"


def remove_run(folders: Folders, run: str) -> None:
    """The log of a run that has ended, then its record: as long as there is anything of it, it is found.

    What is gone already is no error: two may remove the same. Raises StateError.
    """
    ended = f"{folders.run}/ended"
    aside = f"{ended}/{ASIDE}{run}"
    try:
        remove_tree(f"{folders.log}/{run}")
        try:
            os.rename(f"{ended}/{run}", aside)
        except FileNotFoundError:
            return
        remove_tree(aside)
    except OSError as error:
        raise StateError(f"run {run} cannot be removed: {error}") from error


def has_layer(folders: Folders, name: str) -> bool:
    """Whether a workload has a writable layer that outlives its runs."""
    return bool(name) and not name.startswith(".") and "/" not in name and os.path.isdir(_layer(folders, name))


def remove_layer(folders: Folders, name: str) -> bool:
    """Remove the kept layer of a workload; False where it has none. Its name is claimed meanwhile: nothing is launched
    on a layer that goes. Raises StateError where the workload runs."""
    if not has_layer(folders, name):
        return False
    try:
        os.makedirs(f"{folders.run}/names", 0o700, exist_ok=True)
        claim = take(f"{folders.run}/names", name, f'{{"run":"rm","pid":{os.getpid()},"name":"{name}"}}\n')
        if claim is None:
            raise StateError(f"{name} is running, and keeps its layer", hint="volt rm --force stops it first")
        aside = f"{folders.state}/layers/{ASIDE}{secrets.token_hex(6)}"
        try:
            os.rename(_layer(folders, name), aside)
        finally:
            os.unlink(f"{folders.run}/names/{name}")
            os.close(claim)
        remove_tree(aside)
    except OSError as error:
        raise StateError(f"the layer of {name} cannot be removed: {error}") from error
    return True


def _layer(folders: Folders, name: str) -> str:
    return f"{folders.state}/layers/{name}"
