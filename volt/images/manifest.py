"""Manifests of images and indexes of them, as registries and layouts have them: OCI image-spec, manifest.md and
image-index.md; Docker's schema 2 says the same in other words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from volt.errors import StoreError
from volt.images.config import CONFIG_MOST
from volt.images.platforms import Platform
from volt.model.values import Value
from volt.store.place import PREFIX, is_digest

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_LAYERS = (
    *(f"application/vnd.oci.image.layer.v1.tar{packed}" for packed in ("", "+gzip", "+zstd")),
    *(f"application/vnd.docker.image.rootfs.diff.tar{packed}" for packed in ("", ".gzip", ".zstd")),
)
SIZE_MOST, ALL_MOST = 64 << 30, 256 << 30  # bytes of one blob, and of an image
LAYERS_MOST = 512


class Blob(Value):
    """What a manifest says of one blob: 64 hex digits of SHA-256, and bytes."""

    digest: str
    size: int

    def __str__(self) -> str:
        return f"{PREFIX}{self.digest}"


class Packed(Value):
    """An image's config and its layers as they are packed, the lowest first."""

    config: Blob
    layers: tuple[Blob, ...]


class Listed(Value):
    """One line of an index: a manifest, or an index again; what it is called, and for which platform it is, whose
    architecture is "" where it does not say."""

    blob: Blob
    kind: str
    labels: tuple[str, ...]
    platform: Platform

    @property
    def is_index(self) -> bool:
        return self.kind in INDEXES


def listed(index: Mapping[str, Any]) -> tuple[Listed, ...]:
    """The images for Linux, and the indexes, in an index. Raises StoreError."""
    found = []
    for one in objects(index, "manifests"):
        platform, notes = _table(one, "platform"), _table(one, "annotations")
        labels = tuple(str(notes[key]) for key in _NAMES if key in notes)
        said = Platform(*(str(platform.get(key, "")) for key in ("architecture", "variant")))
        if one.get("mediaType") in (*INDEXES, *MANIFESTS) and platform.get("os", "linux") == "linux":
            found.append(Listed(blob(one), str(one["mediaType"]), labels, said))
    return tuple(found)


def packed(manifest: Mapping[str, Any]) -> Packed:
    """What a manifest says of its image. Raises StoreError, for an artifact that is no image too."""
    config = _table(manifest, "config")
    if config.get("mediaType") not in _CONFIGS:
        raise StoreError(f"it is no image but an artifact: {config.get('mediaType')}")
    layers = objects(manifest, "layers")
    if len(layers) > LAYERS_MOST:
        raise StoreError(f"the image has more than {LAYERS_MOST} layers")
    for one in layers:
        if one.get("mediaType") not in _LAYERS:
            raise StoreError(f"a layer is of a kind that is not taken: {one.get('mediaType')}")
    found = Packed(blob(config), tuple(map(blob, layers)))
    if found.config.size > CONFIG_MOST or sum(one.size for one in found.layers) > ALL_MOST:
        raise StoreError(f"the image is larger than {ALL_MOST} bytes, or its config than {CONFIG_MOST}")
    return found


def write_manifest(image: Packed) -> bytes:
    """The manifest of an image whose layers are packed with gzip; the same for the same image."""
    layers = [_descriptor(_LAYERS[1], one) for one in image.layers]
    known = {"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": _descriptor(_CONFIGS[0], image.config)}
    return json.dumps({**known, "layers": layers}, separators=(",", ":")).encode()


def _descriptor(kind: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": str(blob), "size": blob.size}


def blob(descriptor: Mapping[str, Any]) -> Blob:
    """Raises StoreError for a digest or a size that is none."""
    said, size = descriptor.get("digest"), descriptor.get("size")
    digest = said.removeprefix(PREFIX) if isinstance(said, str) else ""
    if said != f"{PREFIX}{digest}" or not is_digest(digest):
        raise StoreError(f"{said!r} is no digest that can be checked")
    if type(size) is not int or not 0 < size <= SIZE_MOST:
        raise StoreError(f"blob {said} cannot have {size!r} bytes")
    return Blob(digest, size)


def objects(known: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects. Raises StoreError for what is none."""
    found = known.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise StoreError(f"{key} is no list of objects")
    return found


def _table(known: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = known.get(key) or {}
    if not isinstance(found, dict):
        raise StoreError(f"{key} is no object")
    return found
