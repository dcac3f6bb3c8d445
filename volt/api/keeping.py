"""Manifests in the store: putting one in, and letting it go."""

from __future__ import annotations

from pathlib import Path

from volt.api.imaging import require_root, told
from volt.errors import ManifestError
from volt.host.folders import folders
from volt.host.sources import FileSources
from volt.manifest.chain import parse_document
from volt.store import manifests
from volt.store.manifests import Added


def add_manifest(file: str | Path) -> str:
    """Put a manifest into the store, for others to extend by the digest of its bytes; its `cas://sha256:…`. It may be a
    part of one. Raises ManifestError for what is no TOML, StoreError, HostUnfit without root."""
    require_root()
    with told(f"{file} cannot be added"):
        return manifests.add(folders().state, read_toml(str(file)), str(Path(file).absolute()))


def read_toml(file: str) -> bytes:
    """A manifest, or a part of one, as it is written. Raises ManifestError for what is no TOML, OSError."""
    sources = FileSources()
    data = sources.read(file)
    require_toml(file, data, quotable=sources.quotable(file))
    return data


def require_toml(file: str, data: bytes, *, quotable: bool = True) -> None:
    """Raises ManifestError."""
    document = parse_document(file, data, quotable=quotable)
    if document.finding:
        raise ManifestError((document.told(document.finding),))


def stored(url: str) -> str:
    """The file of a manifest in the store. Raises OSError, with a message for people."""
    return manifests.place(folders().state, url)


def added_manifests() -> tuple[Added, ...]:
    """The manifests in the store, with where each was read from. Raises StoreError, HostUnfit without root."""
    require_root()
    with told("the manifests in the store cannot be listed"):
        return manifests.added(folders().state)


def remove_manifest(url: str) -> str:
    """Let a manifest go with the next `collect_store`; its digest. Raises StoreError, HostUnfit without root."""
    require_root()
    with told(f"{url} cannot be removed"):
        return manifests.remove(folders().state, url)
