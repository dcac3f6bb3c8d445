"""Images through both faces: brought in, listed, named, brought out, taken away; and the store that holds them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.faces import KINDS
from tests.unit.store.pieces import archive, folder, member
from volt import api


class Images:
    """The verbs of images through one face: each gives documents, or the message of what went wrong."""

    def __init__(self, volt, kind):
        self.volt, self.python = volt, kind == "python"

    def _ask(self, call, *words, key=None):
        if self.python:
            try:
                return call()
            except api.VoltError as error:
                return error.message
        done = self.volt(*words, "--json")
        answer = json.loads(done.stdout)
        if "error" in answer:
            assert done.returncode == 1
            return answer["error"]["message"]
        return answer[key] if key else answer

    def bring(self, source, *names, devices=False):
        found = self._ask(
            lambda: vars(api.import_image(source, *names, devices=devices)),
            *("image", "import", source, *names, *(["--allow-devices"] if devices else [])),
            key="image",
        )
        return found if isinstance(found, str) else found["tree"]

    def listed(self):
        found = self._ask(lambda: [vars(one) for one in api.images()], "image", "ls", key="images")
        return [f"{one['name']}:{one['version']}" for one in found]

    def tag(self, image, name):
        return self._ask(lambda: [vars(api.tag_image(image, name))], "image", "tag", image, name, key="images")

    def rm(self, image):
        return self._ask(lambda: [vars(api.remove_image(image))], "image", "rm", image, key="removed")

    def collect(self, *, dry_run=False):
        words = ("store", "gc", *(["--dry-run"] if dry_run else []))
        return self._ask(lambda: vars(api.collect_store(dry_run=dry_run)), *words)

    def verify(self, *, repair=False):
        words = ("store", "verify", *(["--repair"] if repair else []))
        found = self._ask(lambda: vars(api.verify_store(repair=repair)), *words)
        return [one if isinstance(one, dict) else vars(one) for one in found["damage"]]

    def usage(self):
        return self._ask(lambda: vars(api.store_usage()), "store", "df")


@pytest.fixture(params=KINDS)
def images(request, volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    return Images(volt, request.param)


def test_an_image_from_its_import_to_its_end(images, tmp_path):
    tree = images.bring(str(folder(tmp_path / "one")), "web:1")
    assert tree.startswith("sha256:")
    assert images.bring(str(folder(tmp_path / "two"))) == tree
    other = folder(tmp_path / "three")
    (other / "own").write_text("of this alone")
    assert images.bring(str(other), "web:2") != tree
    images.tag("web:1", "further/name")
    assert images.listed() == ["further/name:latest", "web:1", "web:2", ":"]
    usage = images.usage()
    assert usage["unused"] == 0
    assert len(usage["trees"]) == 2
    images.rm("web:2")
    assert images.collect(dry_run=True)["objects"] == 2
    assert images.collect()["objects"] == 2
    assert images.verify() == []
    for name in ("web:1", "further/name", tree):
        images.rm(name)
    assert images.listed() == []
    images.collect()
    assert images.usage()["objects"] == 0


def test_what_is_not_there_and_what_is_no_name_is_said_to_be_so(images, tmp_path):
    assert images.listed() == []
    assert images.rm("web") == "there is no image web"
    here = str(folder(tmp_path / "one"))
    images.bring(here, "web")
    assert images.rm("other") == "there is no image other"
    assert images.tag("other", "web:2") == "there is no image other"
    assert images.bring(here, "No Name") == "'No Name' is no name of an image"
    assert images.bring(str(tmp_path / "nowhere"), "web") == (
        f"{tmp_path}/nowhere cannot be imported: No such file or directory: {tmp_path}/nowhere"
    )
    assert images.listed() == ["web:latest"]


def test_what_is_refused_names_the_file_and_leaves_nothing(images, tmp_path):
    here = folder(tmp_path / "one")
    os.mknod(here / "etc/null", 0o20600, os.makedev(1, 3))
    assert images.bring(str(here), "web") == "etc/null: it is a device"
    (tmp_path / "evil.tar").write_bytes(archive(member("../x", b"1")))
    assert images.bring(str(tmp_path / "evil.tar"), "web") == "../x: its name leads out of the archive"
    assert images.listed() == []
    assert images.usage()["objects"] == 0
    assert images.bring(str(here), "web", devices=True).startswith("sha256:")


def test_a_layout_without_an_image_is_told_from_a_file_tree(images, tmp_path):
    (tmp_path / "oci.tar").write_bytes(archive(member("oci-layout", b"{}"), member("index.json", b"{}")))
    saved = archive(member("manifest.json", b"[]"), member("ab" * 32 + ".json", b"{}"))
    (tmp_path / "saved.tar").write_bytes(saved)
    assert images.bring(str(tmp_path / "oci.tar")) == "manifests is no list of objects"
    assert images.bring(str(tmp_path / "saved.tar")).startswith("there is no image for ")


def test_a_damaged_object_is_named_and_mended_by_importing_it_again(images, tmp_path):
    here = str(folder(tmp_path / "one"))
    tree = images.bring(here, "web")
    objects = sorted((images.volt.state / "state/store/objects").rglob("*"), key=lambda path: path.stat().st_size)
    largest = next(path for path in reversed(objects) if path.is_file())
    largest.chmod(0o600)
    largest.write_bytes(b"flipped")
    digest = largest.parent.name + largest.name
    assert [(one["kind"], one["digest"]) for one in images.verify()] == [("object", digest)]
    assert [one["mended"] for one in images.verify(repair=True)] == [True]
    assert images.bring(here, "web") == tree
    assert images.verify() == []


# ── what the command line alone does ────────────────────────────────────────────────────────────


def test_an_export_is_an_archive_that_comes_back_as_the_same(volt, tmp_path):
    here = folder(tmp_path / "one")
    first = volt("image", "import", here, "web").stdout
    piped = volt("image", "export", "web").stdout
    assert volt("image", "import", "-", input=piped).stdout == first
    assert volt("image", "export", "web", tmp_path / "web.tar").returncode == 0
    assert (tmp_path / "web.tar").read_bytes() == piped
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-C", unpacked, "-xpf", tmp_path / "web.tar"], check=True)
    assert volt("image", "import", unpacked).stdout == first


def test_people_see_a_table_and_programs_a_digest(volt, tmp_path):
    here = folder(tmp_path / "one")
    tree = volt("image", "import", here, "web:1").stdout.decode().strip()
    head, row = volt("image", "ls").stdout.decode().splitlines()
    assert head.split() == ["NAME", "VERSION", "DIGEST", "CREATED", "FILES", "SIZE"]
    assert row.split()[:3] == ["web", "1", tree.removeprefix("sha256:")[:12]]
    assert volt("image", "ls", "-q").stdout.decode() == f"{tree}\n"
    assert f'tree = "{tree}"' in volt("image", "inspect", "web:1").stdout.decode()
    assert b"nothing damaged" in volt("store", "verify").stdout
    assert b"web:1" in volt("store", "df").stdout
    assert b"0 objects, 0 B freed" in volt("store", "gc").stdout


def test_attributes_of_the_host_are_left_out_and_told(volt, tmp_path):
    made = archive(member("a", b"1", pax_headers={"SCHILY.xattr.security.selinux": "label"}))
    done = volt("image", "import", "-", input=made)
    assert done.stderr.decode() == "volt: security.selinux of 1 files was not taken over\n"
    assert done.returncode == 0


def test_a_full_disk_is_named_and_leaves_nothing(volt, tmp_path):
    """A file system of its own, and small: the import is refused, and the store is as it was."""
    volt.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", volt.state], check=True)
    try:
        volt.state.chmod(0o711)
        assert volt("image", "import", "-", "small", input=archive(member("a", b"1"))).returncode == 0
        done = volt("image", "import", "-", "large", input=archive(member("a", os.urandom(3 << 20))))
        assert done.returncode == 1
        assert b"cannot be imported: No space left on device" in done.stderr
        assert b"hint: volt store gc" in done.stderr
        assert list((volt.state / "state/store/tmp").iterdir()) == []
        assert volt("store", "verify").returncode == 0
    finally:
        subprocess.run(["umount", volt.state], check=True)


def test_without_root_it_is_said_that_root_is_needed(volt, tmp_path):
    code = "import os; os.setresuid(1000, 1000, 1000)\nfrom volt.errors import HostUnfit\nfrom volt import api\n"
    code += "try: api.images()\nexcept HostUnfit as error: print(error.message)"
    top = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=top, check=False)
    assert done.stdout == "images are root's alone\n", done.stderr


def test_a_program_may_hand_in_what_it_reads(volt, tmp_path, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    seen = []
    made = io.BytesIO(archive(member("a", b"1"), member("b", b"2")))
    image = api.import_image(made, "web", progress=lambda files, size: seen.append((files, size)))
    assert (image.source, image.files, image.bytes) == ("-", 3, 2)
    assert [files for files, _ in seen] == [1, 2]
    out = io.BytesIO()
    api.export_image("web", out)
    assert api.import_image(io.BytesIO(out.getvalue())).tree == image.tree


def test_a_layer_that_does_not_say_what_it_was_made_on_stops_collecting(volt, tmp_path, monkeypatch):
    """Nobody knows what it needs; and a name that is not a layer's is none."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    tree = api.import_image(folder(tmp_path / "one"), "web").tree
    layer = volt.state / "state/layers/web"
    layer.mkdir(parents=True)
    (layer / "root").write_text(json.dumps({"version": 1, "root": f"cas://{tree}", "inode": 0}))
    api.remove_image("web")
    assert api.collect_store().objects == 0
    (layer / "root").write_text("nonsense")
    with pytest.raises(api.StoreError, match="does not say what its layer was made on"):
        api.collect_store()
    (layer / "root").write_text(json.dumps({"version": 1, "root": "/srv/root", "inode": 5}))
    assert api.collect_store().objects > 0
