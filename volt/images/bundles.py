"""Signatures as cosign 3 stores them: a Sigstore bundle that hangs on the image as a referrer.

In a bundle lies a DSSE envelope, and in that an in-toto statement of the digests that were signed. The formats:
specs/BUNDLE_SPEC.md of cosign; sigstore_bundle.proto of protobuf-specs; protocol.md and envelope.md of DSSE;
distribution-spec, "Listing Referrers". Certificates and logs need others to be trusted than a key, and count for
nothing here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from volt.errors import StoreError
from volt.images.config import parsed
from volt.images.manifest import Blob, blob, objects
from volt.images.records import Signature

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_MOST, BUNDLES_MOST = 1 << 16, 32  # bytes; of one image
STATEMENT = "application/vnd.in-toto+json"
SIGNS = "https://sigstore.dev/cosign/sign/v1"  # the statement that says no more than that it is signed
_ABOUT = "dev.sigstore.bundle.predicateType"
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


def referring(index: bytes) -> tuple[tuple[Blob, ...], int]:
    """The manifests of bundles, in an index of all that hangs on an image, the first of them, and how many there are.
    Those that say that they are about something else are none: of these a pipeline adds many. Raises StoreError."""
    lines = objects(parsed(index, "the list of referrers"), "manifests")
    bundles = [one for one in lines if one.get("artifactType") == BUNDLE and _may_sign(one)]
    return tuple(blob(one) for one in bundles[:BUNDLES_MOST]), len(bundles)


def _may_sign(line: Mapping[str, Any]) -> bool:
    """By an annotation that anybody may have written: it hides a bundle, and makes none good."""
    notes = line.get("annotations")
    return not isinstance(notes, dict) or notes.get(_ABOUT, SIGNS) == SIGNS


def enclosed(manifest: bytes) -> Blob:
    """Where the bundle lies of which that is the manifest. Raises StoreError."""
    layers = objects(parsed(manifest, "a bundle's manifest"), "layers")
    if len(layers) != 1 or layers[0].get("mediaType") != BUNDLE:
        raise StoreError("a bundle's manifest holds another thing than one bundle")
    found = blob(layers[0])
    if found.size > BUNDLE_MOST:
        raise StoreError(f"a bundle has more than {BUNDLE_MOST} bytes")
    return found


def read_bundle(data: bytes) -> Signature:
    """The signature in a bundle, and what it is over. Raises StoreError for one that is made in a way that is not
    known here, or says another thing than that an image is signed."""
    known = parsed(data, "a bundle")
    if known.get("mediaType") != BUNDLE:
        raise StoreError(f"a bundle is of the kind {_quoted(known.get('mediaType'))}")
    material = _table(known, "verificationMaterial")
    if "publicKey" not in material:
        made = ", ".join(key for key in ("certificate", "x509CertificateChain") if key in material) or "nothing"
        raise StoreError(f"a bundle is verified by {made}, not by a key")
    if "dsseEnvelope" not in known:
        raise StoreError("a bundle has no envelope that says what is signed")
    envelope = _table(known, "dsseEnvelope")
    if envelope.get("payloadType") != STATEMENT:
        raise StoreError(f"a bundle's envelope holds {_quoted(envelope.get('payloadType'))}")
    made_by = objects(envelope, "signatures")
    payload, signature = envelope.get("payload"), made_by[0].get("sig") if len(made_by) == 1 else None
    if not isinstance(payload, str) or not isinstance(signature, str):
        raise StoreError("a bundle's envelope has not one payload and one signature")
    _require_signs(payload)
    return Signature(payload, signature, STATEMENT)


def _require_signs(payload: str) -> None:
    """Others of its statements say what an image was built from, or what is in it."""
    try:
        said = statement(payload)["predicateType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StoreError("a bundle's envelope holds no statement") from None
    if said != SIGNS:
        raise StoreError(f"a bundle is about {_quoted(said)}, and no signature of an image")


def statement(payload: str) -> Mapping[str, Any]:
    """What a payload, base64, says. Raises ValueError, TypeError, RecursionError for what is none."""
    known = json.loads(base64.b64decode(payload, validate=True))
    if known["_type"] not in _STATEMENTS:
        raise ValueError
    return dict(known)


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """What a signature in an envelope is over: PAE of DSSE."""
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)


def _table(known: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = known.get(key)
    if not isinstance(found, dict):
        raise StoreError(f"a bundle's {key} is no object")
    return found


def _quoted(said: object) -> str:
    return repr(said)[:100]
