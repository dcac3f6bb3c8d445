"""What a run has changed in its root."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from volt.api.looking import looked
from volt.errors import HostUnfit, StateError
from volt.host.folders import folders
from volt.model.diff import Change
from volt.model.part import LAYER, LOWER, SKELETON
from volt.plan import root
from volt.runs.layer import Layer
from volt.runs.processes import GONE, status_of, tree_of

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.runs.record import Record

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What the generated lower layer holds, for a run that has ended and taken it along: volt/plan/root.py.
GENERATED = frozenset((*root.MOUNT_POINTS, "tmp", "dev/shm", "etc/hostname", "etc/hosts", "etc/resolv.conf"))
ACCOUNTS = ("root", "var/tmp", "etc/passwd", "etc/group", "etc/nsswitch.conf")
FRESH = frozenset((*root.HOST_FOLDERS, *root.HOST_LINKS, *root.HOST_VAR_LINKS, *ACCOUNTS))


class Diff:
    """The changes of one workload: iterate over it once, then `problems` says in words what could not be looked at. A
    context manager, for whoever stops in between."""

    def __init__(self, name: str, layer: Layer, opened: ExitStack, problems: tuple[str, ...] = ()) -> None:
        self.name, self.problems = name, problems
        self._layer, self._opened = layer, opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __iter__(self) -> Iterator[Change]:
        """Folders before what is in them. Raises StateError when the run ends meanwhile and takes its layer along."""
        with self:
            yield from self._layer
        deep = (f"{path} lies too deep: what is in it is not looked at" for path in self._layer.skipped)
        self.problems = (*self.problems, *deep)


def diff(name: str) -> Diff:
    """What the workload `name` has changed in its root since its writable layer was made: of a run that lives, or of
    the layer that is kept of it. Raises StateError where there is none, HostUnfit without root."""
    if os.geteuid() != 0:
        raise HostUnfit("looking into a writable layer needs root", hint="run it with sudo")
    where = folders()
    try:
        found = looked(where, name)
    except StateError:
        if is_kept(where, name):  # a run in the foreground leaves its layer, and no record
            return _kept(where, name)
        raise
    return _living(found.record) if found.lives else _kept(where, found.record.name)


def _living(record: Record) -> Diff:
    """By way of the guard, which sees the layers beside the root that they make: a workload sees only that."""
    opened = ExitStack()
    try:
        guard = f"/proc/{status_of(tree_of(record).init)['PPid']}/root"
        try:
            upper = _open(f"{guard}{LAYER}/upper", opened)
        except FileNotFoundError:
            hint = 'storage.writable_layer = "none" made its root read-only'
            raise StateError(f"{record.name} has no writable layer", hint=hint) from None
        there = [path for path in (LOWER, SKELETON) if Path(f"{guard}{path}").is_dir()]
        lowers = tuple(_open(f"{guard}{path}", opened) for path in there)
        return Diff(record.name, Layer(upper, lowers), opened)
    except (KeyError, *GONE) as error:
        opened.close()
        raise StateError(f"{record.name} has ended meanwhile") from error
    except BaseException:
        opened.close()
        raise


def is_kept(where: Folders, name: str) -> bool:
    """Whether the layer of a workload so called is on disk."""
    return "/" not in name and not name.startswith(".") and Path(where.state, "layers", name, "upper").is_dir()


def _kept(where: Folders, name: str) -> Diff:
    if not is_kept(where, name):
        hint = 'storage.writable_layer = "overlay" keeps one'
        raise StateError(f"of {name} no writable layer is left: it had none, or one in memory", hint=hint)
    folder = Path(where.state, "layers", name)
    opened = ExitStack()
    try:
        upper = _open(str(folder / "upper"), opened)
        lowers, generated, problems = _lower(folder, opened)
        return Diff(name, Layer(upper, lowers, generated), opened, problems)
    except BaseException:
        opened.close()
        raise


def _lower(folder: Path, opened: ExitStack) -> tuple[tuple[int, ...], frozenset[str], tuple[str, ...]]:
    """The root that a kept layer was made on, what lay below that, and why it is not there."""
    try:
        base = json.loads((folder / "root").read_bytes())
        path, inode = base["root"], base["inode"]
    except (OSError, ValueError, KeyError, TypeError):
        return (), GENERATED, ("nothing says which root the layer was made on: what was changed counts as added",)
    if path == root.HOST:
        return (), GENERATED | FRESH, ()
    try:
        lower = _open(path, opened) if path.startswith("/") else _open_image(path, opened)
    except OSError as error:
        problem = f"{path}, on which the layer was made: {error.strerror}; what was changed counts as added"
        return (), GENERATED, (problem,)
    if path.startswith("/") and os.fstat(lower).st_ino != inode:
        problem = f"{path} is not the folder on which the layer was made; what was changed counts as added"
        return (), GENERATED, (problem,)
    return (lower,), GENERATED, ()


def _open_image(named: str, opened: ExitStack) -> int:
    """The tree of an image, without what its files hold, which nobody asks for here. Raises OSError."""
    from volt.host.syscalls import mount_image
    from volt.store.place import Store

    store, digest = Store(f"{folders().state}/store"), named.rpartition(":")[2]
    with suppress(FileNotFoundError):  # where this kernel mounts no image it is unpacked
        return _open(store.unpacked(digest), opened)
    descriptor = mount_image(store.image(digest))
    opened.callback(os.close, descriptor)
    folder = os.open(".", _FLAGS, dir_fd=descriptor)
    opened.callback(os.close, folder)
    return folder


def _open(path: str, opened: ExitStack) -> int:
    descriptor = os.open(path, _FLAGS)
    opened.callback(os.close, descriptor)
    return descriptor
