"""An image of this machine as one layer, for as long as somebody sends or writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from volt.api.imaging import wanted_platform
from volt.images.config import ImageConfig
from volt.images.folders import downloads, fetching
from volt.images.pack import pack
from volt.model.values import replace
from volt.store.locks import adding
from volt.store.place import make_store

if TYPE_CHECKING:
    from volt.images.pack import Made
    from volt.images.records import Image


@contextmanager
def packed(found: Image, state: str, tell: Callable[[int], None] | None = None) -> Iterator[tuple[Made, BinaryIO]]:
    """The image and, from its start, its layer, in a file without a name, which is gone with whoever has it. `tell` is
    called with the plain bytes so far. Raises StoreError, OSError."""
    store = make_store(state)
    about = found.config or ImageConfig()
    about = replace(about, architecture=about.architecture or wanted_platform("").architecture)
    with fetching(state), tempfile.TemporaryFile(dir=downloads(state)) as layer:
        with adding(store.path):
            made = pack(store.tree(found.digest), store, about, layer, tell)
        layer.seek(0)
        yield made, layer
