"""An image in a file tree, an OCI layout or what docker save writes: its config and its layers are found there.

OCI image-spec, image-layout.md, image-index.md, manifest.md; moby, image/spec. Every blob is a file whose digest is
known by then, so that comparing is checking.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from volt.errors import StoreError
from volt.images.config import CONFIG_MOST, parsed
from volt.images.manifest import Blob, Packed, listed, objects, packed
from volt.images.platforms import Platform, best
from volt.store.place import PREFIX
from volt.store.tree import Node, text

Open = Callable[[str], BinaryIO]  # the content of a file by its digest
_LAYOUT, _INDEX, _SAVED = b"oci-layout", b"index.json", b"manifest.json"
_DEEPEST, _LISTED_MOST = 4, 1000  # indexes in indexes, and lines of all of them
_CONFIG = re.compile(rb"[0-9a-f]{64}\.json")  # what docker save calls it
_LINKS = 8  # on the way to one layer
Found = tuple[Packed, tuple[str, ...]]  # an image, and what it is called


def holds_layers(root: Node) -> bool:
    """Whether a tree is no root, but holds the layers of one."""
    top = root.children or {}
    saved = _SAVED in top and (b"repositories" in top or any(map(_CONFIG.fullmatch, top)))
    return _LAYOUT in top or saved


def find_image(root: Node, read: Open, wanted: str, platform: Platform) -> Packed:
    """The image that is called `wanted`, or the only one; of several architectures and variants the one that is best
    for `platform`. Raises StoreError."""
    layout = _Layout(root, read)
    found = list(layout.images(platform) if _LAYOUT in layout.top else layout.saved())
    named = {one for one, labels in found if not wanted or wanted in labels}
    if len(named) == 1:
        return named.pop()
    there = ", ".join(sorted({label for _, labels in found for label in labels})) or "some without a name"
    if not found and layout.odd:
        raise layout.odd
    if not found:
        raise StoreError(f"there is no image for {platform} in it")
    if wanted:
        raise StoreError(f"there is not one image {wanted} in it: {there}")
    raise StoreError(f"there are several images in it: {there}", hint="say which with --image NAME")


class _Layout:
    """The files of one layout."""

    def __init__(self, root: Node, read: Open) -> None:
        self.top = root.children or {}
        self.odd: StoreError | None = None  # why a manifest was none of an image
        self._read = read
        self._count = 0

    def images(self, platform: Platform) -> Iterator[Found]:
        index = self._parsed(self._file(_INDEX).digest, "index.json")
        yield from self._listed(index, platform, (), 0)

    def _listed(
        self, index: Mapping[str, Any], wanted: Platform, labels: tuple[str, ...], depth: int
    ) -> Iterator[Found]:
        if depth > _DEEPEST:
            raise StoreError(f"there are more than {_DEEPEST} indexes in each other")
        lines = listed(index)
        self._count += len(lines)
        if self._count > _LISTED_MOST:
            raise StoreError(f"there are more than {_LISTED_MOST} manifests in it")
        chosen = best([one for one in lines if not one.is_index], wanted)
        for one in lines:
            if one.is_index:
                yield from self._listed(self._blob(one.blob), wanted, labels or one.labels, depth + 1)
            elif one in chosen:
                yield from self._image(one.blob, labels or one.labels)

    def _image(self, blob: Blob, labels: tuple[str, ...]) -> Iterator[Found]:
        """Signatures and lists of contents lie beside images."""
        manifest = self._blob(blob)
        try:
            image = packed(manifest)
        except StoreError as error:
            self.odd = error
            return
        for each in (image.config, *image.layers):
            self._check(each)
        yield image, labels

    def saved(self) -> Iterator[Found]:
        """Of docker save: a list of images, each with the paths of its config and its layers."""
        for one in self._list(self._file(_SAVED)):
            config, layers = one.get("Config"), one.get("Layers")
            tags = one.get("RepoTags") or []
            if not isinstance(config, str) or not isinstance(layers, list) or not isinstance(tags, list):
                raise StoreError("manifest.json is damaged: an image has no Config or no Layers")
            found = [self._file(path.encode("utf-8", "replace")) for path in (config, *map(str, layers))]
            about, *blobs = (Blob(node.digest, node.size) for node in found)
            yield Packed(about, tuple(blobs)), tuple(map(str, tags))

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

    def _check(self, blob: Blob) -> None:
        """That it is there and is what it is said to be."""
        node = self._file(f"blobs/sha256/{blob.digest}".encode())
        if node.digest != blob.digest:
            raise StoreError(f"blob {blob} is damaged: it is {PREFIX}{node.digest}")
        if node.size != blob.size:
            raise StoreError(f"blob {blob} has {node.size} bytes, and {blob.size} are said")

    def _blob(self, blob: Blob) -> Mapping[str, Any]:
        self._check(blob)
        return self._parsed(blob.digest, f"blob {blob}")

    def _parsed(self, digest: str, what: str) -> Mapping[str, Any]:
        with self._read(digest) as file:
            return parsed(_bounded(file, what), what)

    def _list(self, node: Node) -> Sequence[Mapping[str, Any]]:
        with self._read(node.digest) as file:
            data = _bounded(file, "manifest.json")
        return objects(parsed(b'{"images": %s}' % data, "manifest.json"), "images")


def _bounded(file: BinaryIO, what: str) -> bytes:
    data = file.read(CONFIG_MOST + 1)
    if len(data) > CONFIG_MOST:
        raise StoreError(f"{what} has more than {CONFIG_MOST} bytes")
    return data
