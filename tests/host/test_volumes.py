"""Volumes: host owner × user inside × readonly: what can be read and written, and who owns new files."""

import os
import socket
import stat
import subprocess
import threading

import pytest

OWNERS = {"root": 0, "user": 1000, "svc": 999}


def volume(path, **more):
    return {"volumes": [{"host": str(path), "container": "/data", **more}]}


@pytest.fixture
def share(tmp_path):
    """A folder with one file, of a given owner."""

    def make(uid):
        folder = tmp_path / f"share{uid}"
        folder.mkdir()
        (folder / "file").write_text("content\n")
        for path in (folder, folder / "file"):
            os.chown(path, uid, uid)
        folder.chmod(0o750)
        (folder / "file").chmod(0o640)
        return folder

    return make


PROBE = """
cat /data/file >/dev/null 2>&1 && echo read || echo no-read
echo more >> /data/file 2>/dev/null && echo append || echo no-append
touch /data/new 2>/dev/null && echo create || echo no-create
"""

# (host owner, user inside, as, readonly) → what the probe says
TABLE = [
    ("root", "root", None, False, "read append create"),
    ("root", "root", None, True, "read no-append no-create"),
    ("root", "user", None, False, "no-read no-append no-create"),
    ("root", "user", None, True, "no-read no-append no-create"),
    ("root", "user", "user", False, "read append create"),
    ("root", "user", "user", True, "read no-append no-create"),
    ("user", "root", None, False, "read append create"),
    ("user", "root", None, True, "read no-append no-create"),
    ("user", "user", None, False, "no-read no-append no-create"),
    ("user", "user", "user", False, "read append create"),
    ("user", "user", "user", True, "read no-append no-create"),
    ("user", "svc", "svc", False, "read append create"),
    ("svc", "root", None, False, "read append create"),
    ("svc", "svc", "svc", False, "read append create"),
    ("svc", "svc", "svc", True, "read no-append no-create"),
    ("svc", "user", "svc", False, "no-read no-append no-create"),
    ("svc", "root", "svc", False, "read append no-create"),
]


@pytest.mark.kernel
@pytest.mark.parametrize(("owner", "user", "stands_for", "readonly", "expected"), TABLE)
def test_who_may_do_what(volt, busybox, share, owner, user, stands_for, readonly, expected):
    folder = share(OWNERS[owner])
    more = {"readonly": readonly}
    more |= {"as": stands_for} if stands_for else {}
    more |= {"owner": "root"} if owner == "root" and not readonly else {}
    storage = {"rootfs": str(busybox), **volume(folder, **more)}
    out = volt.shell(PROBE, storage=storage, workload={"user": user})
    assert out.split() == expected.split()
    if "create" in expected.split():
        new = (folder / "new").stat()
        assert (new.st_uid, new.st_gid) == (OWNERS[owner], OWNERS[owner])


@pytest.mark.kernel
def test_ids_same_keeps_every_id(volt, busybox, share):
    folder = share(0)
    storage = {"rootfs": str(busybox), **volume(folder, ids="same", owner="root")}
    volt.shell("touch /data/a; chown 999:998 /data/a; chmod 0600 /data/a", storage=storage)
    status = (folder / "a").stat()
    assert (status.st_uid, status.st_gid) == (999, 998)


@pytest.mark.parametrize("more", [{}, {"ids": "same"}])
def test_writing_as_the_hosts_root_must_be_spelled_out(volt, share, more):
    done = volt.run("true", storage=volume(share(0), **more))
    assert done.returncode == 125
    assert b"root-owner" in done.stderr
    assert b'owner = "root"' in done.stderr


@pytest.mark.kernel
def test_a_set_uid_root_file_cannot_be_left_without_it(volt, busybox, share):
    folder = share(1000)
    storage = {"rootfs": str(busybox), **volume(folder)}
    volt.shell("cp /bin/busybox /data/shell; chmod 4755 /data/shell", storage=storage)
    assert (folder / "shell").stat().st_uid == 1000


@pytest.mark.kernel
def test_volumes_are_without_devices_and_set_uid(volt, busybox, share):
    out = volt.shell("grep ' /data ' /proc/self/mountinfo", storage={"rootfs": str(busybox), **volume(share(1000))})
    assert "nosuid" in out
    assert "nodev" in out


@pytest.mark.kernel
def test_a_single_file(volt, tmp_path):
    single = tmp_path / "one.conf"
    single.write_text("key = 1\n")
    os.chown(single, 1000, 1000)
    storage = {"volumes": [{"host": str(single), "container": "/etc/app/one.conf", "readonly": True}]}
    assert volt.shell("cat /etc/app/one.conf", storage=storage) == "key = 1\n"


@pytest.mark.kernel
def test_a_socket(volt, tmp_path):
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    os.chown(path, 1000, 1000)

    def greet():
        with server.accept()[0] as connection:
            connection.sendall(b"hello\n")

    answer = threading.Thread(target=greet)
    answer.start()
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/app.sock'); print(s.recv(9).decode())"
    done = volt.run("python3", "-c", ask, storage={"volumes": [{"host": str(path), "container": "/run/app.sock"}]})
    if done.returncode:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
    answer.join()
    server.close()
    assert done.stdout.strip() == b"hello", done.stderr


@pytest.mark.kernel
def test_a_deeper_volume_lies_on_top_of_the_one_above_it(volt, busybox, share, tmp_path):
    outer = share(1000)
    (outer / "inner").mkdir()
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "mark").write_text("inner\n")
    for path in (outer / "inner", inner, inner / "mark"):
        os.chown(path, 1000, 1000)
    volumes = [
        {"host": str(inner), "container": "/data/inner"},
        {"host": str(outer), "container": "/data"},
    ]
    out = volt.shell("cat /data/file /data/inner/mark", storage={"rootfs": str(busybox), "volumes": volumes})
    assert out == "content\ninner\n"


@pytest.mark.kernel
def test_a_volume_below_a_symlink_of_the_image_stays_inside(volt, busybox, share, tmp_path):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(busybox), str(root)], check=True)
    (root / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    storage = {"rootfs": str(root), "volumes": [{"host": str(share(1000)), "container": "/link/data"}]}
    done = volt.run("cat", "/link/data/file", storage=storage)
    assert list((tmp_path / "outside").iterdir()) == []
    assert done.stdout == b"content\n", done.stderr


@pytest.mark.kernel
def test_a_file_system_that_cannot_be_idmapped_is_refused_by_name(volt):
    done = volt.run("true", storage=volume("/proc/sys/kernel", readonly=True))
    assert done.returncode == 125
    assert b"no-idmap" in done.stderr
    assert b"proc" in done.stderr
    assert b"ext4" in done.stderr


@pytest.mark.kernel
def test_a_path_that_was_exchanged_since_planning_is_refused(volt, share):
    """The plan holds device and inode; another folder in the same place is not what was planned."""
    from volt import api
    from volt.api import planning
    from volt.launch import handover

    folder = share(1000)
    manifest = volt.manifest(storage=volume(folder), workload={"command": ["cat", "/data/file"]})
    os.environ["VOLT_ROOT"] = str(volt.state)
    try:
        plan, facts = planning.planned(manifest, None, None, api.Call())
    finally:
        del os.environ["VOLT_ROOT"]
    folder.rename(folder.with_name("moved"))
    share(1000)
    process = handover.spawn(facts.program, plan, (api.DEVNULL, api.PIPE, api.PIPE), ())
    _, err = process.communicate(timeout=30)
    assert process.returncode == 125
    assert b"open" in err
    assert stat.S_ISDIR(folder.stat().st_mode)
