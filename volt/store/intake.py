"""What every way into the store shares: bounds, what is refused by name, what is left out and told."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.transaction import Transaction
from volt.store.tree import NO_XATTRS, XATTR_MOST, Node, of_the_host, text, xattr_problem

SMALL = 8 << 20  # bytes of a file that is read at once
CHUNK = 1 << 20

Progress = Callable[[int, int], None]  # entries and bytes so far


class Bounds(Value):
    """The most that is taken in: `bytes` is the size of all files together, holes included, `names` that of paths,
    links and attributes, which are held in memory."""

    entries: int = 1_000_000
    bytes: int = 256 << 30
    names: int = 256 << 20


class Intake:
    """One import on its way into a transaction. Every refusal names the entry, and is a StoreError."""

    def __init__(
        self,
        transaction: Transaction,
        *,
        devices: bool = False,
        bounds: Bounds | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.transaction = transaction
        self.entries = 0
        self.bytes = 0
        self._names = 0
        self.left_out: Counter[str] = Counter()
        self._devices = devices
        self._bounds = bounds or Bounds()
        self._progress = progress

    def entry(self, path: bytes, node: Node) -> None:
        """One more file, before anything of it is read."""
        self.entries += 1
        if self.entries > self._bounds.entries:
            raise refused(path, f"there are more than {self._bounds.entries} files")
        self.count_names(path, len(path) + len(node.target))
        self._check_kind(path, node)
        if self._progress:
            self._progress(self.entries, self.bytes)

    def count_names(self, path: bytes, more: int) -> None:
        """So many bytes more that are held in memory."""
        self._names += more
        if self._names > self._bounds.names:
            raise refused(path, f"names, links and attributes together have more than {self._bounds.names} bytes")

    def _check_kind(self, path: bytes, node: Node) -> None:
        mode = node.mode
        if stat.S_ISCHR(mode) and node.device == 0:
            hint = "remove it: in a layer of overlayfs it is a whiteout, which hides a file"
            raise refused(path, "it is the device 0:0", hint)
        special = stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode)
        if special and not self._devices:
            kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise refused(path, f"it is {kind}", "remove it, or take devices and sockets over with --allow-devices")

    def size(self, path: bytes, size: int) -> None:
        """A file of that size, before it is read."""
        self.bytes += size
        if size < 0 or self.bytes > self._bounds.bytes:
            raise refused(path, f"the files together are larger than {self._bounds.bytes} bytes")

    def attributes(self, path: bytes, found: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        """The extended attributes that go into the tree."""
        if not found:
            return NO_XATTRS
        taken = {}
        for name, value in found.items():
            if of_the_host(name):
                self.left_out[text(name)] += 1
            elif problem := xattr_problem(name, value):
                raise refused(path, problem, "remove it: setfattr -x NAME FILE")
            else:
                taken[name] = value
        if sum(len(name) + len(value) + 8 for name, value in taken.items()) > XATTR_MOST:
            raise refused(path, f"its attributes together have more than {XATTR_MOST} bytes")
        self.count_names(path, sum(len(name) + len(value) for name, value in taken.items()))
        return taken


def refused(path: bytes, why: str, hint: str = "") -> StoreError:
    """The error for one entry."""
    return StoreError(f"{text(path) or '.'}: {why}", hint=hint)


def attributes_of(path: int | str) -> dict[bytes, bytes]:
    """All that a file has, by a descriptor or by the name of something that is no link to follow. Raises OSError."""
    follow = isinstance(path, int)
    names = os.listxattr(path, follow_symlinks=follow)
    return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=follow) for name in names}
