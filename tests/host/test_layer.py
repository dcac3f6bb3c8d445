"""The writable layer: kept per name, tmpfs, none; and the root that it was made on."""

import shutil
import subprocess

import pytest


@pytest.fixture
def kept(volt, busybox):
    """A manifest with a kept layer over a root folder."""

    def make(name="kept", rootfs=None, **storage):
        storage = {"rootfs": str(rootfs or busybox), "writable_layer": "overlay", **storage}
        return volt.manifest(workload={"name": name}, storage=storage)

    return make


def run(volt, manifest, script, *options):
    return volt("run", manifest, *options, "--", "sh", "-c", script)


@pytest.mark.kernel
def test_an_overlay_is_kept_per_name(volt, kept):
    assert run(volt, kept(), "echo one > /etc/mark; mkdir /new; chown 1000:55 /new").returncode == 0
    out = run(volt, kept(), "cat /etc/mark; stat -c %u:%g /new")
    assert out.stdout == b"one\n1000:55\n", out.stderr
    assert run(volt, kept("other"), "cat /etc/mark").returncode == 1


def test_the_root_folder_itself_is_never_written(volt, kept, busybox):
    before = sorted(str(path) for path in busybox.rglob("*"))
    run(volt, kept(), "rm -rf /srv; echo changed > /etc/passwd; touch /usr/x")
    assert sorted(str(path) for path in busybox.rglob("*")) == before
    assert "root:x:0:0" in (busybox / "etc/passwd").read_text()


@pytest.mark.kernel
def test_ids_on_disk_are_the_ids_inside(volt, kept):
    run(volt, kept(), "touch /root-file; touch /user-file; chown 1000:1000 /user-file")
    upper = volt.state / "state/layers/kept/upper"
    assert (upper / "root-file").stat().st_uid == 0
    assert (upper / "user-file").stat().st_uid == 1000


@pytest.mark.kernel
def test_fresh_discards_the_layer(volt, kept):
    run(volt, kept(), "echo one > /etc/mark")
    assert run(volt, kept(), "test -e /etc/mark", "--fresh").returncode == 1
    assert run(volt, kept(), "test -e /etc/mark").returncode == 1


def test_a_failed_fresh_start_keeps_the_layer(volt, busybox):
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    good = volt.manifest(workload={"name": "kept"}, storage=storage)
    bad = volt.manifest(workload={"name": "kept", "workdir": "/no/such"}, storage=storage)
    run(volt, good, "echo one > /etc/mark")
    assert run(volt, bad, "true", "--fresh").returncode == 125
    assert run(volt, good, "cat /etc/mark").stdout == b"one\n"


@pytest.mark.kernel
def test_another_root_is_refused_and_never_stacked(volt, kept, busybox, tmp_path):
    run(volt, kept(), "echo one > /etc/mark")
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", str(busybox), str(other)], check=True)
    done = run(volt, kept(rootfs=other), "true")
    assert done.returncode == 125
    assert b"other-root" in done.stderr
    assert b"--fresh" in done.stderr
    assert run(volt, kept(rootfs=other), "test -e /etc/mark", "--fresh").returncode == 1


def test_a_root_that_was_made_anew_in_the_same_place_is_another_root(volt, kept, busybox, tmp_path):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    run(volt, kept(rootfs=root), "true")
    root.rename(tmp_path / "before")
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    assert b"other-root" in run(volt, kept(rootfs=root), "true").stderr
    shutil.rmtree(tmp_path / "before")


def test_a_layer_that_changed_hands_between_plan_and_launch_is_refused(volt, kept):
    """The pinned file is compared again at the start, not only while planning."""
    run(volt, kept(), "true")
    pin = volt.state / "state/layers/kept/root"
    assert '"root"' in pin.read_text()
    pin.write_text("something else\n")
    assert b"another root" in run(volt, kept(), "true").stderr


@pytest.mark.kernel
def test_a_tmpfs_layer_is_gone_with_the_run(volt, busybox):
    manifest = volt.manifest(storage={"rootfs": str(busybox), "writable_layer": "tmpfs"})
    assert run(volt, manifest, "echo x > /etc/mark && cat /etc/mark").stdout == b"x\n"
    assert run(volt, manifest, "test -e /etc/mark").returncode == 1
    assert list((volt.state / "state/layers").iterdir()) == []


@pytest.mark.kernel
@pytest.mark.parametrize("rootfs", ["host", "folder"])
@pytest.mark.parametrize("how", [{"storage": {"writable_layer": "none"}}, {"security": {"read_only_rootfs": True}}])
def test_a_read_only_root_refuses_writes_and_has_bounded_tmp_and_run(volt, busybox, rootfs, how):
    storage = {"rootfs": "host" if rootfs == "host" else str(busybox)} | how.get("storage", {})
    sections = {"storage": storage} | {k: v for k, v in how.items() if k != "storage"}
    out = volt.shell(
        "touch /x /etc/x /usr/x 2>/dev/null && echo written; touch /tmp/x /run/x && echo tmp;"
        " grep -c ' /tmp ' /proc/mounts",
        **sections,
    )
    assert out.split() == ["tmp", "1"]


def test_tmp_of_a_writable_root_belongs_to_the_layer(volt, kept):
    run(volt, kept(), "echo x > /tmp/mark")
    assert run(volt, kept(), "cat /tmp/mark").stdout == b"x\n"


def test_a_user_added_in_the_layer_is_known_in_the_next_run(volt, busybox):
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    run(
        volt,
        volt.manifest(workload={"name": "kept"}, storage=storage),
        "echo 'new:x:1234:1234::/:/bin/sh' >> /etc/passwd",
    )
    done = run(volt, volt.manifest(workload={"name": "kept", "user": "new"}, storage=storage), "id -u")
    assert done.stdout == b"1234\n", done.stderr


@pytest.mark.kernel
def test_the_mount_points_of_a_read_only_root_need_not_exist(volt, busybox, tmp_path):
    (tmp_path / "share").mkdir()
    volumes = [{"host": str(tmp_path / "share"), "container": "/not/there/yet", "readonly": True}]
    out = volt.shell(
        "test -d /not/there/yet && echo there",
        storage={"rootfs": str(busybox), "writable_layer": "none", "volumes": volumes},
    )
    assert out == "there\n"
