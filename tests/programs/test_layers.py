"""Images that umoci builds and skopeo converts: volt's tree is the one that umoci unpacks, and runs as it says."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess

import pytest
import tomli
import tomli_w

from tests.host.conftest import Volt, leaving_nothing

MTIME = 1_700_000_000


def do(*words, **options):
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, timeout=120, **options)


def first(root):
    """Something of everything that a layer can hold."""
    for name in ("bin", "etc", "usr/lib", "srv/app/sub", "opaque/old", "gone/deep", "becomes"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "id", "pwd", "ls"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv/app:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\napp:x:1000:\n")
    (root / "usr/lib/one").write_text("1")
    os.link(root / "usr/lib/one", root / "usr/lib/again")
    (root / "bin/set").write_bytes(b"\x7fELF")
    os.chown(root / "bin/set", 7, 8)
    (root / "bin/set").chmod(0o6755)
    (root / "srv/app/capable").write_text("x")
    do("setcap", "cap_net_raw+ep", root / "srv/app/capable")
    with (root / "srv/sparse").open("wb") as file:
        file.truncate(5 << 20)
        file.seek(3 << 20)
        file.write(b"in the middle")
    (root / "opaque/old/file").write_text("old")
    (root / "gone/deep/file").write_text("gone")
    (root / "becomes/in").write_text("a folder")
    (root / os.fsdecode(b"srv/\xff odd\nname")).write_text("odd")


def second(root):
    shutil.rmtree(root / "gone")
    shutil.rmtree(root / "opaque")
    (root / "opaque").mkdir()
    (root / "opaque/new").write_text("new")
    shutil.rmtree(root / "becomes")
    (root / "becomes").write_text("a file")
    (root / "usr/lib/again").unlink()
    (root / "usr/lib/two").write_text("2")
    (root / "srv/app").chmod(0o700)
    os.chown(root / "srv/app", 1000, 1000)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """An OCI layout with one image of three layers."""
    folder = tmp_path_factory.mktemp("layout")
    image = f"{folder}/layout:one"
    do("umoci", "init", "--layout", folder / "layout")
    do("umoci", "new", "--image", image)
    for number, change in enumerate((first, second)):
        bundle = folder / f"bundle{number}"
        do("umoci", "unpack", "--image", image, bundle)
        change(bundle / "rootfs")
        do("umoci", "repack", "--image", image, bundle)
    (folder / "inserted").mkdir()
    (folder / "inserted/file").write_text("no whole block")
    do("umoci", "insert", "--image", image, folder / "inserted", "/opt/inserted")  # without the end of an archive
    said = ["--config.user", "app", "--config.workingdir", "/srv/app", "--config.env", "GREETING=hello world"]
    said += ["--config.entrypoint", "/bin/sh", "--config.entrypoint", "-c"]
    do("umoci", "config", "--image", image, *said, "--config.cmd", "id -un; pwd; echo $GREETING; ls /opaque /usr/lib")
    return folder / "layout"


@pytest.fixture
def volt(tmp_path):
    with leaving_nothing(Volt(tmp_path)) as one:
        yield one


def listing(root):
    """What lies below a folder, times left out: umoci and tar set those of folders in different orders."""
    found, links = {}, {}
    for folder, names, files in os.walk(root, followlinks=False):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            kind, where = stat.S_IFMT(status.st_mode), os.path.relpath(path, root)
            content = b""
            if stat.S_ISREG(kind):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(kind):
                content = os.fsencode(os.readlink(path))
            xattrs = {
                one: os.getxattr(path, one, follow_symlinks=False) for one in os.listxattr(path, follow_symlinks=False)
            }
            first_name = links.setdefault(status.st_ino, where) if stat.S_ISREG(kind) else where
            found[where] = (status.st_mode, status.st_uid, status.st_gid, content, xattrs, first_name)
    return found


def test_the_tree_is_the_one_that_umoci_unpacks(layout, volt, tmp_path):
    do("umoci", "unpack", "--image", f"{layout}:one", tmp_path / "umoci")
    assert volt("image", "import", layout, "one:1").returncode == 0
    (tmp_path / "ours").mkdir()
    exported = volt("image", "export", "one:1").stdout
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "-C", tmp_path / "ours", "-xp"], input=exported, check=True
    )
    theirs, ours = listing(tmp_path / "umoci/rootfs"), listing(tmp_path / "ours")
    assert ours == theirs
    assert len(ours) > 20


def test_however_it_is_packed_it_is_one_tree(layout, volt, tmp_path):
    do("skopeo", "copy", f"oci:{layout}:one", f"docker-archive:{tmp_path}/docker.tar:one:1")
    do("skopeo", "copy", f"oci:{layout}:one", f"oci-archive:{tmp_path}/oci.tar:one:1")
    do("gzip", "-k", tmp_path / "docker.tar")
    sources = (layout, *(tmp_path / name for name in ("docker.tar", "oci.tar", "docker.tar.gz")))
    assert len({volt("image", "import", source).stdout for source in sources}) == 1


def test_exported_as_a_layout_it_is_one_tree_and_says_the_same_to_others(layout, volt, tmp_path):
    tree = volt("image", "import", layout, "one:1").stdout
    archive, folder = tmp_path / "exported.tar", tmp_path / "exported"
    done = volt("image", "export", "--format", "oci", "one:1", archive)
    assert done.returncode == 0, done.stderr
    assert volt("image", "export", "--format", "oci", "one:1").stdout == archive.read_bytes()
    assert volt("image", "import", archive, "two:1").stdout == tree
    said, own = (
        json.loads(do("skopeo", "inspect", "--config", one).stdout)
        for one in (f"oci-archive:{archive}:1", f"oci:{layout}:one")
    )
    assert (said["config"], said["architecture"]) == (own["config"], own["architecture"])
    folder.mkdir()
    do("tar", "-C", folder, "-xf", archive)
    do("umoci", "unpack", "--image", f"{layout}:one", tmp_path / "theirs")
    do("umoci", "unpack", "--image", f"{folder}:1", tmp_path / "ours")
    assert listing(tmp_path / "ours/rootfs") == listing(tmp_path / "theirs/rootfs")
    assert [*(volt.state / "state/downloads").iterdir()] == []


def manifest(volt, **more):
    """One with the image for its root."""
    path = volt.manifest(workload={"image": "one:1", **more})
    document = tomli.loads(path.read_text())
    del document["storage"]["rootfs"]
    path.write_text(tomli_w.dumps(document))
    return path


SAYS = ["app", "/srv/app", "hello", "world", "/opaque:", "new", "/usr/lib:", "one", "two"]


def test_it_runs_as_the_image_says_and_as_the_manifest_says_otherwise(layout, volt):
    assert volt("image", "import", layout, "one:1").returncode == 0
    done = volt("run", manifest(volt))
    assert done.stdout.decode().split() == SAYS, done.stderr
    script = ["/bin/sh", "-c", "id -u; echo $GREETING"]
    other = volt("run", manifest(volt, user="0", command=script, env={"GREETING": "other"}))
    assert other.stdout == b"0\nother\n"


def test_a_locked_manifest_means_the_same_when_the_name_means_another_image(layout, volt, tmp_path):
    one = manifest(volt)
    absent = volt("lock", one)
    assert absent.returncode == 1
    assert b"there is no image one:1" in absent.stderr
    tree = volt("image", "import", layout, "one:1").stdout.decode().strip()
    locked = volt.folder / "locked.toml"
    assert volt("lock", one, "-o", locked).returncode == 0
    assert tomli.loads(locked.read_text())["storage"]["rootfs"] == f"cas://{tree}"
    (tmp_path / "another").mkdir()
    assert volt("image", "import", tmp_path / "another", "one:1").returncode == 0
    assert volt("run", locked).stdout.decode().split() == SAYS
    assert volt("run", one).returncode != 0


def test_how_an_image_was_made_and_what_has_changed_is_told(layout, volt, tmp_path):
    assert volt("image", "import", layout, "one:1").returncode == 0
    told = volt("image", "history", "one:1").stdout.decode().splitlines()
    assert len(told) == 5, "a heading, and a line for each step"
    (tmp_path / "opaque").mkdir()
    assert volt("image", "import", tmp_path / "opaque", "empty:1").returncode == 0
    assert "D /bin/busybox" in volt("image", "diff", "one:1", "empty:1").stdout.decode().splitlines()
