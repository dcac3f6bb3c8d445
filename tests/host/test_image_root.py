"""Images as roots: what a payload finds, what it can change, and what holds an image as long as it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host import front
from tests.host.conftest import Volt, leaving_nothing
from tests.host.living import living
from volt import api
from volt.host import kernel
from volt.host.inside import read_inside
from volt.model.facts import IMAGE_KERNEL as KERNEL

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


# On the kernels of the guests that are older, a launch from an image is refused by name.
OLD = kernel.version(os.uname().release) < KERNEL
NAMED = f"an image as root needs Linux {KERNEL[0]}.{KERNEL[1]}"


def shell(own, script, *options, **sections):
    return own[0].run("sh", "-c", script, options=options, **sections)


@pytest.mark.kernel
def test_a_payload_finds_the_files_that_were_imported(own, rooted):
    script = "cat /srv/large | sha256sum; stat -c '%a %u %g %h' /bin/setuid /srv/owned; ls -i /srv | sort; id -u"
    done = shell(own, script, **image())
    if OLD:
        assert NAMED in done.stderr.decode()
        return
    assert done.returncode == 0, done.stderr
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


def test_what_is_written_lands_in_the_layer_and_never_in_the_store(own):
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
def test_layers_are_what_they_are_over_a_folder(own, sections, status):
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


# ── what holds an image ─────────────────────────────────────────────────────────────────────────


def test_a_workload_that_runs_keeps_its_image_and_loses_no_file(own):
    volt, tree = own
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


def test_a_store_on_a_file_system_that_cannot_is_named(volt, rooted, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    volt.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", volt.state], check=True)
    try:
        volt.state.chmod(0o711)
        api.import_image(rooted, "web:1")
        done = volt.run("true", **image())
        assert done.returncode == 125
        assert b"the store lies on tmpfs, from which the kernel mounts no image" in done.stderr
    finally:
        subprocess.run(["umount", volt.state], check=True)


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
