"""Layers as one tree: each is an archive of what it adds to those below it, and of whiteouts, which take away.

OCI image-spec, layer.md. A whiteout `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in
its folder; what the same layer adds stays, wherever in the archive it comes. Every path is followed in the tree alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from volt.errors import StoreError
from volt.store.archive import Growing, read_members
from volt.store.intake import refused
from volt.store.tree import name_problem

if TYPE_CHECKING:
    from hashlib import _Hash

    from volt.store.intake import Intake
    from volt.store.tree import Node

WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
_OF_AUFS = b".wh..wh."  # what else begins so is a file of its own bookkeeping


Names = dict[bytes, "Node"]  # what is in one folder


class Layered(Growing):
    """A tree that gets layer after layer. Some builders write names from the root on."""

    absolute = True

    def __init__(self, intake: Intake) -> None:
        super().__init__(intake)
        # The names that this layer has added, by the id of what is in their folder; that is kept, so that no other can
        # get the same id.
        self._added: dict[int, tuple[Names, set[bytes]]] = {}
        # What this layer has hidden already: a second time there is nothing more of the layers below.
        self._hidden: set[tuple[int, bytes]] = set()

    def add(self, file: BinaryIO, known: _Hash) -> None:
        """One more layer, as an archive, plain or compressed; `known` is updated with its plain bytes. Raises
        StoreError, OSError."""
        read_members(file, self, known)
        self._added, self._hidden = {}, set()

    def put(self, path: bytes, parts: list[bytes], node: Node) -> None:
        if parts and parts[-1].startswith(WHITEOUT):
            self._white_out(path, parts)
            return
        if parts and node.children is None:
            self._make_way(path, parts)
        super().put(path, parts, node)
        self._note(parts)

    def link(self, path: bytes, parts: list[bytes], target: list[bytes]) -> None:
        if parts and parts[-1].startswith(WHITEOUT):  # aufs made them so
            self._white_out(path, parts)
            return
        if parts:
            self._make_way(path, parts)
        super().link(path, parts, target)
        self._note(parts)

    def _note(self, parts: list[bytes]) -> None:
        names = self._found(parts[:-1]) if parts else None
        if names is not None:
            self._added.setdefault(id(names), (names, set()))[1].add(parts[-1])

    def _make_way(self, path: bytes, parts: list[bytes]) -> None:
        """A folder of the layers below gives way to what is none."""
        names = self._found(parts[:-1])
        before = names.get(parts[-1]) if names is not None else None
        if names is not None and before is not None and before.children is not None:
            self._hide(names, parts[-1])
            if parts[-1] in names:
                raise refused(path, "there is a folder of that name already")

    def _white_out(self, path: bytes, parts: list[bytes]) -> None:
        names = self._found(parts[:-1])
        hidden = parts[-1].removeprefix(WHITEOUT)
        if names is not None:
            if (id(names), parts[-1]) in self._hidden:
                return
            self._hidden.add((id(names), parts[-1]))
            self._added.setdefault(id(names), (names, set()))  # so that its id stays its own
        if parts[-1] == _OPAQUE:
            for name in list(names or ()):
                self._hide(names or {}, name)
        elif not hidden or name_problem(hidden):
            raise refused(path, "it is a whiteout of nothing that there can be")
        elif not parts[-1].startswith(_OF_AUFS) and names is not None and hidden in names:
            self._hide(names, hidden)

    def _hide(self, names: Names, name: bytes) -> None:
        """Takes out what lies below this layer."""
        inner = names[name].children
        for one in list(inner or ()):
            self._hide(inner or {}, one)
        _, added = self._added.get(id(names), (names, set()))
        if name not in added and not inner:
            del names[name]

    def _found(self, parts: list[bytes]) -> Names | None:
        """What is in a folder, None where there is none."""
        try:
            return self._folder(b"/".join(parts), parts, make=False)
        except StoreError:
            return None
