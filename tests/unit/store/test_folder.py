"""A folder becomes a tree: everything that a file system keeps of it, and nothing that is not part of it."""

import os
import socket
import stat
import threading
import time

import pytest

from tests.unit.store.pieces import folder, take_folder
from volt.errors import StoreError
from volt.store import folder as module
from volt.store.folder import read_folder
from volt.store.intake import Intake
from volt.store.transaction import Transaction

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root sets these")


def tree(store, path, **options):
    return store.tree(take_folder(store, path, **options))


def test_everything_of_a_folder_is_in_its_tree(store, tmp_path):
    made = tree(store, folder(tmp_path / "tree"))
    assert stat.S_IMODE(made.children[b"bin"].children[b"su"].mode) == 0o4755
    assert stat.S_IMODE(made.children[b"tmp"].mode) == 0o1777
    etc, a = made.children[b"etc"], made.children[b"a"]
    assert etc.children[b"link"].target == b"../etc/passwd"
    assert a.children[b"b"].children[b"again"] is etc.children[b"passwd"]
    assert a.children[b"link"] is etc.children[b"link"]
    assert stat.S_ISFIFO(a.children[b"pipe"].mode)
    assert etc.children[b"empty"].digest == ""
    assert store.read(etc.children[b"passwd"].digest) == b"root:x:0:0:root:/root:/bin/sh\n"
    assert b"\xff\xfe and a\nnew line" in a.children
    assert {made.mtime, etc.mtime, etc.children[b"link"].mtime} == {1_700_000_000}


def test_the_same_folder_twice_has_one_digest_and_adds_nothing(store, tmp_path):
    first = take_folder(store, folder(tmp_path / "one"))
    with Transaction(store) as transaction:
        again = transaction.put_tree(read_folder(str(folder(tmp_path / "two")), Intake(transaction)))
        assert transaction.added == 0
    assert again == first


CHANGES = {
    "content": lambda path: (path / "etc/passwd").write_text("other"),
    "permissions": lambda path: (path / "etc").chmod(0o700),
    "a name": lambda path: (path / "etc/empty").rename(path / "etc/full"),
    "a target": lambda path: ((path / "etc/link").unlink(), (path / "etc/link").symlink_to("elsewhere")),
    "an attribute": lambda path: os.setxattr(path / "etc/passwd", "user.a", b"1"),
    "a time": lambda path: os.utime(path / "bin", (5, 5)),
    "a link less": lambda path: (
        (path / "a/b/again").unlink(),
        (path / "a/b/again").write_text("root:x:0:0:root:/root:/bin/sh\n"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_changes_the_digest(store, tmp_path, change):
    first = take_folder(store, folder(tmp_path / "one"))
    other = folder(tmp_path / "two")
    change(other)
    assert take_folder(store, other) != first


@ROOT
def test_owners_capabilities_and_attributes_are_kept(store, tmp_path):
    here = folder(tmp_path / "tree")
    os.chown(here / "bin/su", 1234, 70000)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(here / "bin/su", "security.capability", capability)
    os.setxattr(here / "etc", "user.note", b"\0\xff")
    made = tree(store, here)
    su = made.children[b"bin"].children[b"su"]
    assert (su.uid, su.gid, su.xattrs) == (1234, 70000, {b"security.capability": capability})
    assert made.children[b"etc"].xattrs == {b"user.note": b"\0\xff"}


def test_a_large_file_with_holes_takes_as_little_as_it_did(store, tmp_path):
    here = tmp_path / "tree"
    here.mkdir()
    with (here / "sparse").open("wb") as file:
        file.truncate(100 << 20)
        file.seek(50 << 20)
        file.write(b"middle")
    made = tree(store, here).children[b"sparse"]
    status = os.stat(store.object(made.digest))
    assert (made.size, status.st_size) == (100 << 20, 100 << 20)
    assert status.st_blocks * 512 < 1 << 20


@ROOT
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)), "odd: it is a device"),
        (lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(8, 0)), "odd: it is a device"),
        (lambda path: os.mknod(path, stat.S_IFCHR | 0o600, 0), "odd: it is the device 0:0"),
        (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "odd: it is a socket"),
    ],
)
def test_devices_sockets_and_whiteouts_are_refused_by_name(store, tmp_path, make, message):
    here = tmp_path / "tree"
    here.mkdir()
    make(here / "odd")
    with pytest.raises(StoreError, match=message):
        take_folder(store, here)


