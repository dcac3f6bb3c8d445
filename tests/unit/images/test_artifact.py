"""A manifest as an artifact: what is written is read again, and what holds another thing is refused."""

import json

import pytest

from volt.errors import StoreError
from volt.images.artifact import EMPTY, MANIFEST, SECCOMP, blob_of, document_of, write_artifact


def test_what_is_written_is_read_again_and_always_the_same():
    written = write_artifact(b"text", "web.toml")
    assert written == write_artifact(b"text", "web.toml")
    known = json.loads(written)
    assert document_of(known, 4) == (blob_of(b"text"), MANIFEST)
    assert document_of(json.loads(write_artifact(b"text", "a.toml", SECCOMP)), 4) == (blob_of(b"text"), SECCOMP)
    assert known["config"]["digest"] == str(blob_of(EMPTY))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": []}, "no manifest and no profile of volt's"),
        (
            {"layers": [{"mediaType": "text/plain"}], "artifactType": "text/plain"},
            "no manifest and no profile of volt's: text/plain",
        ),
        ({"layers": "none"}, "no list"),
        ({"layers": [{"mediaType": MANIFEST, "digest": "md5:1", "size": 1}]}, "no digest"),
        ({"layers": [{"mediaType": MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 5}]}, "more than 4 bytes"),
    ],
)
def test_what_holds_another_thing_is_refused(change, said):
    with pytest.raises(StoreError, match=said):
        document_of({**json.loads(write_artifact(b"text", "web.toml")), **change}, 4)
