"""The writable layer of a workload, with the root that it lies on, as a new image."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from volt.api.comparing import is_kept
from volt.api.imaging import Progress, image_of, told
from volt.api.looking import looked
from volt.errors import StateError
from volt.host.folders import folders
from volt.images import records
from volt.images.config import ImageConfig, Layer
from volt.images.reference import URL, Reference, name
from volt.model.part import LAYER, LOWER
from volt.model.values import Value, replace
from volt.plan import root
from volt.runs.processes import GONE, status_of, tree_of
from volt.store.folder import read_folder
from volt.store.place import PREFIX, Store, make_store
from volt.store.transaction import Transaction
from volt.store.upper import LayerIntake, merged

if TYPE_CHECKING:
    from volt.images.records import Image
    from volt.model.folders import Folders
    from volt.runs.record import Record
    from volt.store.tree import Node

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Made(Value):
    """The open `upper` layer of the workload `name` and the root below it, a folder or the URL of a tree; owners are
    those inside plus `shift`."""

    name: str
    upper: int
    base: str
    shift: int = 0


def commit(workload: str, reference: str, *, devices: bool = False, progress: Progress | None = None) -> Image:
    """Make an image of what a workload has as its root now: of a run that lives, or of the layer that is kept of it.

    It gets the name `reference`, and what the image below says about itself is kept. `devices` takes devices and
    sockets over, which are refused by name otherwise; `progress` is called with the numbers of files and bytes so far.
    Raises StateError where there is no layer, StoreError, HostUnfit without root.
    """
    named = name(reference)
    with ExitStack() as opened:
        made = _found(folders(), workload, opened)
        with told(f"{made.name} cannot be committed"):
            return _commit(made, named, devices, progress)


def _commit(made: _Made, named: Reference, devices: bool, progress: Progress | None) -> Image:
    state = folders().state
    store = make_store(state)
    with Transaction(store) as transaction:
        intake = LayerIntake(transaction, made.shift, devices=devices, progress=progress)
        config, base = _base(made, store, intake)
        tree = merged(made.upper, base, intake)
        image = image_of(named, transaction.put_tree(tree), tree, f"workload {made.name}")
        image = replace(image, left_out=dict(intake.left_out), config=config)
        records.require_short(image)
        transaction.commit()
        records.write(state, image)
    return image


def _base(made: _Made, store: Store, intake: LayerIntake) -> tuple[ImageConfig | None, Node]:
    """What is below the layer, and what that says about itself, with one step more."""
    if not made.base.startswith(URL):
        return None, read_folder(made.base, intake)
    digest = made.base.removeprefix(URL).removeprefix(PREFIX)
    same = (one.config for one in records.images(folders().state) if one.digest == digest and one.config)
    config = next(same, None)
    if config:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        step = Layer(created, f"volt commit {made.name}")
        config = replace(config, created=created, history=(*config.history, step))
    return config, store.tree(digest)


def _found(where: Folders, word: str, opened: ExitStack) -> _Made:
    """Raises StateError."""
    try:
        found = looked(where, word)
    except StateError:
        if is_kept(where, word):  # a run in the foreground leaves its layer, and no record
            return _kept(where, word, opened)
        raise
    return _living(found.record, opened) if found.lives else _kept(where, found.record.name, opened)


def _living(record: Record, opened: ExitStack) -> _Made:
    """By way of the guard, which sees the layers beside the root that they make, as volt/api/comparing.py does."""
    _require_root_of_its_own(record.name, record.rootfs)
    try:
        guard = f"/proc/{status_of(tree_of(record).init)['PPid']}/root"
        upper = _open(f"{guard}{LAYER}/upper", opened)
    except FileNotFoundError:
        hint = 'storage.writable_layer = "none" made its root read-only'
        raise StateError(f"{record.name} has no writable layer", hint=hint) from None
    except (KeyError, *GONE) as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    base = record.rootfs if record.rootfs.startswith(URL) else f"{guard}{LOWER}"
    return _Made(record.name, upper, base, record.uids)


def _kept(where: Folders, workload: str, opened: ExitStack) -> _Made:
    if not is_kept(where, workload):
        hint = 'storage.writable_layer = "overlay" keeps one'
        raise StateError(f"of {workload} no writable layer is left: it had none, or one in memory", hint=hint)
    folder = Path(where.state, "layers", workload)
    upper = _open(str(folder / "upper"), opened)
    try:
        written = json.loads((folder / "root").read_bytes())
        base, inode = str(written["root"]), written["inode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{folder}/root does not say what the layer of {workload} was made on") from error
    _require_root_of_its_own(workload, base)
    if not base.startswith(URL) and _inode(base) != inode:
        hint = "put that folder back, or discard the layer with volt run --fresh"
        raise StateError(f"{base} is not the folder on which the layer of {workload} was made", hint=hint)
    return _Made(workload, upper, base)


def _require_root_of_its_own(workload: str, base: str) -> None:
    if base == root.HOST:
        hint = "commit one whose root is an image or a folder"
        raise StateError(f"{workload} has the host's own /usr as its root, which is no image's", hint=hint)


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return -1


def _open(path: str, opened: ExitStack) -> int:
    descriptor = os.open(path, _FLAGS)
    opened.callback(os.close, descriptor)
    return descriptor
