"""What the store takes on disk, and what its trees share."""

from __future__ import annotations

import os
from collections import Counter

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.collect import image_digests, mark, object_digests
from volt.store.place import Store
from volt.store.unpacked import unpacked_digests, unpacked_size


class TreeUsage(Value):
    """Bytes on disk of one tree's objects: all of them, and those that no other tree has."""

    tree: str
    bytes: int
    own: int


class StoreUsage(Value):
    """Bytes on disk; `images` and the folders of `unpacked` are what trees are mounted by. `unused` is what volt store
    gc would free at least: no name, layer or run holds it."""

    objects: int
    bytes: int
    images: int
    unused: int
    free: int
    unpacked: int = 0
    trees: tuple[TreeUsage, ...] = ()


def usage(store: Store, trees: set[str], held: set[str]) -> StoreUsage:
    """Of the store, and of `trees`; `held` are those that stay. What a collector takes out meanwhile takes nothing.
    Raises StoreError, OSError."""
    sizes = {digest: _on_disk(store.object(digest)) for digest in object_digests(store)}
    of_tree = {tree: _marked(store, tree) & sizes.keys() for tree in sorted(trees | held)}
    shared = Counter(digest for found in of_tree.values() for digest in found)
    kept = {digest for tree in held if tree in of_tree for digest in of_tree[tree]}
    images = sum(_on_disk(store.image(digest)) for digest in image_digests(store))
    disk = os.statvfs(store.path)
    return StoreUsage(
        objects=len(sizes),
        bytes=sum(sizes.values()),
        images=images,
        unused=sum(size for digest, size in sizes.items() if digest not in kept),
        unpacked=sum(unpacked_size(store, digest) for digest in unpacked_digests(store)),
        free=disk.f_bavail * disk.f_frsize,
        trees=tuple(
            TreeUsage(
                tree,
                sum(sizes[digest] for digest in found),
                sum(sizes[digest] for digest in found if shared[digest] == 1),
            )
            for tree, found in of_tree.items()
            if tree in trees
        ),
    )


def _on_disk(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def _marked(store: Store, tree: str) -> set[str]:
    try:
        return mark(store, {tree})
    except StoreError:
        if store.has(tree):
            raise
        return {tree}
