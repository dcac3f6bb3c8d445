"""Looking at every byte of the store: what does not hash to its name, is missing, or is neither the image
nor the folder of its tree."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from volt.errors import StoreError
from volt.model.values import Value, replace
from volt.store.collect import image_digests, object_digests, take_out
from volt.store.erofs import image
from volt.store.locks import adding, collecting
from volt.store.place import PREFIX, UNREADABLE, Store
from volt.store.transaction import Transaction
from volt.store.tree import Node, objects
from volt.store.unpacked import unpacked_digests, unpacked_problem

_PIECE = 1 << 20
_HELD = "; a run has it as its root: end that, and mend it then"


class Damage(Value):
    """One thing that is wrong: of an object, of a tree, or of the image or the folder by which a tree is mounted.
    `mended` says that it is right again, or out of the way so that importing the same again, or the next launch, brings
    it back; `origin` is the repository that it was fetched from again, "" for none, and `unfetched` why that could not
    be."""

    kind: str
    digest: str
    problem: str
    mended: bool = False
    origin: str = ""
    unfetched: str = ""


class Verified(Value):
    """How much was looked at, and what is wrong."""

    objects: int = 0
    bytes: int = 0
    damage: tuple[Damage, ...] = ()


def verify(
    store: Store, trees: set[str], *, repair: bool = False, progress: Callable[[int, int], None] | None = None
) -> Verified:
    """Look at all objects, all images, and the trees that ought to be there. With `repair` images are made again, and
    damaged objects taken out of the store, and folders that no run holds. Raises StoreError, OSError."""
    damage: list[Damage] = []
    count = size = 0
    with adding(store.path):
        for digest in object_digests(store):
            problem, more = _content(store, digest)
            count, size = count + 1, size + more
            if problem:
                damage.append(Damage("object", digest, problem))
            if progress:
                progress(count, size)
        known = {one.digest for one in damage if one.kind == "object"}
        for digest in sorted({*trees, *image_digests(store), *unpacked_digests(store)} - known):
            damage += _tree(store, digest, known)
    if repair:
        damage = [_mended(store, one) for one in damage]
    return Verified(count, size, tuple(damage))


def _content(store: Store, digest: str) -> tuple[str, int]:
    """What is wrong with an object, "" for nothing, and the bytes that were read of it."""
    known, size = hashlib.sha256(), 0
    try:
        with open(store.object(digest), "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                known.update(piece)
                size += len(piece)
    except OSError as error:
        return _unread(error), size
    return "" if known.hexdigest() == digest else "its content is not what its name says", size


def _unread(error: OSError) -> str:
    """That what is there cannot be read is damage; raises what says nothing of it, as that too much is open."""
    if error.errno not in UNREADABLE:
        raise error
    return f"it cannot be read: {error.strerror}"


def _mended(store: Store, one: Damage) -> Damage:
    """An object is taken out: a process that has it open keeps it, others get an error instead of wrong bytes. An image
    is made again from its tree."""
    if one.kind == "object" and store.has(one.digest):
        with collecting(store.path):  # an import that has seen it counts on it
            if store.has(one.digest) and _content(store, one.digest)[0]:
                os.unlink(store.object(one.digest))
        return replace(one, mended=True)
    if one.kind == "folder":
        held = not take_out(store, one.digest)
        return replace(one, problem=f"{one.problem}{_HELD}" if held else one.problem, mended=not held)
    if one.kind != "image":
        return one
    with suppress(FileNotFoundError):
        os.unlink(store.image(one.digest))
    with Transaction(store) as transaction:
        transaction.put_image(one.digest, store.tree(one.digest))
        transaction.commit()
    return replace(one, mended=True)


def _tree(store: Store, digest: str, damaged: set[str]) -> Iterator[Damage]:
    try:
        root = store.tree(digest)
    except StoreError as error:
        yield Damage("tree", digest, error.message)
        return
    for missing in sorted(one for one in objects(root) if one not in damaged and not store.has(one)):
        yield Damage("object", missing, f"it is missing, and {PREFIX}{digest} needs it")
    if problem := _image(store.image(digest), image(root)):
        yield Damage("image", digest, problem)
    if os.path.lexists(store.unpacked(digest)) and (problem := _folder(store, digest, root)):
        yield Damage("folder", digest, problem)


def _image(path: str, made: bytes | bytearray) -> str:
    try:
        with open(path, "rb") as file:
            return "" if file.read(len(made) + 1) == made else "it is not the image of its tree"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return _unread(error)


def _folder(store: Store, digest: str, root: Node) -> str:
    try:
        return unpacked_problem(store, digest, root)
    except OSError as error:
        return _unread(error)
