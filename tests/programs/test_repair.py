"""What is damaged or lost in the store is had again from the registry that it is from, as a pull has it, or named."""

import hashlib
import json
import shutil

import pytest

from tests.programs.test_layers import SAYS, do, layout, manifest
from tests.programs.test_registry import known, registry, volt

__all__ = ["layout", "registry", "volt"]  # fixtures


@pytest.fixture
def pulled(registry, volt):
    """A machine with an image from the registry: what it is called, and its tree."""
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    done = volt("image", "pull", f"{host}/a/one:1")
    assert done.returncode == 0, done.stderr
    return f"{host}/a/one:1", done.stdout.decode().strip().removeprefix("sha256:")


def verified(volt, *words):
    return json.loads(volt("store", "verify", "--json", *words).stdout)["damage"]


def objects(volt):
    """Digest and path of each, the largest last."""
    found = (volt.state / "state/store/objects").glob("*/*")
    return {path.parent.name + path.name: path for path in sorted(found, key=lambda path: path.stat().st_size)}


def damage(volt, tree):
    """An object with another content, one that is gone, and the tree itself as `tree` says; they are given."""
    there = objects(volt)
    first, second = [digest for digest in there if digest != tree][-2:]
    flip(there[first])
    there[second].unlink()
    return {first, second}


def flip(path):
    path.chmod(0o600)
    path.write_bytes(b"x" + path.read_bytes()[1:])


def test_an_image_whose_tree_is_damaged_is_pulled_again(pulled, volt):
    name, tree = pulled
    flip(objects(volt)[tree])
    done = volt("image", "pull", name)
    assert (done.returncode, done.stdout.decode().strip()) == (0, f"sha256:{tree}"), done.stderr
    assert verified(volt) == []
    assert volt("run", manifest(volt, image=name)).stdout.decode().split() == SAYS


def test_what_an_image_lacks_is_fetched_again_and_it_runs_as_before(registry, pulled, volt):
    (name, tree), log = pulled, registry[1] / "log"
    wrong, before = damage(volt, tree), objects(volt).keys()
    asked = log.stat().st_size
    assert {one["digest"] for one in verified(volt)} == wrong
    assert log.stat().st_size == asked, "who only looks asks nobody"
    mended = verified(volt, "--repair")
    origin = name.removesuffix(":1")
    assert {(one["digest"], one["mended"], one["origin"]) for one in mended} == {(one, True, origin) for one in wrong}
    assert verified(volt) == []
    assert objects(volt).keys() == before | wrong
    assert [*(volt.state / "state/downloads").iterdir()] == []
    asked = log.stat().st_size
    assert volt("store", "verify", "--repair").returncode == 0
    assert log.stat().st_size == asked
    assert volt("run", manifest(volt, image=name)).stdout.decode().split() == SAYS


@pytest.mark.parametrize("lost", [flip, lambda path: path.unlink()], ids=["damaged", "lost"])
def test_a_tree_comes_back_with_all_that_it_names_and_its_image(pulled, volt, lost):
    name, tree = pulled
    damage(volt, tree)
    lost(objects(volt)[tree])
    shutil.rmtree(volt.state / "state/store/images")
    (volt.state / "state/store/images").mkdir(mode=0o700)
    told = volt("store", "verify", "--repair")
    assert (told.returncode, f"; fetched again from {name.removesuffix(':1')}\n" in told.stdout.decode()) == (1, True)
    assert verified(volt) == []
    assert volt("run", "--pull", "never", manifest(volt, image=name)).stdout.decode().split() == SAYS


def test_why_nothing_is_fetched_is_told_and_what_was_local_is_mended_all_the_same(registry, pulled, volt, tmp_path):
    (_, tree), (host, _) = pulled, registry
    (tmp_path / "own").mkdir()
    (tmp_path / "own/file").write_text("of this machine")
    own = volt("image", "import", tmp_path / "own", "own:1").stdout.decode().strip().removeprefix("sha256:")
    settings, policy = volt.folder / "etc/config.toml", volt.folder / "etc/policy.toml"
    trusting = settings.read_text()
    wrong = damage(volt, tree)
    shutil.rmtree(volt.state / "state/store/images")
    (volt.state / "state/store/images").mkdir(mode=0o700)

    policy.write_text("[images]\nregistries = []\n")
    refused = {one["digest"]: one for one in verified(volt, "--repair")}
    assert {one["digest"] for one in refused.values() if one["unfetched"]} == wrong
    assert all("may not be used on this machine" in refused[one]["unfetched"] for one in wrong)
    assert refused[own]["mended"] is True, "its image is made again"
    policy.unlink()
    settings.write_text("")
    told = volt("store", "verify", "--repair").stdout.decode()
    assert told.count(f"; not fetched again: {host} is not who it says it is") == len(wrong)
    settings.write_text(trusting)
    assert all(one["origin"] for one in verified(volt, "--repair"))
    assert verified(volt) == []


def test_of_an_index_the_same_image_is_chosen_and_another_name_knows_where_it_is_from(registry, layout, volt, tmp_path):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    indexed(layout, tmp_path / "several")
    given = ("--dest-cert-dir", folder / "trusted", "--dest-creds", "me:secret")
    do("skopeo", "copy", "--all", *given, f"oci:{tmp_path}/several:many", f"docker://{host}/e/many:1")
    name = f"{host}/e/many:1"
    tree = volt("image", "pull", "--platform", "linux/arm64", name).stdout.decode().strip().removeprefix("sha256:")
    assert volt("image", "tag", name, "mine:1").returncode == 0
    assert volt("image", "rm", name).returncode == 0
    wrong = damage(volt, tree)
    assert {one["digest"] for one in verified(volt, "--repair") if one["origin"] == f"{host}/e/many"} == wrong
    assert verified(volt) == []


def indexed(layout, folder):
    """A layout whose image is that of an index for another architecture than this machine's."""
    shutil.copytree(layout, folder)
    index = json.loads((folder / "index.json").read_text())
    (one,) = index["manifests"]
    said = json.loads((folder / "blobs/sha256" / one["digest"][7:]).read_bytes())
    config = json.loads((folder / "blobs/sha256" / said["config"]["digest"][7:]).read_bytes())
    said["config"] |= blob(folder, {**config, "architecture": "arm64"})
    found = {**blob(folder, said), "mediaType": one["mediaType"], "platform": {"os": "linux", "architecture": "arm64"}}
    kind = "application/vnd.oci.image.index.v1+json"
    inner = blob(folder, {"schemaVersion": 2, "mediaType": kind, "manifests": [found]})
    named = {"org.opencontainers.image.ref.name": "many"}
    index["manifests"] = [{"mediaType": kind, **inner, "annotations": named}]
    (folder / "index.json").write_text(json.dumps(index))


def blob(folder, document):
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def test_a_manifest_that_was_pulled_is_fetched_again(registry, volt, tmp_path):
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    (tmp_path / "base.toml").write_text('[workload]\nmode = "container"\n')
    assert volt("push", tmp_path / "base.toml", f"{host}/d/again:1").returncode == 0
    url = volt("pull", f"{host}/d/again:1").stdout.decode().strip()
    digest = url.removeprefix("cas://sha256:")
    for lost in (lambda path: path.unlink(), flip):
        lost(objects(volt)[digest])
        (found,) = verified(volt, "--repair")
        assert (found["digest"], found["mended"], found["origin"].partition("@")[0]) == (
            digest,
            True,
            f"{host}/d/again",
        )
        assert verified(volt) == []
    assert volt("store", "ls").stdout.decode().count(url) == 1
