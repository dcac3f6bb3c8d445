"""An image in a file tree, an OCI layout or what docker save writes: its config and its layers are found there.

OCI image-spec, image-layout.md, image-index.md, manifest.md; moby, image/spec. Every blob is a file whose digest is
known by then, so that comparing is checking.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from volt.errors import StoreError
from volt.images.config import CONFIG_MOST, parsed
from volt.model.values import Value
from volt.store.place import PREFIX, is_digest
from volt.store.tree import Node, text

Open = Callable[[str], BinaryIO]  # the content of a file by its digest
_LAYOUT, _INDEX, _SAVED = b"oci-layout", b"index.json", b"manifest.json"
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_LAYERS = (
    *(f"application/vnd.oci.image.layer.v1.tar{packed}" for packed in ("", "+gzip", "+zstd")),
    *(f"application/vnd.docker.image.rootfs.diff.tar{packed}" for packed in ("", ".gzip", ".zstd")),
)
_DEEPEST = 4  # indexes in indexes
_CONFIG = re.compile(rb"[0-9a-f]{64}\.json")  # what docker save calls it
_LINKS = 8  # on the way to one layer


class Packed(Value):
    """The digests of an image's config and of its layers as they are packed, the lowest first; `labels` is what it is
    called where it was."""

    config: str
    layers: tuple[str, ...]
    labels: tuple[str, ...] = ()


def holds_layers(root: Node) -> bool:
    """Whether a tree is no root, but holds the layers of one."""
    top = root.children or {}
    saved = _SAVED in top and (b"repositories" in top or any(map(_CONFIG.fullmatch, top)))
    return _LAYOUT in top or saved


def find_image(root: Node, read: Open, wanted: str, architecture: str) -> Packed:
    """The image that is called `wanted`, or the only one; of several architectures the one for `architecture`, as Go
    calls it. Raises StoreError."""
    layout = _Layout(root, read)
    found = list(layout.images(architecture) if _LAYOUT in layout.top else layout.saved())
    named = [one for one in found if wanted in one.labels] if wanted else found
    if len({(one.config, one.layers) for one in named}) == 1:
        return named[0]
    there = ", ".join(sorted({label for one in found for label in one.labels})) or "some without a name"
    if not found:
        raise StoreError(f"there is no image for {architecture} in it")
    if wanted:
        raise StoreError(f"there is not one image {wanted} in it: {there}")
    raise StoreError(f"there are several images in it: {there}", hint="say which with --image NAME")


class _Layout:
    """The files of one layout."""

    def __init__(self, root: Node, read: Open) -> None:
        self.top = root.children or {}
        self._read = read

    def images(self, architecture: str) -> Iterator[Packed]:
        index = self._document(self._file(_INDEX), "index.json")
        yield from self._listed(index, architecture, (), 0)

    def _listed(
        self, index: dict[str, Any], architecture: str, labels: tuple[str, ...], depth: int
    ) -> Iterator[Packed]:
        if depth > _DEEPEST:
            raise StoreError(f"there are more than {_DEEPEST} indexes in each other")
        for one in _objects(index, "manifests"):
            notes = one.get("annotations") or {}
            own = labels or tuple(str(notes[key]) for key in _NAMES if isinstance(notes, dict) and key in notes)
            platform = one.get("platform") or {}
            wanted = platform.get("architecture", architecture) == architecture
            if one.get("mediaType") in _INDEXES:
                yield from self._listed(self._blob(one), architecture, own, depth + 1)
            elif one.get("mediaType") in _MANIFESTS and wanted and platform.get("os", "linux") == "linux":
                yield self._packed(self._blob(one), own)

    def _packed(self, manifest: dict[str, Any], labels: tuple[str, ...]) -> Packed:
        config = manifest.get("config")
        if not isinstance(config, dict) or config.get("mediaType") not in _CONFIGS:
            kind = config.get("mediaType") if isinstance(config, dict) else None
            raise StoreError(f"it is no image but an artifact: {kind}")
        layers = _objects(manifest, "layers")
        for one in layers:
            if one.get("mediaType") not in _LAYERS:
                raise StoreError(f"a layer is of a kind that is not taken: {one.get('mediaType')}")
        return Packed(self._digest(config), tuple(map(self._digest, layers)), labels)

    def saved(self) -> Iterator[Packed]:
        """Of docker save: a list of images, each with the paths of its config and its layers."""
        for one in self._list(self._file(_SAVED)):
            config, layers = one.get("Config"), one.get("Layers")
            if not isinstance(config, str) or not isinstance(layers, list):
                raise StoreError("manifest.json is damaged: an image has no Config or no Layers")
            found = [self._file(str(path).encode("utf-8", "surrogateescape")).digest for path in layers]
            labels = tuple(map(str, one.get("RepoTags") or ()))
            yield Packed(self._file(config.encode("utf-8", "surrogateescape")).digest, tuple(found), labels)

    # ── files

    def _file(self, path: bytes) -> Node:
        """A regular file by its path, links followed in the layout alone. Raises StoreError."""
        names, way, links = path.split(b"/")[::-1], [self.top], 0
        while names:
            name = names.pop()
            node = way[-1].get(name)
            if name == b"..":
                way = way[:-1] or way
            elif name in (b"", b"."):
                continue
            elif node is not None and node.children is not None:
                way.append(node.children)
            elif node is not None and stat.S_ISLNK(node.mode) and links < _LINKS:
                links += 1
                way = way[:1] if node.target.startswith(b"/") else way
                names += node.target.split(b"/")[::-1]
            elif node is not None and node.digest and not names:
                return node
            else:
                break
        raise StoreError(f"there is no file {text(path)} in it, or it is empty")

    def _digest(self, descriptor: dict[str, Any]) -> str:
        """Of a blob that is there and is what it is said to be."""
        said = descriptor.get("digest")
        digest = said.removeprefix(PREFIX) if isinstance(said, str) else ""
        if said != f"{PREFIX}{digest}" or not is_digest(digest):
            raise StoreError(f"{said!r} is no digest that can be checked")
        node = self._file(f"blobs/sha256/{digest}".encode())
        if node.digest != digest:
            raise StoreError(f"blob {said} is damaged: it is {PREFIX}{node.digest}")
        if descriptor.get("size", node.size) != node.size:
            raise StoreError(f"blob {said} has {node.size} bytes, and {descriptor['size']} are said")
        return digest

    def _blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        digest = self._digest(descriptor)
        return self._parsed(digest, f"blob {PREFIX}{digest}")

    def _document(self, node: Node, what: str) -> dict[str, Any]:
        return self._parsed(node.digest, what)

    def _parsed(self, digest: str, what: str) -> dict[str, Any]:
        with self._read(digest) as file:
            return parsed(_bounded(file, what), what)

    def _list(self, node: Node) -> list[dict[str, Any]]:
        with self._read(node.digest) as file:
            data = _bounded(file, "manifest.json")
        return _objects(parsed(b'{"images": %s}' % data, "manifest.json"), "images")


def _bounded(file: BinaryIO, what: str) -> bytes:
    data = file.read(CONFIG_MOST + 1)
    if len(data) > CONFIG_MOST:
        raise StoreError(f"{what} has more than {CONFIG_MOST} bytes")
    return data


def _objects(known: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = known.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise StoreError(f"{key} is no list of objects")
    return found
