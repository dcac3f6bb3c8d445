"""Records of images: found by what people write, and never guessed."""

import json
from pathlib import Path

import pytest

from volt.errors import NoSuchImage, StoreError
from volt.images import records
from volt.images.config import ImageConfig
from volt.images.records import Image, find, images, remove, trees, write
from volt.model.values import replace
from volt.store.place import make_store

A, B = "ab" * 32, "cd" * 32
FIRST = Image("debian", "12", f"sha256:{A}", 5.5, "/x", 3, 10, {"security.selinux": 2})
IMAGES = (
    replace(FIRST, name="a/b", version="latest"),
    FIRST,
    replace(FIRST, version="13", tree=f"sha256:{B}"),
    replace(FIRST, name="", version=""),
)


@pytest.fixture
def state(tmp_path):
    make_store(str(tmp_path / "state"))
    for image in IMAGES:
        write(str(tmp_path / "state"), image)
    return str(tmp_path / "state")


def test_all_images_are_listed_by_name_those_without_one_last(state):
    assert images(state) == IMAGES
    assert trees(state) == {A, B}
    assert images(f"{state}/nowhere") == ()


def test_no_name_hides_an_image_and_what_a_crash_left_is_none(state):
    odd = replace(FIRST, name="app.new-ui", version="1.new-2")
    write(state, odd)
    assert odd in images(state)
    left = Path(records.folder(state), "debian:12~123")
    left.write_text("half of a record")
    assert len(images(state)) == len(IMAGES) + 1
    records.sweep(state)
    assert not left.exists()
    assert len(images(state)) == len(IMAGES) + 1


@pytest.mark.parametrize(
    ("word", "number"),
    [("debian:12", 1), ("debian:13", 2), ("a/b", 0), (f"sha256:{B}", 2), (f"cas://sha256:{B}", 2), (B[:6], 2),
     (f"sha256:{B[:7]}", 2), (f"debian:12@sha256:{A}", 1)],
)  # fmt: skip
def test_an_image_is_found_by_what_people_write(state, word, number):
    assert find(state, word) == IMAGES[number]


@pytest.mark.parametrize(
    "word", ["debian", "debian:14", "b", "cdcdcde", f"sha256:{'0' * 64}", f"debian:12@sha256:{B}", "cdcd"]
)
def test_what_is_not_there_is_said_not_to_be(state, word):
    with pytest.raises(NoSuchImage):
        find(state, word)


def test_a_name_is_given_to_another_tree_and_taken_away(state, tmp_path):
    other = replace(FIRST, tree=f"sha256:{B}")
    write(state, other)
    assert find(state, "debian:12") == other
    remove(make_store(state), state, other)
    with pytest.raises(NoSuchImage):
        find(state, "debian:12")
    assert find(state, "debian:13").digest == B


def test_what_a_crash_left_is_no_image_and_what_is_damaged_is_said_to_be(state):
    Path(records.folder(state), "debian:12~55").write_text("{")
    assert images(state) == IMAGES
    record = Path(records.folder(state), "debian:12")
    good = json.loads(record.read_bytes())
    for bad in ("", "[]", "{", json.dumps({**good, "record": 2}), json.dumps({**good, "tree": "sha256:../x"})):
        record.write_text(bad)
        with pytest.raises(StoreError):
            images(state)


def test_an_image_that_says_too_much_is_refused_and_hides_no_other(state):
    large = replace(FIRST, name="large", config=ImageConfig(env=tuple("A=" + "x" * 1000 for _ in range(9000))))
    with pytest.raises(StoreError, match="has more than 8388608 bytes"):
        write(state, large)
    assert images(state) == IMAGES


def test_an_image_is_found_by_what_it_is_called_in_its_registry(state):
    pulled = replace(FIRST, name="r.example/a", manifest=f"sha256:{'1' * 64}", index=f"sha256:{'2' * 64}")
    write(state, pulled)
    for digest in ("1", "2"):
        assert find(state, f"r.example/a:12@sha256:{digest * 64}") == pulled
    with pytest.raises(NoSuchImage, match="is sha256:"):
        find(state, f"r.example/a:12@sha256:{'3' * 64}")
