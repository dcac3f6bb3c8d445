"""Trees as folders below unpacked/, each whole under its name: who made them, what they take, and taking them out.

A launch takes its lease first and opens the folder then, as it does with an image. But whoever has a folder open loses
what is removed from it. So it gets another name first, which no launch opens; the leases are looked at once more; and
what a run holds by then gets its name back. Where a crash came in between the next look does the rest.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

from volt.errors import StoreError
from volt.store.changes import changes
from volt.store.folder import read_folder
from volt.store.intake import Intake
from volt.store.place import Store, is_digest
from volt.store.transaction import Transaction, sync_folder
from volt.store.tree import Node, encode

_GOING = ".going"


def unpacked_digests(store: Store) -> Iterator[str]:
    """The trees that are unpacked."""
    return (name for name in _names(store) if is_digest(name))


def _names(store: Store) -> list[str]:
    try:
        return sorted(os.listdir(store.unpacked("")))
    except FileNotFoundError:  # a store of before there were any
        return []


def unpacked_size(store: Store, digest: str) -> int:
    """Bytes on disk, 0 of a tree that is not unpacked."""
    counted: dict[tuple[int, int], int] = {}
    # By descriptor: a tree may be deeper than a path can be long. Beside this a collector may take it out.
    with suppress(FileNotFoundError):
        for _, folders, files, here in os.fwalk(store.unpacked(digest)):
            for name in (".", *folders, *files):
                with suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                    counted[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(counted.values())


def set_aside(store: Store, digests: Iterable[str]) -> None:
    """From now on no launch finds these; only while collecting. Raises OSError."""
    for digest in digests:
        with suppress(FileNotFoundError):
            os.rename(store.unpacked(digest), store.unpacked(digest) + _GOING)


def settle(store: Store, held: set[str]) -> None:
    """What was set aside comes back where a run holds it, and else goes to tmp/, to be removed: from there nothing
    ever comes back, so it may be half of itself by then. Only while collecting. Raises OSError."""
    aside = [name for name in _names(store) if is_digest(name.removesuffix(_GOING)) and not is_digest(name)]
    for name in aside:
        digest = name.removesuffix(_GOING)
        path, gone = store.unpacked(name), f"{store.path}/tmp/{digest[:12]}-{secrets.token_hex(6)}"
        if digest not in held:
            os.rename(path, gone)
        elif not os.path.lexists(store.unpacked(digest)):
            os.rename(path, store.unpacked(digest))
    if aside:
        sync_folder(store.unpacked(""))  # before anything in it goes: a power cut brings no part of it back


def unpacked_problem(store: Store, digest: str, root: Node) -> str:
    """What is wrong with the folder of a tree, "" where it is what the tree says. Raises OSError."""
    try:
        found = read_folder(store.unpacked(digest), Intake(_Nothing(store), devices=True))
    except StoreError as error:
        return error.message
    if encode(found) == encode(root):
        return ""
    first = next(changes(root, found), None)
    return f"{first.path} is not what the tree says" if first else "times or links are not what the tree says"


class _Nothing(Transaction):
    """What is read is hashed, and added to nothing."""

    def put(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def put_later(self, node: Node, data: bytes) -> None:
        node.digest, node.size = self.put(data), len(data)

    def put_chunks(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        known, size = hashlib.sha256(), 0
        for chunk in chunks:
            known.update(chunk)
            size += len(chunk)
        return known.hexdigest(), size
