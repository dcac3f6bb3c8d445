"""Signatures of images, as cosign stores them: beside the image, under a tag that its digest names; or hanging on it,
volt/images/bundles.py.

A signature is over a payload, which says the digest of the manifest, and the repository: both have to be those of the
image that was asked for. The format: specs/SIGNATURE_SPEC.md of cosign; containers-signature(5) for the payload.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from volt.errors import StoreError
from volt.images.bundles import SIGNS, STATEMENT, signed_bytes, statement
from volt.images.config import parsed
from volt.images.manifest import Blob, blob, objects
from volt.images.records import Signature
from volt.images.reference import HUB
from volt.model.values import Value
from volt.store.place import PREFIX

PAYLOAD_MOST, SIGNATURES_MOST = 1 << 16, 32  # bytes; of one image
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"
_HUBS = ("index.docker.io", "registry-1.docker.io")  # what others call docker.io
_NAMED, _SIGNED = "docker-reference", "timestamp"  # annotations of a statement: as the other payload calls them
_DIGITS = 12  # of a time in seconds


class Subject(Value):
    """What has to be signed: one of `manifests`, `sha256:…`, as those of `repository`, HOST/PATH. With `any_repository`
    a statement that names none counts too."""

    repository: str
    manifests: tuple[str, ...]
    any_repository: bool = False


class Claim(Value):
    """What a payload says: of which repository, None for none, which manifest, and when, in seconds since 1970, None
    where it does not say."""

    repository: str | None
    manifests: tuple[str, ...]
    signed: int | None


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


def signers(signatures: Iterable[Signature], keys: Iterable[str], subject: Subject) -> tuple[str, ...]:
    """The keys, PEM, that have signed it. Raises StoreError for a key that is none."""
    good = [one for one in signatures if _is_of(claim_of(one), subject)]
    return tuple(key for key in keys if any(_has_signed(key, one) for one in good))


def signed_last(signatures: Iterable[Signature], keys: Iterable[str], subject: Subject) -> int | None:
    """When one of the keys has signed it last, in seconds since 1970, None where none says. Raises StoreError for a key
    that is none."""
    known, last = tuple(keys), None
    for one in signatures:
        claim = claim_of(one)
        if claim and claim.signed is not None and signers((one,), known, subject):
            last = max(claim.signed, last or 0)
    return last


def fingerprint(key: str) -> str:
    """What a key is shown as: the digest of its SubjectPublicKeyInfo. Raises StoreError."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    plain = _loaded(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{PREFIX}{hashlib.sha256(plain).hexdigest()}"


# ── what is signed


def claim_of(one: Signature) -> Claim | None:
    """What a signature is over, None for what is not understood. Whether it is one nobody has looked at yet."""
    try:
        return _of_statement(one.payload) if one.kind == STATEMENT else _of_payload(one.payload)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _of_payload(payload: str) -> Claim | None:
    said = json.loads(base64.b64decode(payload, validate=True))
    critical: Mapping[str, Any] = said["critical"]
    named, digest = critical["identity"]["docker-reference"], critical["image"]["docker-manifest-digest"]
    if critical["type"] != _TYPE or not isinstance(digest, str):
        return None
    return Claim(_repository(named), (digest,), _seconds((said.get("optional") or {}).get(_SIGNED)))


def _of_statement(payload: str) -> Claim | None:
    said = statement(payload)
    if said["predicateType"] != SIGNS or len(said["subject"]) != 1:
        return None
    subject: Mapping[str, Any] = said["subject"][0]
    notes = subject.get("annotations") or {}
    named = notes.get(_NAMED)
    manifest = f"{PREFIX}{subject['digest']['sha256']}"
    return Claim(None if named is None else _repository(named), (manifest,), _seconds(notes.get(_SIGNED)))


def _is_of(claim: Claim | None, subject: Subject) -> bool:
    """Whether it speaks of this image, and of nothing that could be another."""
    if claim is None or not set(claim.manifests) & set(subject.manifests):
        return False
    return subject.any_repository if claim.repository is None else claim.repository == subject.repository


def _seconds(said: object) -> int | None:
    """podman writes a number, and what cosign is told with -a is text."""
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) <= _DIGITS:
        return int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 10**_DIGITS else None


def _repository(reference: str) -> str:
    """Without a tag and a digest, which newer signers write too; the digest that counts stands elsewhere."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    host, _, path = (head if colon and "/" not in tag else name).partition("/")
    return f"{HUB if host in _HUBS else host}/{path}"


# ── who has signed


def _has_signed(key: str, one: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    loaded = _loaded(key)
    try:
        payload, signature = (base64.b64decode(part, validate=True) for part in (one.payload, one.signature))
        over = signed_bytes(one.kind, payload) if one.kind else payload
        if isinstance(loaded, ec.EllipticCurvePublicKey):
            loaded.verify(signature, over, ec.ECDSA(_digest_of(loaded, one)))
        elif isinstance(loaded, ed25519.Ed25519PublicKey):
            loaded.verify(signature, over)
        elif isinstance(loaded, rsa.RSAPublicKey):
            loaded.verify(signature, over, padding.PKCS1v15(), hashes.SHA256())
        else:
            raise StoreError(
                f"the policy has a key of another kind than ECDSA, Ed25519 and RSA: {type(loaded).__name__}"
            )
    except (InvalidSignature, ValueError):  # which base64 raises
        return False
    return True


def _digest_of(key: Any, one: Signature) -> Any:
    """In a bundle each curve has its own, sigstore_common.proto, PublicKeyDetails."""
    from cryptography.hazmat.primitives import hashes

    curves = {384: hashes.SHA384(), 521: hashes.SHA512()} if one.kind else {}
    return curves.get(key.curve.key_size, hashes.SHA256())


def _loaded(key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StoreError(
            f"a public key of the policy is not understood: {error}", hint="mend it in the policy"
        ) from error
