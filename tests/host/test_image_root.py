"""Images as roots: what a payload finds, what it can change, and what holds an image as long as it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.host import front
from tests.host.conftest import Volt, leaving_nothing
from tests.host.living import living, until
from volt import api
from volt.host import kernel
from volt.host.idmap import idmappable
from volt.host.inside import read_inside
from volt.host.loop import has_loops
from volt.model.facts import DATA_KERNEL, IMAGE_KERNEL
from volt.store.collect import take_out
from volt.store.place import Store

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture(scope="module")
def rooted(tmp_path_factory, busybox):
    """A root with what file systems are good at losing."""
    root = front.small_root(tmp_path_factory.mktemp("rooted") / "root", busybox)
    (root / "bin/setuid").write_bytes((root / "bin/busybox").read_bytes())
    (root / "bin/setuid").chmod(0o4755)
    (root / "srv/large").write_bytes(b"some" * 300_000)
    (root / "srv/owned").write_text("of a user\n")
    os.chown(root / "srv/owned", 1000, 55)
    os.link(root / "srv/owned", root / "srv/again")
    os.setxattr(root / "srv/owned", "user.note", b"kept")
    return root


@pytest.fixture
def volt(disk):
    """As every test has one, on a disk."""
    with leaving_nothing(Volt(disk)) as one:
        yield one


@pytest.fixture
def own(volt, rooted, monkeypatch):
    """A volt with the image web:1, and its digest."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    return volt, api.import_image(rooted, "web:1").tree


def image(name="web:1", **storage):
    """The sections of a manifest with an image and a kept layer."""
    return {
        "workload": {"name": "web", "image": name},
        "storage": {"rootfs": "", "writable_layer": "overlay", **storage},
    }


KERNEL = kernel.version(os.uname().release)
IN_MEMORY = idmappable("tmpfs", KERNEL)


LOOPS = KERNEL >= DATA_KERNEL and has_loops()
WAYS = ("disk", *(("memory",) if IN_MEMORY else ()), *(("overlay",) if LOOPS else ()))


@pytest.fixture(params=WAYS)
def either(volt, request):
    """`own` with its store on a disk, where Linux 6.12 mounts images and Linux 6.5 through a loop device; in memory,
    where all mount the tree unpacked; and on an overlay, where a loop device is the only way."""
    store = volt.state / "state/store"
    places = {"disk": nullcontext, "memory": partial(in_memory, store), "overlay": partial(on_overlay, store)}
    with places[request.param]():
        yield request.getfixturevalue("own")


def unpacked(own):
    """Where its tree lies as a folder."""
    return own[0].state / "state/store/unpacked" / own[1].removeprefix("sha256:")


@contextmanager
def in_memory(store, kind="tmpfs"):
    """The store on a file system of its own that knows no disk."""
    store.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", kind, "none", store], check=True)
    try:
        store.chmod(0o700)
        yield
    finally:
        subprocess.run(["umount", store], check=True)


@contextmanager
def on_overlay(store):
    """The store on another overlay, as in a container."""
    lower, upper, work = (store.parent / f"store-{name}" for name in ("lower", "upper", "work"))
    for folder in (store, lower, upper, work):
        folder.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "none", store], check=True)
    try:
        store.chmod(0o700)
        yield
    finally:
        subprocess.run(["umount", store], check=True)


