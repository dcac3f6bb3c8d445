"""A tree as an image of one layer: the archive, packed with gzip, and the config and manifest that say what it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, BinaryIO, cast

from volt.errors import StoreError
from volt.images.config import ImageConfig, write_config
from volt.images.manifest import INDEXES, MANIFESTS, Blob, Packed, write_manifest
from volt.model.values import Value
from volt.store.export import write_archive
from volt.store.layers import WHITEOUT
from volt.store.place import PREFIX
from volt.store.tree import entries, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from volt.store.place import Store
    from volt.store.tree import Node

_LEVEL = 6  # of gzip: what every reader of images knows, and gzip(1) takes by itself


class Made(Value):
    """An image ready to go: its manifest and its config as bytes, and what they say of the layer."""

    manifest: bytes
    config: bytes
    image: Packed
    kind: str = MANIFESTS[0]

    @property
    def digest(self) -> str:
        """Of the manifest, by which a registry knows the image."""
        return f"{PREFIX}{hashlib.sha256(self.manifest).hexdigest()}"


def pack(
    root: Node,
    store: Store,
    about: ImageConfig,
    file: BinaryIO,
    tell: Callable[[int], None] | None = None,
) -> Made:
    """Write the layer of a tree to a file; the same tree always gives the same bytes. `tell` is called with the plain
    bytes so far. Raises StoreError for a name that a layer cannot have, OSError."""
    _require_names(root)
    outer = _Hashed(file)
    with gzip.GzipFile("", "wb", _LEVEL, cast("BinaryIO", outer), 0) as packed:
        inner = _Hashed(packed, tell)
        write_archive(root, store, cast("BinaryIO", inner))
    file.flush()
    config = write_config(about, f"{PREFIX}{inner.known.hexdigest()}")
    layer = Blob(outer.known.hexdigest(), outer.size)
    image = Packed(Blob(hashlib.sha256(config).hexdigest(), len(config)), (layer,))
    return Made(write_manifest(image), config, image)


def write_layout(made: Made, layer: BinaryIO, version: str, file: BinaryIO) -> None:
    """Write an image as an OCI layout, image-layout.md, in a tar archive: what other tools call an OCI archive, and
    unpacked read as a folder. It has the name `version` there. Raises OSError."""
    notes = {"org.opencontainers.image.ref.name": version}
    one = {"mediaType": made.kind, "digest": made.digest, "size": len(made.manifest), "annotations": notes}
    index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [one]}
    texts = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, separators=(",", ":")).encode(),
        _place(made.digest): made.manifest,
        _place(str(made.image.config)): made.config,
    }
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path, data in texts.items():
            archive.addfile(_member(path, len(data)), io.BytesIO(data))
        for blob in made.image.layers:
            archive.addfile(_member(_place(str(blob)), blob.size), layer)


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _member(path: str, size: int) -> tarfile.TarInfo:
    """Of nobody and no hour: the same image is the same archive."""
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o644
    return member


def _require_names(root: Node) -> None:
    """In a layer such a name hides another file, whoever reads it."""
    for path, _ in entries(root):
        if path.rpartition(b"/")[2].startswith(WHITEOUT):
            hint = "rename it, or write a plain archive with volt image export"
            raise StoreError(f"{text(path)}: in a layer this name is a whiteout", hint=hint)


class _Hashed:
    """A file that is written to, and what has been."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, tell: Callable[[int], None] | None = None) -> None:
        self._file, self._tell = file, tell
        self.known, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.known.update(data)
        self.size += len(data)
        if self._tell:
            self._tell(self.size)
        return len(data)

    def flush(self) -> None:
        self._file.flush()
