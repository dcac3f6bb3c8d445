"""Images on their way to registries: packed, and sent where the registry has not got them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from volt.api.imaging import require_root, told
from volt.api.packing import packed
from volt.api.trusting import required_origin
from volt.errors import NoSuchImage
from volt.host import registries
from volt.host.folders import folders
from volt.host.settings import read_settings
from volt.images import records
from volt.images.reference import Reference, name
from volt.model.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volt.images.pack import Made
    from volt.images.records import Image
    from volt.images.registry import Registry

# What is being done, and the bytes so far, of how many; 0 where that is not known.
Progress = Callable[[str, int, int], None]


class Pushed(Value):
    """What a registry has now: `image` is what it is called there, HOST/PATH:VERSION, `manifest` its digest there,
    `sha256:…`, and `sent` the bytes of it that the registry did not have."""

    image: str
    manifest: str
    sent: int


def push_image(word: str, target: str = "", *, progress: Progress | None = None) -> Pushed:
    """Send an image to a registry, as `target`, `[REGISTRY/]NAME[:VERSION]`, or by its own name. It goes there as one
    layer, the same for the same tree, with what the image says about itself; what the repository has already is not
    sent. Its name is given last, so that nobody finds half of it. Raises NoSuchImage, RegistryError, StoreError,
    HostUnfit without root, VoltError for settings that are not understood."""
    from volt.images.registry import Registry

    require_root()
    state = folders().state
    found = records.find(state, word)
    named = _named(found, target)
    settings = read_settings()
    origin = required_origin(named, settings)
    with told(f"{word} cannot be pushed"):
        registry = Registry(registries.access(origin.host, settings.registries), origin.repository)
        tell = (lambda size: progress("packing", size, 0)) if progress else None
        with packed(found, state, tell) as (made, layer):
            sent = _send(registry, made, layer, progress)
            registry.put_manifest(named.version, made.manifest, made.kind)
    return Pushed(f"{origin}:{named.version}", made.digest, sent)


def _named(found: Image, target: str) -> Reference:
    if target:
        return name(target)
    named = Reference(found.name, found.version)
    if not found.name or named.pinned:
        raise NoSuchImage(f"{found.reference} has no name to be pushed by", hint="volt image push IMAGE REGISTRY/NAME")
    return named


def _send(registry: Registry, made: Made, layer: BinaryIO, progress: Progress | None) -> int:
    """The bytes of what the registry did not have."""
    sent = 0
    for blob, file in ((made.image.layers[0], layer), (made.image.config, io.BytesIO(made.config))):
        if not registry.has(blob):
            file.seek(0)
            registry.put(blob, _Outgoing(file, blob.size, progress))
            sent += blob.size
    return sent


class _Outgoing:
    """A file as requests sends it: so many bytes, and how far it is."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress | None) -> None:
        self._file, self._size, self._progress = file, size, progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 20):
            yield piece

    def read(self, most: int = -1, /) -> bytes:
        piece = self._file.read(most)
        if self._progress:
            self._progress("sending", self._file.tell(), self._size)
        return piece
