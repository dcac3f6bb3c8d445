"""Images and the store that holds them: bringing in, naming, bringing out, looking after."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from volt.errors import HostUnfit, NoSuchImage, StoreError, VoltError
from volt.host.files import read_text
from volt.host.folders import folders
from volt.images import records
from volt.images.records import Image, sweep
from volt.images.reference import LATEST, URL, Reference, name
from volt.model.diff import Change
from volt.model.values import replace
from volt.store import manifests
from volt.store.collect import Collected, collect, leased, leases
from volt.store.intake import Intake
from volt.store.locks import collecting
from volt.store.place import PREFIX, Store, make_store, open_store
from volt.store.transaction import Transaction
from volt.store.tree import Node, entries, text
from volt.store.usage import StoreUsage, usage

if TYPE_CHECKING:
    from volt.images.platforms import Platform

Progress = Callable[[int, int], None]
Source = str | Path | BinaryIO
Form = Literal["tar", "oci"]
_STDIO, _PROCESSORS = "-", "/proc/cpuinfo"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def import_image(
    source: Source,
    reference: str | None = None,
    *,
    devices: bool = False,
    image: str = "",
    platform: str = "",
    progress: Progress | None = None,
) -> Image:
    """Bring in the file tree of a folder, or of a tar archive, plain or compressed with gzip, bzip2, xz or zstd: by its
    path, `-` for standard input, or an open binary file. It gets the name `reference`, which then is no other tree's.

    Where that holds layers, as an OCI layout does or what docker save writes, the tree is what they come to: those of
    the image that is called `image` there, or of the only one; of several architectures and variants the one that is
    best for `platform` (`linux/arm/v7`), or for this machine's processor. `devices` takes devices and sockets over,
    which are refused by name otherwise. `progress` is called with the numbers of files and bytes so far. Raises
    StoreError, HostUnfit without root.
    """
    from volt.images.layout import holds_layers
    from volt.images.unpack import unpack

    require_root()
    config = None
    named = name(reference) if reference else Reference()
    shown = _STDIO if not isinstance(source, (str, Path)) else str(source)
    state = folders().state
    with told(f"{shown} cannot be imported"):
        store = make_store(state)
        with Transaction(store) as transaction:
            intake = Intake(transaction, devices=devices, progress=progress)
            root = _read(source, intake)
            if holds_layers(root):
                intake = Intake(transaction, devices=devices, progress=progress)
                root, config = unpack(root, intake, image, wanted_platform(platform))
            elif image or platform:
                raise StoreError(f"{shown} holds no layers", hint="leave out --image and --platform")
            made = image_of(named, transaction.put_tree(root), root, _absolute(shown))
            made = replace(made, left_out=dict(intake.left_out), config=config)
            records.require_short(made)
            transaction.commit()
            records.write(state, made)
    return made


def _absolute(shown: str) -> str:
    return str(Path(shown).absolute()) if shown != _STDIO else shown


def _read(source: Source, intake: Intake) -> Node:
    from volt.store.archive import read_archive
    from volt.store.folder import read_folder

    if isinstance(source, (str, Path)) and Path(source).is_dir():
        return read_folder(str(source), intake)
    with _opened(source) as file:
        return read_archive(file, intake)


def image_of(named: Reference, digest: str, root: Node, source: str) -> Image:
    """The record of a tree that has just come in."""
    found = [(id(node), node.size) for _, node in entries(root)]
    size = sum(dict(found).values())  # of a file that has several names once
    return Image(named.name, named.version, f"{PREFIX}{digest}", time.time(), source, len(found), size, {})


def wanted_platform(written: str) -> Platform:
    """What is written, or where that is "" what this machine's processor runs. Raises StoreError."""
    from volt.images.platforms import parse_platform, processor

    return parse_platform(written) if written else processor(os.uname().machine, read_text(_PROCESSORS, 1 << 26))


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if not isinstance(source, (str, Path)):
        yield source
    elif str(source) == _STDIO:
        yield sys.stdin.buffer
    else:
        with Path(source).open("rb") as file:
            yield file


def images() -> tuple[Image, ...]:
    """Every image of this machine. Raises StoreError, HostUnfit without root."""
    require_root()
    return records.images(folders().state)


def image(word: str) -> Image:
    """The image that is called so: `name`, `name:version`, `sha256:…` or the beginning of that. Raises NoSuchImage,
    StoreError, HostUnfit without root."""
    require_root()
    return records.find(folders().state, word)


def tag_image(word: str, reference: str) -> Image:
    """Give an image one more name. Raises NoSuchImage, StoreError, HostUnfit without root."""
    from volt.store.locks import adding

    require_root()
    named, state = name(reference), folders().state
    store = _store(state)
    with told(f"{word} cannot be named {named}"), adding(store.path):
        made = replace(records.find(state, word), name=named.name, version=named.version)
        records.write(state, made)
    return made


