"""A tree as one layer: the same bytes for the same tree, and nothing in it that a layer says otherwise."""

import io
import json

import pytest

from tests.unit.store.pieces import archive, member
from volt.errors import StoreError
from volt.images.config import ImageConfig, Layer, read_config
from volt.images.pack import pack
from volt.store.archive import read_archive
from volt.store.intake import Intake
from volt.store.place import make_store
from volt.store.transaction import Transaction

ABOUT = ImageConfig(
    architecture="arm64",
    variant="v8",
    system="linux",
    created="2026-01-01T00:00:00Z",
    entrypoint=("/bin/a",),
    command=("b c",),
    env=("A=1",),
    user="7:8",
    workdir="/srv",
    stop_signal="SIGINT",
    ports=("80/tcp",),
    volumes=("/data",),
    labels={"one": "1"},
)


@pytest.fixture
def packed(tmp_path):
    def act(*members, about=ABOUT):
        (tmp_path / "state").mkdir(exist_ok=True)
        store, file = make_store(str(tmp_path / "state")), io.BytesIO()
        with Transaction(store) as transaction:
            root = read_archive(io.BytesIO(archive(*members)), Intake(transaction))
            transaction.put_tree(root)
            transaction.commit()
        return pack(root, store, about, file), file.getvalue()

    return act


def test_the_same_tree_is_the_same_image_whatever_the_hour(packed):
    one, data = packed(member("a", b"1"), member("b/c", b"2"))
    assert packed(member("b/c", b"2"), member("a", b"1")) == (one, data)
    assert data[4:8] == bytes(4)  # the time in gzip's header, RFC 1952
    assert one.image.layers[0].size == len(data)


def test_all_that_an_image_says_about_itself_is_written_as_it_was_read(packed):
    one, _ = packed(member("a", b"1"))
    found, plain = read_config(one.config)
    assert (found, len(plain)) == (
        ImageConfig(**{**vars_of(ABOUT), "history": (Layer(created_by="volt image"),)}),
        1,
    )


def test_of_the_steps_one_has_made_the_layer(packed):
    steps = (Layer("1", "add"), Layer("2", "add more"), Layer("3", "label", empty=True))
    one, _ = packed(member("a", b"1"), about=ImageConfig(architecture="amd64", history=steps))
    said = json.loads(one.config)["history"]
    assert [step["created_by"] for step in said if not step.get("empty_layer")] == ["add more"]
    assert len(said) == len(steps)


def test_a_name_that_would_hide_another_is_refused(packed):
    with pytest.raises(StoreError, match=r"b/\.wh\.a: in a layer this name is a whiteout"):
        packed(member("b/.wh.a", b"1"))


def vars_of(config):
    return {name: getattr(config, name) for name in config.__class__.__annotations__}
