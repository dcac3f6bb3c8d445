"""A manifest or a profile of volt's as an artifact of a registry: OCI image-spec, manifest.md, "Guidelines for Artifact
Usage"; as oras(1) writes one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from volt.errors import StoreError
from volt.images.manifest import MANIFESTS, Blob, blob, objects

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "application/vnd.volt.manifest.v2+toml"
LANDLOCK = "application/vnd.volt.landlock.v1+toml"
SECCOMP, SECCOMP_OCI = "application/vnd.volt.seccomp.v1+toml", "application/vnd.volt.seccomp.v1+json"
KINDS = (MANIFEST, LANDLOCK, SECCOMP, SECCOMP_OCI)
_EMPTY_KIND, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_TITLE = "org.opencontainers.image.title"  # what oras pull calls the file


def blob_of(data: bytes) -> Blob:
    """How bytes are named."""
    return Blob(hashlib.sha256(data).hexdigest(), len(data))


def write_artifact(document: bytes, title: str, kind: str = MANIFEST) -> bytes:
    """What names a document of a kind in a registry; the same for the same document and title."""
    said = {_TITLE: title}
    layer = {"mediaType": kind, "digest": str(blob_of(document)), "size": len(document), "annotations": said}
    config = {"mediaType": _EMPTY_KIND, "digest": str(blob_of(EMPTY)), "size": len(EMPTY)}
    known = {"schemaVersion": 2, "mediaType": MANIFESTS[0], "artifactType": kind, "config": config, "layers": [layer]}
    return json.dumps(known, separators=(",", ":")).encode()


def document_of(artifact: Mapping[str, Any], most: int) -> tuple[Blob, str]:
    """The document that an artifact holds, of at most so many bytes, and its kind. Raises StoreError for what holds
    another thing."""
    layers = objects(artifact, "layers")
    if len(layers) != 1 or layers[0].get("mediaType") not in KINDS:
        config = artifact.get("config")
        kind = artifact.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
        raise StoreError(f"it is no manifest and no profile of volt's: {kind}", hint="volt image pull fetches images")
    found = blob(layers[0])
    if found.size > most:
        raise StoreError(f"the document has more than {most} bytes")
    return found, str(layers[0]["mediaType"])
