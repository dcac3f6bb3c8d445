"""OCI layouts and what docker save writes: the image is found, checked, comes to one tree; what is wrong is named."""

import gzip
import hashlib
import io
import json

import pytest

from tests.unit.store.pieces import archive, member, take_archive
from volt.errors import StoreError
from volt.images.layout import holds_layers
from volt.images.platforms import parse_platform
from volt.images.unpack import unpack
from volt.store.archive import read_archive
from volt.store.intake import Intake
from volt.store.place import make_store
from volt.store.transaction import Transaction

LAYERS = (archive(member("a", b"1"), member("b", b"2")), archive(member(".wh.a"), member("c", b"3")))
FLAT = archive(member("b", b"2"), member("c", b"3"))
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["A=1"], "Cmd": ["sh"], "User": "7:8", "ExposedPorts": {"80/tcp": {}}, "Volumes": None},
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in LAYERS]},
    "history": [{"created_by": "RUN x"}, {"created_by": "CMD y", "empty_layer": True}],
}


@pytest.fixture
def store(tmp_path):
    return make_store(str(tmp_path / "state"))


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Layout:
    """Blobs, and descriptors of them."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(self, data, kind, **more):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.files[f"blobs/sha256/{digest(data).removeprefix('sha256:')}"] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    def image(self, layers=LAYERS, config=CONFIG, packed=gzip.compress, kind="+gzip", **more):
        layers = [self.blob(packed(one), f"application/vnd.oci.image.layer.v1.tar{kind}") for one in layers]
        about = self.blob(config, "application/vnd.oci.image.config.v1+json")
        return self.blob({"schemaVersion": 2, "config": about, "layers": layers}, MANIFEST, **more)

    def archive(self, *manifests):
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
        return self.packed()

    def packed(self):
        return archive(*(member(name, data) for name, data in self.files.items()))


def unpacked(store, data, wanted="", architecture="amd64"):
    """The digest of the tree that an archive of layers comes to, and the config."""
    with Transaction(store) as transaction:
        root = read_archive(io.BytesIO(data), Intake(transaction))
        assert holds_layers(root)
        tree, config = unpack(root, Intake(transaction), wanted, parse_platform(f"linux/{architecture}"))
        found = transaction.put_tree(tree)
        transaction.commit()
    return found, config


def contents(folder):
    """The objects of the store, and what is left of what was being added."""
    found = [path for each in ("objects", "tmp") for path in (folder / "state/store" / each).rglob("*")]
    return {path.parent.name + path.name for path in found if path.is_file()}


def named(name):
    return {"annotations": {"org.opencontainers.image.ref.name": name}}


def saved(layers=LAYERS, config=CONFIG):
    files = {f"{number}/layer.tar": one for number, one in enumerate(layers)}
    about = json.dumps(config).encode()
    files["c.json"] = about
    files["manifest.json"] = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": [*files][:-1]}]).encode()
    return archive(member("repositories", b"{}"), *(member(name, data) for name, data in files.items()))


def test_layers_come_to_the_tree_that_a_flat_archive_has_whatever_holds_them(store):
    flat = take_archive(store, FLAT)
    oci = Layout()
    assert unpacked(store, oci.archive(oci.image()))[0] == flat
    plain = Layout()
    assert unpacked(store, plain.archive(plain.image(packed=bytes, kind="")))[0] == flat
    assert unpacked(store, saved())[0] == flat


def test_only_what_the_tree_needs_is_kept(store, tmp_path):
    oci = Layout()
    tree, _ = unpacked(store, oci.archive(oci.image()))
    assert contents(tmp_path) == {tree, *(hashlib.sha256(one).hexdigest() for one in (b"2", b"3"))}


def test_what_the_image_says_about_itself_is_read(store):
    config = unpacked(store, saved())[1]
    assert config.platform == "linux/amd64"
    assert (config.env, config.command, config.entrypoint, config.user) == (("A=1",), ("sh",), (), "7:8")
    assert (config.ports, config.volumes) == (("80/tcp",), ())
    assert [(one.created_by, one.empty) for one in config.history] == [("RUN x", False), ("CMD y", True)]


def test_of_several_the_one_that_is_asked_for_is_taken(store):
    oci = Layout()
    first, second = (
        oci.image(**named("one")),
        oci.image(LAYERS[:1], {**CONFIG, "rootfs": {"diff_ids": [digest(LAYERS[0])]}}, **named("two")),
    )
    data = oci.archive(first, second)
    assert unpacked(store, data, "one")[0] == take_archive(store, FLAT)
    assert unpacked(store, data, "two")[0] == take_archive(store, LAYERS[0])
    with pytest.raises(StoreError, match="there are several images in it: one, two") as caught:
        unpacked(store, data)
    assert "--image" in caught.value.hint
    with pytest.raises(StoreError, match="there is not one image three in it: one, two"):
        unpacked(store, data, "three")


def test_of_several_architectures_one_is_taken_in_an_index_of_an_index_too(store):
    oci = Layout()
    arm = {**CONFIG, "architecture": "arm64"}
    both = {
        "manifests": [
            oci.image(platform={"architecture": "amd64", "os": "linux"}),
            oci.image(config=arm, platform={"architecture": "arm64", "os": "linux"}),
            oci.image(LAYERS[:1], platform={"architecture": "unknown", "os": "unknown"}),
        ]
    }
    data = oci.archive(oci.blob(both, INDEX))
    assert unpacked(store, data)[1].architecture == "amd64"
    assert unpacked(store, data, architecture="arm64")[1].architecture == "arm64"
    with pytest.raises(StoreError, match="there is no image for linux/s390x in it"):
        unpacked(store, data, architecture="s390x")


def test_of_several_variants_the_best_is_taken_that_runs_and_of_each_name_its_own(store):
    oci = Layout()
    level = {f"v{number}": {**CONFIG, "variant": f"v{number}"} for number in (1, 2, 3)}
    lines = {
        (name, variant): oci.image(
            config={**about, "created": name},
            platform={"architecture": "amd64", "variant": variant, "os": "linux"},
            **named(name),
        )
        for name, variant, about in (("one", "v1", level["v1"]), ("one", "v3", level["v3"]), ("two", "v2", level["v2"]))
    }
    data = oci.archive(*lines.values())
    assert unpacked(store, data, "one", "amd64/v4")[1].variant == "v3"
    assert unpacked(store, data, "one", "amd64/v2")[1].variant == "v1"
    assert unpacked(store, data, "two", "amd64/v2")[1].variant == "v2"
    with pytest.raises(StoreError, match="there is not one image two in it"):
        unpacked(store, data, "two", "amd64")


def broken_blob(oci):
    image = oci.image()
    name = next(name for name, data in oci.files.items() if data.startswith(b"\x1f\x8b"))
    oci.files[name] += b"\0"
    return [image]


def other_size(oci):
    return [{**oci.image(), "size": 1}]


def missing_blob(oci):
    image = oci.image()
    del oci.files[next(name for name, data in oci.files.items() if data.startswith(b"\x1f\x8b"))]
    return [image]


def loop(oci):
    inner = oci.image()
    for _ in range(6):
        inner = oci.blob({"manifests": [inner]}, INDEX)
    return [inner]


WRONG = {
    "a blob is another": (broken_blob, "is damaged: it is sha256:"),
    "a size is another": (other_size, "bytes, and 1 are said"),
    "a blob is missing": (missing_blob, "there is no file blobs/sha256/"),
    "indexes without an end": (loop, "more than 4 indexes"),
    "a layer is another than the config says": (
        lambda oci: [oci.image(LAYERS[::-1])],
        "and the image says sha256:",
    ),
    "the config knows fewer layers": (
        lambda oci: [oci.image(config={**CONFIG, "rootfs": {"diff_ids": []}})],
        "the image has 2 layers, and its config says 0",
    ),
    "a hostile layer": (
        lambda oci: [oci.image([archive(member("../x"))], {**CONFIG, "rootfs": {"diff_ids": [digest(LAYERS[0])]}})],
        "layer sha256:.*its name leads out of the archive",
    ),
    "one index again and again": (
        lambda oci: [oci.blob({"manifests": [oci.blob({"manifests": [oci.image()] * 40}, INDEX)] * 40}, INDEX)],
        "more than 1000 manifests",
    ),
    "no digest": (lambda oci: [{**oci.image(), "digest": "md5:abc"}], "'md5:abc' is no digest that can be checked"),
    "a path as a digest": (lambda oci: [{**oci.image(), "digest": "sha256:../../x"}], "is no digest"),
    "an artifact": (
        lambda oci: [oci.blob({"config": oci.blob(b"{}", "application/vnd.wasm+json"), "layers": []}, MANIFEST)],
        "it is no image but an artifact: application/vnd.wasm",
    ),
    "an encrypted layer": (
        lambda oci: [oci.image(kind="+gzip+encrypted")],
        r"a layer is of a kind that is not taken: .*\+encrypted",
    ),
    "no list": (lambda _: [7], "manifests is no list of objects"),
    "a config of another shape": (
        lambda oci: [oci.image(config={**CONFIG, "config": {"Env": "A=1"}})],
        "the image's config: Env is not a list",
    ),
}


def test_what_lies_beside_an_image_is_passed_over(store):
    oci = Layout()
    signature = oci.blob({"config": oci.blob(b"{}", "application/vnd.sig+json"), "layers": []}, MANIFEST)
    assert unpacked(store, oci.archive(signature, oci.image()))[0] == take_archive(store, FLAT)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_and_nothing_comes_in(store, tmp_path, what):
    make, message = WRONG[what]
    oci = Layout()
    with pytest.raises(StoreError, match=message):
        unpacked(store, oci.archive(*make(oci)))
    assert not contents(tmp_path)


def test_links_between_the_layers_of_docker_save_stay_in_it(store):
    files = (
        member("repositories", b"{}"),
        member("one/layer.tar", LAYERS[0]),
        member("two/layer.tar", kind=b"2", linkname="../one/layer.tar"),
        member("c.json", json.dumps({**CONFIG, "rootfs": {"diff_ids": [digest(LAYERS[0])]}}).encode()),
    )

    def listed(path):
        return member("manifest.json", json.dumps([{"Config": "c.json", "Layers": [path]}]).encode())

    assert unpacked(store, archive(*files, listed("two/layer.tar")))[0] == take_archive(store, LAYERS[0])
    for path in ("../../../etc/passwd", "/etc/passwd", "one"):
        with pytest.raises(StoreError, match="there is no file"):
            unpacked(store, archive(*files, listed(path)))
