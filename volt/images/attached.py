"""The signatures that a registry has of a manifest: under a tag, and hanging on it."""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from volt.errors import NoSuchManifest, StoreError, WrongContent
from volt.images.bundles import BUNDLE, enclosed, read_bundle, referring
from volt.images.records import Signature
from volt.images.reference import Reference
from volt.images.signatures import stored, tag_of
from volt.store.place import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volt.images.manifest import Blob
    from volt.images.registry import Registry


def stored_signatures(registry: Registry, manifests: tuple[str, ...]) -> tuple[tuple[Signature, ...], tuple[str, ...]]:
    """Those of the manifests, `sha256:…`, whoever has made them; and why others are none that is understood. Raises
    RegistryError, StoreError for a list that is damaged."""
    found: list[Signature] = []
    odd: list[str] = []
    for manifest in manifests:
        for payload, signature in _tagged(registry, manifest):
            with _passed_over(odd):
                found.append(Signature(base64.b64encode(_whole(registry, payload)).decode(), signature))
        bundles, there = referring(registry.referrers(manifest, BUNDLE) or _NOTHING)
        for bundle in bundles:
            with _passed_over(odd):
                found.append(_bundled(registry, bundle))
        if there > len(bundles):
            odd.append(f"of its {there} bundles the first {len(bundles)} are looked at")
    return tuple(found), tuple(odd)


_NOTHING = b'{"manifests": []}'


@contextmanager
def _passed_over(odd: list[str]) -> Iterator[None]:
    """One that is not what it should be says nothing of the others; a registry that fails does."""
    try:
        yield
    except (StoreError, NoSuchManifest, WrongContent) as error:
        odd.append(error.message)


def _tagged(registry: Registry, manifest: str) -> tuple[tuple[Blob, str], ...]:
    try:
        listed, _ = registry.manifest(Reference(registry.repository, tag_of(manifest)))
    except NoSuchManifest:
        return ()
    return stored(listed)


def _bundled(registry: Registry, manifest: Blob) -> Signature:
    data, _ = registry.manifest(Reference(registry.repository, "", manifest.digest))
    return read_bundle(_whole(registry, enclosed(data)))


def _whole(registry: Registry, wanted: Blob) -> bytes:
    data = b"".join(registry.blob(wanted))
    if hashlib.sha256(data).hexdigest() != wanted.digest:
        raise WrongContent(f"{registry.host} gave another payload than {PREFIX}{wanted.digest}")
    return data
