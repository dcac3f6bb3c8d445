"""Of the signatures of an image one that is none says nothing of the others; a registry that fails does."""

import hashlib
import json

import pytest

from tests.unit.images.test_bundles import BUNDLE, MANIFEST, NAMED, bundle, statement
from tests.unit.images.test_registry import reached, serving
from volt.errors import RegistryError
from volt.images.attached import stored_signatures
from volt.images.signatures import tag_of

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
KIND = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hung(server, data, kind=KIND, given=None, size=0, status=200):
    """The line of a bundle, which lies in the registry; it gives `given` instead, and a manifest of this kind."""
    layer = {"mediaType": BUNDLE, "digest": digest_of(data), "size": size or len(data)}
    made = json.dumps({"mediaType": kind, "artifactType": BUNDLE, "layers": [layer], "for": str(given)}).encode()
    server.answers[f"/v2/a/b/blobs/{digest_of(data)}"] = (status, {}, data if given is None else given)
    server.answers[f"/v2/a/b/manifests/{digest_of(made)}"] = (200, {}, made)
    return {"mediaType": KIND, "digest": digest_of(made), "size": len(made), "artifactType": BUNDLE}


def bundles(server, *lines):
    data = json.dumps({"manifests": lines}).encode()
    server.answers[f"/v2/a/b/referrers/{MANIFEST}"] = (200, {}, data)
    return stored_signatures(reached(server), (MANIFEST,))


@pytest.fixture
def server():
    with serving() as one:
        yield one


GOOD = json.dumps(bundle(statement(NAMED))).encode()


def test_one_that_is_another_thing_than_it_says_says_nothing_of_the_others(server):
    changed = {"digest": digest_of(b"asked for"), "mediaType": KIND, "size": 9, "artifactType": BUNDLE}
    server.answers[f"/v2/a/b/manifests/{changed['digest']}"] = (200, {}, json.dumps({"mediaType": KIND}).encode())
    lines = (
        hung(server, b"1", kind="text/html"),
        hung(server, b"2", given=b"3"),
        hung(server, b"4", given=b"4 and more"),
        hung(server, b"5", status=404),
        changed,
    )
    found, odd = bundles(server, *lines, hung(server, GOOD))
    assert len(found) == 1
    reasons = "is no image: text/html", "another payload", "more than the 1 bytes", "does not have blob", "gave"
    for said, why in zip(odd, reasons, strict=True):
        assert why in said


def test_nor_does_one_under_a_tag(server):
    layers = []
    for data, answer in ((b"1", (200, {}, b"2")), (b"3", (404, {}, b"")), (b"good", (200, {}, b"good"))):
        notes = {"dev.cosignproject.cosign/signature": f"of {data.decode()}"}
        layers.append({"mediaType": PAYLOAD, "digest": digest_of(data), "size": len(data), "annotations": notes})
        server.answers[f"/v2/a/b/blobs/{digest_of(data)}"] = answer
    made = json.dumps({"mediaType": KIND, "layers": layers}).encode()
    server.answers[f"/v2/a/b/manifests/{tag_of(MANIFEST)}"] = (200, {}, made)
    found, odd = bundles(server, hung(server, GOOD))
    assert (found[0].signature, len(found)) == ("of good", 2)
    for said, why in zip(odd, ("another payload", "does not have blob"), strict=True):
        assert why in said


@pytest.mark.parametrize("status", [500, 403])
@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_a_registry_that_fails_is_not_passed_over(server, status, what):
    line = hung(server, b"1")
    digest = line["digest"] if what == "manifests" else digest_of(b"1")
    server.answers[f"/v2/a/b/{what}/{digest}"] = (status, {}, b"")
    with pytest.raises(RegistryError):
        bundles(server, line, hung(server, GOOD))