@ROOT
def test_attributes_of_overlayfs_are_refused_by_name(store, tmp_path):
    here = folder(tmp_path / "tree")
    os.setxattr(here / "etc", "trusted.overlay.opaque", b"y")
    with pytest.raises(StoreError, match=r"etc: the attribute 'trusted\.overlay\.opaque' cannot be taken over"):
        take_folder(store, here)


def test_a_socket_that_somebody_listens_on_is_not_connected_to(store, tmp_path):
    here = tmp_path / "tree"
    here.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(here / "s"))
        with pytest.raises(StoreError, match="s: it is a socket"):
            take_folder(store, here)


def test_a_pipe_is_not_waited_for_and_a_link_is_not_followed(store, tmp_path):
    here = tmp_path / "tree"
    here.mkdir()
    os.mkfifo(here / "pipe")
    (here / "out").symlink_to("/etc")
    assert tree(store, here).children[b"out"].target == b"/etc"


def test_a_file_that_changes_while_it_is_read_is_refused(store, tmp_path, monkeypatch):
    here = folder(tmp_path / "tree")
    read = module._read

    def meanwhile(descriptor, size):
        data = read(descriptor, size)
        with (here / "etc/passwd").open("a") as file:
            file.write("more\n")
        return data

    monkeypatch.setattr(module, "_read", meanwhile)
    with pytest.raises(StoreError, match="it was changed while it was read"):
        take_folder(store, here)


def swapped_for_a_file(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)


def swapped_for_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def swapped_for_a_folder(path):
    path.unlink()
    path.mkdir()


def swapped_for_a_link(path):
    other = path.rename(path.with_name("other"))
    path.symlink_to(other)


TICK = 0.02  # seconds: two changes that are closer may have the same time, inode_set_ctime_current()
SWAPS = (swapped_for_a_file, swapped_for_a_pipe, swapped_for_a_folder, swapped_for_a_link)
CHANGED_AT_ONCE = {
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "shorter": lambda path: path.write_bytes(b""),
    "another owner": lambda path: os.chown(path, -1, os.getgid()),
    "other permissions": lambda path: path.chmod(0o600),
    "an attribute": lambda path: os.setxattr(path, "user.a", b"1"),
    **{swap.__name__: swap for swap in SWAPS},
}


@pytest.mark.parametrize("size", [5, module.SMALL + 1], ids=["small", "large"])
@pytest.mark.parametrize("change", CHANGED_AT_ONCE.values(), ids=CHANGED_AT_ONCE)
def test_a_file_that_changes_between_the_look_at_it_and_its_opening_is_refused(store, tmp_path, change, size):
    here = tmp_path / "tree"
    here.mkdir()
    (here / "file").write_bytes(b"x" * size)
    time.sleep(TICK)

    class Meanwhile(Intake):
        def size(self, path, size):
            super().size(path, size)
            change(here / "file")

    with Transaction(store) as transaction, pytest.raises((StoreError, OSError)) as refused:
        read_folder(str(here), Meanwhile(transaction))
    if isinstance(refused.value, StoreError):
        assert "file: it was changed while it was read" in str(refused.value)
    else:
        assert change in SWAPS
    assert os.listdir(store.objects) == []


def test_a_folder_that_is_swapped_for_a_link_meanwhile_is_not_followed(store, tmp_path):
    here = tmp_path / "tree"
    (here / "a").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x").write_text("secret of the host")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(here / "a", here / "b") if (here / "a").is_dir() else None
            os.symlink(secret, here / "a")
            os.unlink(here / "a")
            os.rename(here / "b", here / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(100):
            try:
                made = tree(store, here)
            except (StoreError, OSError):
                continue
            assert all(b"x" not in (one.children or {}) for one in made.children.values())
    finally:
        stop.set()
        thread.join()
