"""volt commit: what a workload has as its root becomes an image."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.host.conftest import Volt, leaving_nothing
from tests.host.living import living
from volt import api
from volt.errors import StateError, StoreError
from volt.images import records
from volt.images.config import ImageConfig, Layer
from volt.model.values import replace

NOBODY = 0xFFFFFFFF

# Each way in which an overlay's upper layer says something: a file, a whiteout, an opaque folder, a folder that was
# moved, a file of which only the status was copied up, hard links, owners, attributes.
CHANGES = """
cd /srv && echo n > new && echo m >> changed && rm gone && rm -r replaced && mkdir replaced && echo z > replaced/z &&
mv before after && echo 2 > after/y2 && rm -r after/out && mv far after/far && echo f > after/far/f &&
chmod 600 status && mv status moved && chown 5:5 owned && mv owned after/far/owned && ln new again &&
ln -s /etc/passwd link && mkfifo pipe && chown 1000:55 new && chown 7:8 after &&
touch -d @1000 new && touch -d @1000 still
"""
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ACL = struct.pack("<I" + "HHI" * 5, 2, 1, 6, NOBODY, 2, 4, 1000, 4, 4, NOBODY, 16, 4, NOBODY, 32, 4, NOBODY)


@pytest.fixture(scope="module")
def root(tmp_path_factory, busybox):
    """A root file system with something to change."""
    root = Path(shutil.copytree(busybox, tmp_path_factory.mktemp("commit") / "root", symlinks=True))
    for name in (
        "gone",
        "changed",
        "status",
        "replaced/inner/x",
        "before/y",
        "before/out/in",
        "still",
        "far/x",
        "owned",
    ):
        (root / "srv" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "srv" / name).write_text(f"old {name}\n")
    os.setxattr(root / "srv/still", "security.capability", CAPABILITY)
    os.setxattr(root / "srv/still", "system.posix_acl_access", ACL)
    return root


@pytest.fixture
def volt(disk, monkeypatch):
    """As every test has one, on a disk."""
    with leaving_nothing(Volt(disk)) as one:
        monkeypatch.setenv("VOLT_ROOT", str(one.state))
        yield one


def sections(name, image="", rootfs="", layer="overlay"):
    workload = {"name": name, "image": image} if image else {"name": name}
    return {"workload": workload, "storage": {"rootfs": str(rootfs), "writable_layer": layer}}


def listed(volt, **where):
    """What a payload finds in /srv: every kind of difference that a commit could make."""
    script = (
        "cd /srv; find . | sort | while read f; do stat -c '%n %f %u %g' $f; [ -d $f ] || stat -c '%h %s' $f; "
        "[ -f $f ] && cat $f; done; "
        "readlink link; stat -c %Y new"
    )
    done = volt.run("sh", "-c", script, **where)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_a_workload_from_the_new_image_finds_what_the_old_one_left(volt, root):
    api.import_image(root, "web:1")
    own = sections("web", "web:1")
    assert volt.run("sh", "-c", CHANGES, **own).returncode == 0
    before = listed(volt, **own)
    done = volt("commit", "web", "web:2")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().strip() == api.image("web:2").tree
    assert listed(volt, **sections("other", "web:2", layer="none")) == before
    changed = {(one.kind, one.path) for one in api.image_changes("web:1", "web:2")}
    assert {("deleted", "/srv/gone"), ("deleted", "/srv/replaced/inner/x"), ("added", "/srv/after/y")} <= changed
    assert not any(path.startswith(("/srv/still", "/bin", "/dev", "/proc")) for _, path in changed)
    assert api.verify_store().damage == ()


@pytest.mark.parametrize("layer", ["overlay", "tmpfs"])
def test_of_one_that_lives_it_is_the_same_whatever_its_root_is_and_where_its_layer_lies(volt, root, layer):
    """The owners of its files are shifted there, and those in their attributes."""
    api.import_image(root, "web:1")
    for name, where in {"a": {"image": "web:1"}, "b": {"rootfs": root}}.items():
        with living(volt, **sections(name, layer=layer, **where)):
            assert volt("exec", name, "--", "sh", "-c", CHANGES).returncode == 0
            api.commit(name, f"{name}:2")
        assert "/srv/still" not in [one.path for one in api.image_changes("web:1", f"{name}:2")]
    assert [one.path for one in api.image_changes("a:2", "b:2") if one.path.startswith("/srv")] == []
    found = listed(volt, **sections("c", "a:2", layer="none"))
    assert "./new 81a4 1000 55\n2 2\nn\n" in found
    assert "./moved 8180 0 0\n1 11\nold status\n" in found


def test_nothing_changed_is_the_same_tree_and_what_the_image_says_is_kept(volt, root):
    said = ImageConfig(entrypoint=("env",), command=("true",), workdir="/srv", history=(Layer(created_by="a builder"),))
    old = replace(api.import_image(root, "app:1"), config=said)
    records.write(str(volt.state / "state"), old)
    assert volt.run("true", **sections("app", "app:1")).returncode == 0
    new = json.loads(volt("commit", "app", "app:2", "--json").stdout)["image"]
    assert new["tree"] == old.tree
    kept = api.image("app:2").config
    assert (kept.entrypoint, kept.command, kept.workdir) == (("env",), ("true",), "/srv")
    assert [one.created_by for one in kept.history] == ["a builder", "volt commit app"]


def test_what_cannot_be_committed_is_refused_by_name_and_leaves_nothing(volt, root):
    with pytest.raises(StateError, match="no workload called 'nobody'"):
        api.commit("nobody", "new")
    assert volt.run("true", **sections("mine", rootfs="host")).returncode == 0
    with pytest.raises(StateError, match="mine has the host's own /usr as its root"):
        api.commit("mine", "new")
    assert volt.run("sh", "-c", "mkfifo /srv/p; ln /srv/p /srv/q", **sections("web", rootfs=root)).returncode == 0
    upper = volt.state / "state/layers/web/upper/srv"
    os.mknod(upper / "device", 0o20600, os.makedev(1, 3))
    with pytest.raises(StoreError, match="srv/device: it is a device"):
        api.commit("web", "new")
    assert api.images() == ()


@pytest.mark.parametrize("inside", ["folder", "file"])
def test_what_is_swapped_for_a_link_once_it_was_looked_at_leads_nowhere(volt, root, tmp_path, monkeypatch, inside):
    """At the very moment: between the look at a name and its opening a payload has replaced it."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("the host's own")
    script = "mkdir /srv/swapped; : > /srv/swapped/file"
    assert volt.run("sh", "-c", script, **sections("web", rootfs=root)).returncode == 0
    victim = volt.state / "state/layers/web/upper/srv/swapped" / {"folder": "", "file": "file"}[inside]
    real = os.stat

    def look(name, **options):
        status = real(name, **options)
        if name == victim.name and not victim.is_symlink():
            victim.rename(victim.with_name("aside"))
            victim.symlink_to(secret if inside == "folder" else secret / "file")
        return status

    monkeypatch.setattr("volt.store.upper.os.stat", look)
    with pytest.raises(StoreError, match=r"web cannot be committed: (Not a directory|Too many levels)"):
        api.commit("web", "new")
    monkeypatch.undo()
    assert victim.is_symlink(), "it was swapped"