def loops(own):
    """The loop devices of its image: loop(4), /sys/block."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # it is gone by now
            found += [path.parts[3]] if own[1].removeprefix("sha256:") in path.read_text() else []
    return found


def shell(own, script, *options, **sections):
    return own[0].run("sh", "-c", script, options=options, **sections)


@pytest.mark.kernel
def test_a_payload_finds_the_files_that_were_imported(either, rooted, request):
    script = "cat /srv/large | sha256sum; stat -c '%a %u %g %h' /bin/setuid /srv/owned; ls -i /srv | sort; id -u"
    done = shell(either, script, **image())
    assert done.returncode == 0, done.stderr
    assert unpacked(either).exists() == (KERNEL < IMAGE_KERNEL or "memory" in request.node.name)
    lines = done.stdout.decode().splitlines()
    expected = subprocess.run(["sha256sum", rooted / "srv/large"], capture_output=True, check=True).stdout
    assert lines[0].split()[0] == expected.decode().split()[0]
    assert lines[1:3] == ["4755 0 0 1", "644 1000 55 2"]
    inodes = {name: number for number, name in (line.split() for line in lines[3:-1])}
    assert inodes["again"] == inodes["owned"]
    assert lines[-1] == "0"


def test_a_digest_names_the_same_root_as_a_name(own):
    by_digest = {"storage": {"rootfs": f"cas://{own[1]}"}}
    assert shell(own, "cat /srv/owned", **by_digest).stdout == b"of a user\n"


def test_a_user_of_the_image_is_looked_up_in_the_image(own):
    workload = {"user": "user", "image": "web:1", "name": "web"}
    done = shell(own, "id", workload=workload, storage={"rootfs": ""})
    assert done.stdout == b"uid=1000(user) gid=1000(user) groups=55(extra),1000(user)\n", done.stderr


def test_what_is_written_lands_in_the_layer_and_never_in_the_store(either):
    own = either
    script = (
        "echo x >> /srv/large; chmod 600 /srv/owned; rm /srv/again; mv /bin/setuid /bin/other; chown 5:5 /etc/passwd"
    )
    assert shell(own, script, **image()).returncode == 0
    assert api.verify_store().damage == ()
    script = "tail -c 2 /srv/large; stat -c %a /srv/owned; cat /srv/owned; ls /srv; ls -l /bin/other | cut -c1-10"
    done = shell(own, script, **image())
    assert done.stdout == b"x\n600\nof a user\nlarge\nowned\n-rwsr-xr-x\n", done.stderr
    changed = {(one.kind, one.path) for one in api.diff("web")}
    assert {("changed", "/srv/large"), ("deleted", "/srv/again"), ("added", "/bin/other")} <= changed
    # /etc/passwd has only its owner in the layer: what it holds is still the image's, for planning too.
    done = shell(
        own,
        "id -un",
        workload={"user": "svc", "image": "web:1", "name": "web"},
        storage={"rootfs": "", "writable_layer": "overlay"},
    )
    assert done.stdout == b"svc\n", done.stderr


@pytest.mark.parametrize(
    ("sections", "status"),
    [
        (image(writable_layer="none"), 1),
        (image(writable_layer="tmpfs"), 0),
        ({**image(), "security": {"read_only_rootfs": True}}, 1),
    ],
    ids=["none", "tmpfs", "read-only"],
)  # fmt: skip
def test_layers_are_what_they_are_over_a_folder(either, sections, status):
    own = either
    assert shell(own, "cat /srv/owned > /dev/null && touch /srv/new", **sections).returncode == status
    assert shell(own, "test -e /srv/new", **sections).returncode == 1


def test_a_kept_layer_belongs_to_one_tree(own, rooted, tmp_path):
    """Over another one overlayfs would show sizes of the one and content of the other, without an error."""
    first = own[1]
    assert shell(own, "touch /srv/mine", **image()).returncode == 0
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", rooted, other], check=True)
    (other / "srv/owned").write_text("another version\n")
    assert api.import_image(other, "web:1").tree != first
    done = shell(own, "true", **image())
    assert done.returncode == 125
    assert b"the kept layer of 'web' was made on another root" in done.stderr
    assert b"--fresh" in done.stderr
    # The layer is all that holds the first tree now, and it does.
    assert api.collect_store().objects == 0
    assert shell(own, "cat /srv/owned", "--fresh", **image()).stdout == b"another version\n"
    assert api.collect_store().objects > 0


CHANGES = """
echo x >> /srv/large; chmod 600 /srv/owned; chown 5:5 /etc/group; mv /bin/setuid /bin/other; rm -r /srv/sub/gone
mv /srv/moved /srv/sub/moved; touch -d @7 /srv/sub/moved/file; rm -r /srv/new; mkdir /srv/new; ln /etc/passwd /srv/one
"""
LOOK = """
cd / && find bin etc srv -type f -exec sha256sum {} + | sort
find bin etc srv -exec stat -c '%n %a %u %g %h' {} + | sort
"""


@pytest.mark.skipif(not IN_MEMORY, reason=f"Linux {KERNEL[0]}.{KERNEL[1]} mounts images in one form only")
@pytest.mark.parametrize("first", ["disk", "memory"])
def test_a_kept_layer_goes_on_when_its_image_is_mounted_the_other_way(volt, rooted, tmp_path, monkeypatch, first):
    """As after another kernel was booted: the very same files, also those of which the layer has only the status."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    root, store, aside = tmp_path / "root", volt.state / "state/store", volt.folder / "aside"
    subprocess.run(["cp", "-a", rooted, root], check=True)
    for name in ("srv/moved", "srv/new", "srv/sub/gone"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text(name)
    own = volt, api.import_image(root, "web:1").tree
    subprocess.run(["cp", "-a", store, aside], check=True)

    @contextmanager
    def other():
        with in_memory(store):
            subprocess.run(["cp", "-a", f"{aside}/.", store], check=True)
            yield
            assert unpacked(own).exists()

    ways = [nullcontext, other] if first == "disk" else [other, nullcontext]
    with ways[0]():
        assert shell(own, CHANGES, **image()).returncode == 0
        expected = shell(own, LOOK, **image()).stdout
        assert b"srv/owned 600 1000 55 " in expected
        assert {one.path for one in api.diff("web")} >= {"/srv/sub/moved", "/bin/other"}
    with ways[1]():
        assert shell(own, LOOK, **image()).stdout == expected
        told = {(one.kind, one.path) for one in api.diff("web")}
        assert ("changed", "/srv/owned") in told
        assert shell(own, "echo y >> /srv/owned; mv /srv/sub/moved /srv/back", **image()).returncode == 0
        later = shell(own, LOOK, **image()).stdout
        assert api.commit("web", "made:1").files > 0
    with ways[0]():
        assert shell(own, LOOK, **image()).stdout == later
        assert shell(own, "cat /srv/back/file /srv/owned", **image()).stdout == b"srv/movedof a user\ny\n"


# ── what holds an image ─────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not LOOPS, reason="overlayfs has no data-only layers here, or there are no loop devices")
def test_a_loop_device_is_there_as_long_as_what_is_mounted_of_it(volt, rooted, monkeypatch):
    """However that ends: its supervisor is killed, and takes all along."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with on_overlay(volt.state / "state/store"):
        own = volt, api.import_image(rooted, "web:1").tree
        with living(volt, "sleep", "300", **image(writable_layer="tmpfs")) as run:
            assert len(loops(own)) == 1
            os.kill(run.process.pid, signal.SIGKILL)
        until(lambda: not loops(own), "that nothing has the image")
        api.sweep()


def test_a_workload_that_runs_keeps_its_image_and_loses_no_file(either):
    volt, tree = either
    script = "until test -e /tmp/go; do sleep 0.1; done; cat /srv/owned; wc -c < /srv/large; sleep 300"
    with living(volt, "sh", "-c", script, **image(writable_layer="tmpfs")) as run:
        assert api.image_users(api.image("web:1")) == (run.record.id,)
        api.remove_image("web:1")
        assert api.collect_store().trees == ()
        assert volt("exec", "web", "touch", "/tmp/go").returncode == 0
        assert volt("exec", "web", "cat", "/srv/owned").stdout == b"of a user\n"
        assert volt("exec", "web", "wc", "-c", "/srv/large").stdout.split()[0] == b"1200000"
        run.end()
    assert api.collect_store().trees == (tree.removeprefix("sha256:"),)
    assert api.store_usage().objects == 0


def test_a_supervisor_that_is_killed_holds_nothing_any_more(own):
    volt, tree = own
    with living(volt, **image(writable_layer="tmpfs")) as run:
        lease = volt.state / "state/store/leases" / run.record.id
        assert lease.read_text() == f"{tree}\n"
        os.kill(run.record.pid, signal.SIGKILL)
        run.process.wait()
        api.sweep()
        assert not lease.exists()
    api.remove_image("web:1")
    assert len(api.collect_store().trees) == 1


def test_a_launch_that_finds_no_image_any_more_says_so_and_leaves_nothing(own):
    """Between planning and launching the image goes: as a collector would have it."""
    volt, tree = own
    manifest = volt.manifest(**image())
    store = volt.state / "state/store"
    code = f"""
import os, sys
from volt.launch import handover
from volt.cli import main
become = handover.become
handover.become = lambda *given: (os.unlink("{store}/images/{tree[7:]}.erofs"), become(*given))
sys.exit(main(["run", "{manifest}", "--", "true"]))
"""
    top = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], env=volt.environment, capture_output=True, cwd=top, check=False)
    assert done.returncode == 125
    assert b"make-filesystem" in done.stderr
    assert os.listdir(store / "leases") == []
    assert shell(own, "true", **image()).returncode == 0  # the image was made again from its tree


def test_a_tree_is_unpacked_once_and_again_where_it_was_taken_out(volt, rooted, monkeypatch):
    """Changed on the disk, it is found and mended; while a run has it as its root it stays as it is."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with in_memory(volt.state / "state/store"):
        own = volt, api.import_image(rooted, "web:1").tree
        assert shell(own, "true", **image()).returncode == 0
        folder, inode = unpacked(own), unpacked(own).stat().st_ino
        assert shell(own, "true", **image()).returncode == 0
        assert folder.stat().st_ino == inode
        assert api.store_usage().unpacked > 1_200_000
        (folder / "srv/owned").write_text("of a devil\n")
        with living(volt, **image()) as run:
            assert [one.mended for one in api.verify_store(repair=True).damage] == [False]
            run.end()
        assert [(one.kind, one.mended) for one in api.verify_store(repair=True).damage] == [("folder", True)]
        assert shell(own, "cat /srv/owned", **image()).stdout == b"of a user\n"
        assert api.verify_store().damage == ()


def test_an_image_that_is_missing_is_made_again_from_its_tree(own):
    volt, tree = own
    file = volt.state / f"state/store/images/{tree[7:]}.erofs"
    before = file.read_bytes()
    file.unlink()
    assert shell(own, "true", **image()).returncode == 0
    assert file.read_bytes() == before


# ── the plan that is kept ───────────────────────────────────────────────────────────────────────


def test_a_launch_from_an_image_is_cached_and_a_name_that_moves_is_noticed(disk, rooted, monkeypatch):
    one = front.Front(disk, front.Installation(disk))
    monkeypatch.setenv("VOLT_ROOT", str(one.state))
    first = api.import_image(rooted, "web:1")
    workload = {"image": "web:1", "name": "web", "command": ["cat", "/srv/owned"]}
    manifest = one.manifest(workload=workload, storage={"rootfs": "", "writable_layer": "tmpfs"})
    front.let_age()
    assert one.planned("run", manifest).stdout == b"of a user\n"
    assert one.cached("run", manifest).stdout == b"of a user\n"
    other = disk / "other"
    subprocess.run(["cp", "-a", rooted, other], check=True)
    (other / "srv/owned").write_text("another version\n")
    api.import_image(other, "web:1")
    assert one.planned("run", manifest).stdout == b"another version\n"
    front.let_age()
    one("run", manifest)
    assert one.cached("run", manifest).stdout == b"another version\n"
    assert api.import_image(rooted, "web:1").tree == first.tree
    assert one.planned("run", manifest).stdout == b"of a user\n"
    api.remove_image("web:1")
    assert b"web:1 is not in the store" in one.planned("run", manifest).stderr


@pytest.mark.skipif(not IN_MEMORY, reason="this kernel idmaps no tmpfs")
def test_a_launch_from_what_is_unpacked_is_cached_until_that_is_taken_out(disk, rooted, monkeypatch):
    one = front.Front(disk, front.Installation(disk))
    monkeypatch.setenv("VOLT_ROOT", str(one.state))
    with in_memory(one.state / "state/store"):
        tree = api.import_image(rooted, "web:1").digest
        workload = {"image": "web:1", "name": "web", "command": ["cat", "/srv/owned"]}
        manifest = one.manifest(workload=workload, storage={"rootfs": "", "writable_layer": "tmpfs"})
        front.let_age()
        assert one.planned("run", manifest).stdout == b"of a user\n"
        assert one.cached("run", manifest).stdout == b"of a user\n"
        assert take_out(Store(f"{one.state}/state/store"), tree)
        assert one.planned("run", manifest).stdout == b"of a user\n"
        assert one.cached("run", manifest).stdout == b"of a user\n"


# ── what is refused ─────────────────────────────────────────────────────────────────────────────

REFUSED = {
    "malformed": ({"rootfs": "cas://sha256:abc"}, "bad-digest", "is no digest of a tree"),
    "another hash": ({"rootfs": f"cas://md5:{'0' * 64}"}, "bad-digest", "is no digest of a tree"),
    "absent": ({"rootfs": f"cas://sha256:{'0' * 64}"}, "no-image", "is not in the store"),
}


@pytest.mark.parametrize(("storage", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_a_digest_that_is_none_is_a_finding(own, storage, code, message):
    done = shell(own, "true", storage=storage)
    assert done.returncode == 125
    assert f"[{code}]" in done.stderr.decode()
    assert message in done.stderr.decode()
    assert "rootfs = " in done.stderr.decode()


def test_what_is_no_tree_is_a_finding(own):
    owned = next(
        path
        for path in (own[0].state / "state/store/objects").rglob("*")
        if path.is_file() and path.stat().st_size == 10
    )
    done = shell(own, "true", storage={"rootfs": f"cas://sha256:{owned.parent.name}{owned.name}"})
    assert b"[no-tree]" in done.stderr
    assert b"is no tree" in done.stderr


def test_an_image_that_is_not_there_is_a_finding_at_its_line(own):
    done = shell(own, "true", **image("nothing:5"))
    assert b"[no-image]" in done.stderr
    assert b'image = "nothing:5"' in done.stderr
    assert b"volt image import" in done.stderr


@pytest.mark.parametrize("kind", ["ramfs"] if IN_MEMORY else ["ramfs", "tmpfs"])
def test_a_store_on_a_file_system_that_cannot_is_named(volt, rooted, monkeypatch, kind):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with in_memory(volt.state / "state/store", kind):
        (volt.folder / "empty").mkdir()
        api.import_image(volt.folder / "empty", "web:1")
        done = volt.run("true", **image())
        assert done.returncode == 125
        assert f"the store lies on {kind}, from which Linux ".encode() in done.stderr
        assert b"which it cannot idmap" in done.stderr


def test_a_payload_cannot_reach_the_store(own):
    """Not by the attributes that lead to an object, and not by its mounts."""
    script = "cat /proc/self/mountinfo; ls /run/objects /run/lower; true"
    seen = shell(own, script, **image()).stdout.decode()
    assert " / / " in seen
    assert [line for line in seen.splitlines() if "erofs" in line or str(own[0].state) in line] == []


# ── planning looks into an image without mounting it anywhere ───────────────────────────────────


def set_overlay(path, **values):
    """What overlayfs keeps beside a file."""
    for name, value in values.items():
        os.setxattr(path, f"trusted.overlay.{name}", value)


def test_a_file_of_an_image_has_its_content_among_the_objects(tmp_path):
    root, objects = tmp_path / "root", tmp_path / "objects"
    (root / "etc").mkdir(parents=True)
    (objects / "ab").mkdir(parents=True)
    (objects / "ab/cd").write_text("of the object")
    (root / "etc/passwd").write_bytes(bytes(13))
    (root / "etc/empty").touch()
    set_overlay(root / "etc/passwd", metacopy=b"", redirect=b"/ab/cd")
    assert read_inside("etc/passwd", str(root), None, str(objects)) == "of the object"
    assert read_inside("etc/empty", str(root), None, str(objects)) == ""


def test_a_file_of_which_the_layer_has_only_the_status_has_the_content_of_the_image(tmp_path):
    root, upper, objects = tmp_path / "root", tmp_path / "upper", tmp_path / "objects"
    for path in (root / "etc", upper / "etc", objects / "ab"):
        path.mkdir(parents=True)
    (objects / "ab/cd").write_text("of the object")
    (root / "etc/group").write_bytes(bytes(13))
    set_overlay(root / "etc/group", metacopy=b"", redirect=b"/ab/cd")
    for name, redirect in (("group", {}), ("moved", {"redirect": b"/etc/group"}), ("near", {"redirect": b"group"})):
        (upper / f"etc/{name}").write_bytes(bytes(13))
        set_overlay(upper / f"etc/{name}", metacopy=b"", **redirect)
        assert read_inside(f"etc/{name}", str(root), str(upper), str(objects)) == "of the object"
    (upper / "etc/lost").write_bytes(bytes(13))
    set_overlay(upper / "etc/lost", metacopy=b"", redirect=b"/etc/nowhere")
    assert read_inside("etc/lost", str(root), str(upper), str(objects)).strip("\ufffd") == ""
