"""Removing what nothing needs any more: trees that no name, no kept layer and no run holds, and their objects.

A launch takes its lease first and opens the image then. So images go first here, and who holds what is looked at
once more: whoever had a lease by then has its tree kept, and whoever comes later finds no image, and says so.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.locks import collecting
from volt.store.place import PREFIX, Store, is_digest
from volt.store.tree import is_tree
from volt.store.unpacked import set_aside, settle, unpacked_digests, unpacked_size

Wanted = Callable[[], set[str]]
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
_REDIRECT = re.compile(rb"/([0-9a-f]{2})/([0-9a-f]{62})")  # of an image: volt/store/erofs.py
_SUFFIX = ".erofs"
_START = 256  # bytes of an object that tell whether it is a tree


class Collected(Value):
    """What was removed, or would be: files, and their bytes on disk. `kept` are the objects that stay."""

    trees: tuple[str, ...] = ()
    objects: int = 0
    bytes: int = 0
    kept: int = 0


def collect(store: Store, named: Wanted, *, unpacked: bool = True, dry_run: bool = False) -> Collected:
    """Remove what nothing needs. `named` gives the trees that have a name or a kept layer; it is asked after the
    leases, since a run writes down its layer while it holds one. `unpacked` says that this kernel mounts folders, and
    no images: else no folder is needed but those that runs hold. Raises StoreError, OSError; then nothing that is
    needed is gone."""
    with collecting(store.path):
        wanted = _wanted(store, named)
        unused = sorted({*image_digests(store), *unpacked_digests(store)} - wanted)
        folders = {*unpacked_digests(store)} - (wanted if unpacked else leased(store))
        freed = _without(store, unused, folders, dry_run)
        # Of the first look too: those kept their images, and an image never stays without its objects.
        marked = mark(store, wanted | _wanted(store, named))
        everything = list(object_digests(store))
        # Trees first: one that is there has all its objects, whenever a crash comes.
        going = sorted((one for one in everything if one not in marked), key=lambda one: not _is_tree(store, one))
        for digest in going:
            freed += _on_disk(store.object(digest))
            if not dry_run:
                os.unlink(store.object(digest))
        if not dry_run:
            settle(store, leased(store))
            _clear(store)
    return Collected(tuple(unused), len(going), freed, len(everything) - len(going))


def _without(store: Store, images: list[str], folders: set[str], dry_run: bool) -> int:
    """Without what these trees are mounted by; its bytes on disk."""
    freed = sum(unpacked_size(store, digest) for digest in folders)
    if not dry_run:
        settle(store, leased(store))  # what a crash has left
        set_aside(store, folders)
    for digest in images:
        with suppress(FileNotFoundError):
            freed += _on_disk(store.image(digest))
            if not dry_run:
                os.unlink(store.image(digest))
    return freed


def take_out(store: Store, digest: str) -> bool:
    """Remove the folder of a tree, which the next launch unpacks again; False where a run holds it. Raises StoreError,
    OSError."""
    with collecting(store.path):
        settle(store, leased(store))  # what a crash has left
        if digest not in leased(store):
            set_aside(store, (digest,))
            settle(store, leased(store))
            _clear(store)
    return not os.path.lexists(store.unpacked(digest))


def _is_tree(store: Store, digest: str) -> bool:
    with open(store.object(digest), "rb") as file:
        return is_tree(file.read(_START))


def _wanted(store: Store, named: Wanted) -> set[str]:
    return leased(store) | named()


def mark(store: Store, trees: set[str]) -> set[str]:
    """The trees, and every object that they could mean: whatever looks like a digest in one counts. Of a tree that was
    taken out as damaged the image says the same. Raises StoreError for one that is damaged: who knows what it would
    have held."""
    marked = set(trees)
    for tree in trees:
        if store.has(tree):
            marked |= {found.decode() for found in _DIGEST.findall(store.read(tree))}
            continue
        with suppress(FileNotFoundError), open(store.image(tree), "rb") as file:
            marked |= {(folder + rest).decode() for folder, rest in _REDIRECT.findall(file.read())}
    return marked


def leased(store: Store) -> set[str]:
    """The trees of runs that live; leases of dead ones are removed."""
    return {tree for _, tree in leases(store)}


def leases(store: Store) -> Iterator[tuple[str, str]]:
    """(run, tree) of each run that lives. flock(2): its supervisor holds the lock of its lease."""
    for name in sorted(os.listdir(store.leases)):
        path = f"{store.leases}/{name}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                    os.unlink(path)
        except BlockingIOError:
            tree = os.read(descriptor, 128).decode("ascii", "replace").strip().removeprefix(PREFIX)
            if not is_digest(tree):
                raise StoreError(f"{path} is no lease that this version of volt knows") from None
            yield name, tree
        finally:
            os.close(descriptor)


def image_digests(store: Store) -> Iterator[str]:
    """The trees that have an image."""
    for name in os.listdir(f"{store.path}/images"):
        digest = name.removesuffix(_SUFFIX)
        if is_digest(digest):
            yield digest


def object_digests(store: Store) -> Iterator[str]:
    """Every object."""
    for folder in sorted(os.listdir(store.objects)):
        for name in sorted(os.listdir(f"{store.objects}/{folder}")):
            yield folder + name


def _on_disk(path: str) -> int:
    return os.lstat(path).st_blocks * 512


def _clear(store: Store) -> None:
    """Nothing is being added now: what lies there is a crash's."""
    for name in os.listdir(f"{store.path}/tmp"):
        shutil.rmtree(f"{store.path}/tmp/{name}", ignore_errors=True)
