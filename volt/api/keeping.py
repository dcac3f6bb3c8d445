"""Manifests and profiles in the store: putting one in, and letting it go."""

from __future__ import annotations

from pathlib import Path

from volt.api.imaging import require_root, told
from volt.host.folders import folders
from volt.store import manifests
from volt.store.manifests import Added


def add_manifest(file: str | Path) -> str:
    """Put a manifest into the store, for others to extend by the digest of its bytes; its `cas://sha256:…`. It may be a
    part of one. Or a profile, a Landlock policy or a seccomp profile, by which manifests name it. Raises ManifestError
    for what is no TOML, StoreError, HostUnfit without root."""
    from volt.api.documents import read_document

    require_root()
    with told(f"{file} cannot be added"):
        return manifests.add(folders().state, read_document(str(file)).data, str(Path(file).absolute()))


def stored(url: str) -> str:
    """The file of a manifest or a profile in the store. Raises OSError, with a message for people."""
    return manifests.place(folders().state, url)


def added_manifests() -> tuple[Added, ...]:
    """The manifests and profiles in the store, with where each was read from. Raises StoreError, HostUnfit without
    root."""
    require_root()
    with told("the manifests in the store cannot be listed"):
        return manifests.added(folders().state)


def remove_manifest(url: str) -> str:
    """Let a manifest or a profile go with the next `collect_store`; its digest. Raises StoreError, HostUnfit without
    root."""
    require_root()
    with told(f"{url} cannot be removed"):
        return manifests.remove(folders().state, url)