def remove_image(word: str) -> Image:
    """Take an image's name away. What nothing else needs of it goes with the next `collect_store`; a workload that
    runs keeps it till then. Raises NoSuchImage, StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    found = records.find(state, word)
    with told(f"{word} cannot be removed"):
        records.remove(_store(state), state, found)
    return found


def export_image(word: str, target: Source, *, form: Form = "tar") -> Image:
    """Write an image to a path, `-` for standard output, or an open binary file: as a tar archive of its files in the
    pax format, or, by the form `oci`, as an archive of an OCI layout of one layer, with what the image says about
    itself. Importing either gives the same digest. Raises NoSuchImage, StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    found = records.find(state, word)
    with told(f"{word} cannot be exported"), _written(found, state, form) as write:
        if not isinstance(target, (str, Path)):
            write(target)
        elif str(target) == _STDIO:
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _write_whole(Path(target), write)
    return found


@contextmanager
def _written(found: Image, state: str, form: Form) -> Iterator[Callable[[BinaryIO], None]]:
    """What writes an image in a form. Raises StoreError, OSError."""
    if form == "oci":
        from volt.api.packing import packed
        from volt.images.pack import write_layout

        with packed(found, state) as (made, layer):
            pinned = Reference(found.name, found.version).pinned
            version = LATEST if pinned or not found.version else found.version
            yield lambda file: write_layout(made, layer, version, file)
    elif form == "tar":
        from volt.store.export import write_archive
        from volt.store.locks import adding

        store = _store(state)
        with adding(store.path):
            root = store.tree(found.digest)
            yield lambda file: write_archive(root, store, file)
    else:
        raise StoreError(f"{form!r} is no form of an archive", hint="write tar or oci")


def _write_whole(target: Path, write: Callable[[BinaryIO], None]) -> None:
    """To a file that gets its name when it is whole."""
    temporary = target.with_name(f".{target.name}.new-{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            write(file)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def image_changes(before: str, after: str) -> tuple[Change, ...]:
    """What has changed from one image to another, by path; times do not count. Raises NoSuchImage, StoreError,
    HostUnfit without root."""
    from volt.store.changes import changes
    from volt.store.locks import adding

    require_root()
    state = folders().state
    found = [records.find(state, word) for word in (before, after)]
    store = _store(state)
    with told("the images cannot be compared"), adding(store.path):
        old, new = (store.tree(one.digest) for one in found)
        return tuple(changes(old, new))


def collect_store(*, dry_run: bool = False) -> Collected:
    """Remove what no image, no kept layer and no running workload needs; with `dry_run` nothing is removed. Raises
    StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    store = open_store(state)
    if store is None:
        return Collected()
    from volt.host.kernel import version
    from volt.host.loop import has_loops
    from volt.host.mounts import mounts
    from volt.host.paths import path_fact
    from volt.images.folders import sweep_downloads
    from volt.plan.image import way_to_mount

    with told("the store cannot be cleared"):
        if not dry_run:
            with collecting(store.path):
                sweep(state)
                sweep_downloads(state)
        kernel = version(os.uname().release)
        filesystem = path_fact(store.path, mounts(), kernel).filesystem
        way = way_to_mount(kernel, filesystem, loops=has_loops)
        return collect(store, lambda: _held(state), unpacked=way == "unpacked", dry_run=dry_run)


def store_usage() -> StoreUsage:
    """What the store takes on disk. Raises StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    store = open_store(state)
    if store is None:
        return StoreUsage(0, 0, 0, 0, 0)
    with told("the store cannot be looked at"):
        named = records.trees(state)
        return usage(store, named, _held(state) | leased(store))


def image_users(found: Image) -> tuple[str, ...]:
    """The ids of the runs that use an image's tree now, and the workloads whose kept layer was made on it. Raises
    StoreError, HostUnfit without root."""
    require_root()
    state = folders().state
    store = open_store(state)
    runs = [run for run, tree in leases(store) if tree == found.digest] if store else []
    return (*runs, *(layer for layer, tree in _layers(state) if tree == found.digest))


def _store(state: str) -> Store:
    store = open_store(state)
    if store is None:
        raise NoSuchImage("there are no images", hint="volt image import DIR|TAR NAME brings one in")
    return store


def _held(state: str) -> set[str]:
    """The trees of images, those that kept layers were made on, since over another one they would show nonsense, and
    manifests that were added."""
    return records.trees(state) | {tree for _, tree in _layers(state)} | manifests.digests(state)


def _layers(state: str) -> Iterator[tuple[str, str]]:
    """(workload, tree) of each kept layer on an image: volt/plan/root.py writes what it was made on."""
    with suppress(FileNotFoundError):
        for layer in Path(state, "layers").iterdir():
            with suppress(FileNotFoundError, NotADirectoryError):
                base = _base(layer / "root")
                if base.startswith(f"{URL}{PREFIX}"):
                    yield layer.name, base.removeprefix(f"{URL}{PREFIX}")


def _base(record: Path) -> str:
    try:
        return str(json.loads(record.read_bytes())["root"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "volt run --fresh discards that layer"
        raise StoreError(f"{record} does not say what its layer was made on", hint=hint) from error


@contextmanager
def told(what: str) -> Iterator[None]:
    """What the system refuses as a StoreError."""
    try:
        yield
    except VoltError:
        raise
    except OSError as error:
        hint = "volt store gc frees what nothing needs" if error.errno in _FULL else ""
        where = f": {text(os.fsencode(error.filename))}" if error.filename else ""
        raise StoreError(f"{what}: {error.strerror or error}{where}", hint=hint) from error


def require_root() -> None:
    if os.geteuid() != 0:
        raise HostUnfit("images are root's alone", hint="run it with sudo")
