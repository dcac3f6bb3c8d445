"""A bundle counts where a key has signed a statement that this image is signed; what is made otherwise is named."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from tests.unit.images.test_signatures import MANIFEST, OTHER, WHERE, pem
from volt.errors import StoreError
from volt.images.bundles import BUNDLE, SIGNS, STATEMENT, enclosed, read_bundle, referring
from volt.images.signatures import Subject, signed_last, signers

P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
EDWARDS, RSA = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
HOW = {
    P256: (ec.ECDSA(hashes.SHA256()),),
    P384: (ec.ECDSA(hashes.SHA384()),),
    EDWARDS: (),
    RSA: (padding.PKCS1v15(), hashes.SHA256()),
}


def statement(notes=None, manifest=MANIFEST, about=SIGNS, **more):
    subject = {"digest": {"sha256": manifest.removeprefix("sha256:")}, "annotations": notes or {}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": about,
        "predicate": {},
        **more,
    }


def bundle(said, key=P256, over=None, **more):
    """As cosign writes one; `over` is what is signed instead."""
    payload, kind = (json.dumps(one).encode() if isinstance(one, dict) else one for one in (said, STATEMENT))
    whole = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signature = key.sign(over or whole, *HOW[key])
    envelope = {"payload": text(payload), "payloadType": kind, "signatures": [{"sig": text(signature)}]}
    material = {"publicKey": {"hint": "of a key"}, "tlogEntries": []}
    return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope, **more}


def text(data):
    return base64.b64encode(data).decode()


def read(made):
    return read_bundle(json.dumps(made).encode())


def who(made, *keys, any_repository=False):
    return signers([read(made)], map(pem, keys), Subject(WHERE, (MANIFEST,), any_repository))


NAMED = {"docker-reference": WHERE}


@pytest.mark.parametrize("key", HOW, ids=["P-256", "P-384", "Ed25519", "RSA"])
def test_a_statement_that_names_the_repository_is_signed_by_the_key_that_made_it_and_no_other(key):
    assert who(bundle(statement(NAMED), key), *HOW) == (pem(key),)
    assert who(bundle(statement(NAMED), key), *({*HOW} - {key})) == ()


def test_one_that_names_no_repository_counts_where_the_policy_says_so():
    assert who(bundle(statement()), P256) == ()
    assert who(bundle(statement()), P256, any_repository=True) == (pem(P256),)
    for where in ("registry.example/other", "", 7, [WHERE]):
        assert who(bundle(statement({"docker-reference": where})), P256, any_repository=True) == ()


@pytest.mark.parametrize(
    "said",
    [
        statement(NAMED, manifest=OTHER),
        statement(NAMED, subject=[]),
        statement(NAMED, subject=[*statement(NAMED)["subject"], *statement(NAMED, OTHER)["subject"]]),
        statement(NAMED, subject=[{"digest": {"sha512": "a"}, "annotations": NAMED}]),
        statement(NAMED, subject=[{"digest": {"sha256": "a" * 64}, "annotations": [NAMED]}]),
        statement(NAMED, subject={}),
    ],
    ids=range(6),
)
def test_a_good_signature_of_anything_else_is_none_of_this_image(said):
    assert who(bundle(said), P256, any_repository=True) == ()


def test_the_kind_of_what_is_signed_is_signed_too():
    said = statement(NAMED)
    assert who(bundle(said, over=json.dumps(said).encode()), P256) == ()
    assert who(bundle(said, over=b"DSSEv1 1 x 1 y"), P256) == ()


def test_when_it_was_signed_is_an_annotation():
    one = read(bundle(statement({**NAMED, "timestamp": "1700000000"})))
    assert signed_last([one], [pem(P256)], Subject(WHERE, (MANIFEST,))) == 1700000000


GOOD = bundle(statement(NAMED))
ENVELOPE = GOOD["dsseEnvelope"]
WRONG = {
    "a certificate": ({**GOOD, "verificationMaterial": {"certificate": {}}}, "verified by certificate, not by a key"),
    "nothing": ({**GOOD, "verificationMaterial": {}}, "verified by nothing, not by a key"),
    "a bare signature": (
        {**{key: GOOD[key] for key in ("mediaType", "verificationMaterial")}, "messageSignature": {}},
        "has no envelope that says what is signed",
    ),
    "an older bundle": ({**GOOD, "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2"}, "version=0.2"),
    "an attestation": (bundle(statement(NAMED, about="https://slsa.dev/provenance/v1")), "about 'https://slsa.dev"),
    "another payload": ({**GOOD, "dsseEnvelope": {**ENVELOPE, "payloadType": "text/plain"}}, "holds 'text/plain'"),
    "two signatures": (
        {**GOOD, "dsseEnvelope": {**ENVELOPE, "signatures": ENVELOPE["signatures"] * 2}},
        "not one payload and one signature",
    ),
    "no statement": (bundle({"_type": "other"}), "holds no statement"),
    "no base64": ({**GOOD, "dsseEnvelope": {**ENVELOPE, "payload": "!"}}, "holds no statement"),
    "no object": ({**GOOD, "dsseEnvelope": []}, "dsseEnvelope is no object"),
}


@pytest.mark.parametrize(("made", "message"), WRONG.values(), ids=WRONG)
def test_what_is_not_understood_is_named(made, message):
    with pytest.raises(StoreError, match=message):
        read(made)


def test_of_what_hangs_on_an_image_the_bundles_are_found():
    line = {"artifactType": BUNDLE, "digest": MANIFEST, "size": 700}
    others = [{**line, "artifactType": "application/spdx+json"}, {"digest": OTHER, "size": 1}]
    (one,), there = referring(json.dumps({"manifests": [line, *others]}).encode())
    assert (str(one), there) == (MANIFEST, 1)
    first, there = referring(json.dumps({"manifests": [line] * 1000}).encode())
    assert (len(first), there) == (32, 1000)
    about = [{**line, "annotations": {"dev.sigstore.bundle.predicateType": one}} for one in ("https://slsa.dev", SIGNS)]
    assert referring(json.dumps({"manifests": [about[0]] * 1000 + about}).encode())[1] == 1
    layer = {"mediaType": BUNDLE, "digest": OTHER, "size": 900}
    assert str(enclosed(json.dumps({"layers": [layer]}).encode())) == OTHER
    for layers in ([], [layer, layer], [{**layer, "mediaType": "text/plain"}], [{**layer, "size": 1 << 17}]):
        with pytest.raises(StoreError, match="a bundle"):
            enclosed(json.dumps({"layers": layers}).encode())
