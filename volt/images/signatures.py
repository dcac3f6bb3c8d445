"""Signatures of images, as cosign stores them: beside the image, under a tag that its digest names.

A signature is over a payload, which says the repository and the digest of the manifest; both have to be those of the
image that was asked for. The format: specs/SIGNATURE_SPEC.md of cosign; containers-signature(5) for the payload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from volt.errors import StoreError
from volt.images.config import parsed
from volt.images.manifest import Blob, blob, objects
from volt.images.records import Signature
from volt.images.reference import HUB
from volt.store.place import PREFIX

PAYLOAD_MOST, SIGNATURES_MOST = 1 << 16, 32  # bytes; of one image
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"
_HUBS = ("index.docker.io", "registry-1.docker.io")  # what others call docker.io


def tag_of(manifest: str) -> str:
    """Under which tag the signatures of a manifest lie, `sha256:…`."""
    return f"{manifest.replace(':', '-')}.sig"


def stored(manifest: bytes) -> tuple[tuple[Blob, str], ...]:
    """The payloads that a manifest of signatures lists, with their signatures. Raises StoreError."""
    found = []
    for one in objects(parsed(manifest, "the signatures' manifest"), "layers")[:SIGNATURES_MOST]:
        notes = one.get("annotations")
        said = notes.get(_SIGNATURE) if isinstance(notes, dict) else None
        if one.get("mediaType") == _PAYLOAD and isinstance(said, str) and len(said) < PAYLOAD_MOST:
            payload = blob(one)
            if payload.size <= PAYLOAD_MOST:
                found.append((payload, said))
    return tuple(found)


def signers(
    signatures: Iterable[Signature], keys: Iterable[str], repository: str, manifests: Iterable[str]
) -> tuple[str, ...]:
    """The keys, PEM, that have signed one of the manifests, `sha256:…`, as those of the repository, HOST/PATH. Raises
    StoreError for a key that is none."""
    good = [one for one in signatures if _is_of(one, repository, tuple(manifests))]
    return tuple(key for key in keys if any(_has_signed(key, one) for one in good))


def fingerprint(key: str) -> str:
    """What a key is shown as: the digest of its SubjectPublicKeyInfo. Raises StoreError."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    plain = _loaded(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{PREFIX}{hashlib.sha256(plain).hexdigest()}"


def _is_of(one: Signature, repository: str, manifests: tuple[str, ...]) -> bool:
    """Whether the payload speaks of this image, and of nothing that could be another."""
    try:
        said = json.loads(base64.b64decode(one.payload, validate=True))
        critical: Mapping[str, Any] = said["critical"]
        named, digest = critical["identity"]["docker-reference"], critical["image"]["docker-manifest-digest"]
        return critical["type"] == _TYPE and digest in manifests and _repository(named) == repository
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _repository(reference: str) -> str:
    """Without a tag and a digest, which newer signers write too; the digest that counts stands elsewhere."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    host, _, path = (head if colon and "/" not in tag else name).partition("/")
    return f"{HUB if host in _HUBS else host}/{path}"


def _has_signed(key: str, one: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    loaded = _loaded(key)
    try:
        payload, signature = (base64.b64decode(part, validate=True) for part in (one.payload, one.signature))
        if isinstance(loaded, ec.EllipticCurvePublicKey):
            loaded.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        elif isinstance(loaded, ed25519.Ed25519PublicKey):
            loaded.verify(signature, payload)
        elif isinstance(loaded, rsa.RSAPublicKey):
            loaded.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        else:
            raise StoreError(
                f"the policy has a key of another kind than ECDSA, Ed25519 and RSA: {type(loaded).__name__}"
            )
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _loaded(key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StoreError(
            f"a public key of the policy is not understood: {error}", hint="mend it in the policy"
        ) from error
