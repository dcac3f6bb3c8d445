"""A signature counts for one key, one repository and one manifest, as cosign writes them; whatever differs is none."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from volt.errors import StoreError
from volt.images.records import Signature
from volt.images.signatures import Subject, fingerprint, signed_last, signers, stored, tag_of

WHERE, MANIFEST, OTHER = "registry.example/team/app", f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
TYPE = "cosign container image signature"
CURVE, EDWARDS = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def payload(where=WHERE, manifest=MANIFEST, kind=TYPE, optional=None):
    said = {"identity": {"docker-reference": where}, "image": {"docker-manifest-digest": manifest}, "type": kind}
    return json.dumps({"critical": said, "optional": optional}).encode()


def signed(key, data, over=None):
    options = {CURVE: (ec.ECDSA(hashes.SHA256()),), EDWARDS: (), RSA: (padding.PKCS1v15(), hashes.SHA256())}[key]
    made = key.sign(over if over is not None else data, *options)
    return Signature(*(base64.b64encode(one).decode() for one in (data, made)))


def found(one, *keys, manifests=(MANIFEST,)):
    return signers([one], map(pem, keys), Subject(WHERE, manifests))


@pytest.mark.parametrize("key", [CURVE, EDWARDS, RSA], ids=["ECDSA", "Ed25519", "RSA"])
def test_a_signature_is_one_of_the_key_that_made_it_and_of_no_other(key):
    one = signed(key, payload())
    assert found(one, CURVE, EDWARDS, RSA) == (pem(key),)
    assert found(one, *({CURVE, EDWARDS, RSA} - {key})) == ()


@pytest.mark.parametrize("where", [f"{WHERE}:1.2", f"{WHERE}@{MANIFEST}", f"{WHERE}:1@{OTHER}"])
def test_a_version_beside_the_repository_says_nothing_more(where):
    assert found(signed(CURVE, payload(where)), CURVE) == (pem(CURVE),)


def test_docker_io_has_several_names():
    one = signed(CURVE, payload("index.docker.io/library/app"))
    assert signers([one], [pem(CURVE)], Subject("docker.io/library/app", (MANIFEST,))) == (pem(CURVE),)


@pytest.mark.parametrize(
    "data",
    [
        payload(where="registry.example/team/other"),
        payload(where="registry.example/team/app/more"),
        payload(where="registry.example:443/team/app"),
        payload(where="team/app"),
        payload(where=""),
        payload(where=None),
        payload(manifest=OTHER),
        payload(manifest=""),
        payload(manifest=[MANIFEST]),
        payload(kind="atomic container signature"),
        b"{}",
        b"[]",
        b"null",
        b"",
        b"\xff",
        b"[" * 60000,
    ],
    ids=range(16),
)
def test_a_good_signature_of_anything_else_is_none_of_this_image(data):
    assert found(signed(CURVE, data), CURVE) == ()


def test_a_payload_that_was_changed_or_a_signature_that_is_no_base64_is_none():
    good = signed(CURVE, payload())
    assert found(signed(CURVE, payload(), over=payload(manifest=OTHER)), CURVE) == ()
    for signature in ("", "!", base64.b64encode(b"x").decode(), good.signature[:-8]):
        assert found(Signature(good.payload, signature), CURVE) == ()
    assert found(Signature(f"{good.payload}\n", good.signature), CURVE) == ()


def test_what_is_no_ascii_is_no_signature_and_says_nothing_of_others():
    good = signed(CURVE, payload())
    odd = [Signature(good.payload, f"{good.signature}é"), Signature(good.payload, "\ud800")]
    assert signers([*odd, good], [pem(CURVE)], Subject(WHERE, (MANIFEST,))) == (pem(CURVE),)
    assert found(odd[0], CURVE) == found(odd[1], CURVE) == ()


def test_the_index_that_was_chosen_from_may_be_signed_instead():
    assert found(signed(CURVE, payload(manifest=OTHER)), CURVE, manifests=(MANIFEST, OTHER)) == (pem(CURVE),)


@pytest.mark.parametrize(
    ("optional", "expected"),
    [
        ({"timestamp": 1700000000, "creator": "podman"}, 1700000000),
        ({"timestamp": "1700000000"}, 1700000000),
        *(
            ({"timestamp": odd}, None)
            for odd in (True, -1, 0.5, "", "-1", "\N{ARABIC-INDIC DIGIT ONE}", "1" * 13, 10**12, None, [1])
        ),
        ({}, None),
        (None, None),
    ],
)
def test_when_it_was_signed_is_what_the_signed_payload_says(optional, expected):
    one = signed(CURVE, payload(optional=optional))
    assert found(one, CURVE) == (pem(CURVE),)
    assert signed_last([one], [pem(CURVE)], Subject(WHERE, (MANIFEST,))) == expected


def test_the_last_time_counts_and_of_others_signatures_none():
    ours = [signed(CURVE, payload(optional={"timestamp": time})) for time in (7, 9, 8)]
    others = [
        signed(EDWARDS, payload(optional={"timestamp": 11})),
        signed(CURVE, payload(where="registry.example/other", optional={"timestamp": 12})),
        signed(CURVE, payload(), over=payload(optional={"timestamp": 13})),
    ]
    assert signed_last([*ours, *others], [pem(CURVE)], Subject(WHERE, (MANIFEST,))) == 9


def test_a_key_that_is_none_is_told_and_one_of_another_kind_too():
    one = signed(CURVE, payload())
    with pytest.raises(StoreError, match="not understood"):
        signers([one], ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"], Subject(WHERE, (MANIFEST,)))
    assert fingerprint(pem(CURVE)) == fingerprint(pem(CURVE).replace("\n", "\r\n")) != fingerprint(pem(EDWARDS))


def test_signatures_lie_under_a_tag_and_others_beside_them_are_left_alone():
    assert tag_of(MANIFEST) == f"sha256-{'a' * 64}.sig"
    layer = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": MANIFEST,
        "size": 240,
        "annotations": {"dev.cosignproject.cosign/signature": "c2ln"},
    }
    others = [{**layer, "mediaType": "text/plain"}, {**layer, "annotations": {}}, {**layer, "size": 1 << 17}]
    ((blob, signature),) = stored(json.dumps({"layers": [layer, *others]}).encode())
    assert (str(blob), blob.size, signature) == (MANIFEST, 240, "c2ln")
    assert len(stored(json.dumps({"layers": [layer] * 1000}).encode())) == 32
