"""What lies at a path of the host."""

import os
import socket
from dataclasses import replace

import pytest

from volt.host import paths
from volt.host.mounts import mounts
from volt.host.paths import path_fact

KERNEL = (6, 12)
MOUNTS = mounts()


def fact(path, found=MOUNTS, **options):
    return path_fact(str(path), found, KERNEL, **options)


def own_mount(path):
    """The row of the mount that a path lies on."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return paths._mount_of(descriptor, MOUNTS)
    finally:
        os.close(descriptor)


def as_type(path, filesystem, **more):
    """The mounts as if the one below `path` had another type."""
    row = own_mount(path)
    return tuple(replace(one, filesystem=filesystem, **more) if one == row else one for one in MOUNTS)


def test_a_folder_with_its_identity_and_owner(tmp_path):
    status = tmp_path.stat()
    found = fact(tmp_path)
    assert (found.kind, found.device, found.inode) == ("folder", status.st_dev, status.st_ino)
    assert (found.uid, found.gid, found.problem) == (status.st_uid, status.st_gid, "")


def test_each_kind(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{tmp_path}/socket")
    kinds = {path.name: fact(path).kind for path in tmp_path.iterdir()}
    assert kinds == {"file": "file", "fifo": "fifo", "socket": "socket"}
    assert fact("/dev/null").kind == "device"


def test_links_are_followed_to_what_they_lead_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert fact(tmp_path / "link").inode == tmp_path.stat().st_ino
    assert fact(tmp_path / "link").real == str(tmp_path)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/proc/self/status/below"])
def test_nothing_there_is_missing(path):
    assert fact(path).kind == "missing"


def test_a_link_without_an_end_is_unreadable_and_says_why(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    found = fact(tmp_path / "loop")
    assert (found.kind, "too many links" in found.problem) == ("unreadable", True)
    assert fact("/proc/self/root").kind == "unreadable"


@pytest.mark.parametrize(
    ("path", "why"),
    [("/a\0b", "is no path: it contains a NUL byte"), (f"/{'x' * 300}", "cannot be opened: File name too long")],
)
def test_what_is_no_path_is_unreadable_and_says_why(path, why):
    assert (fact(path).kind, fact(path).problem) == ("unreadable", why)


@pytest.mark.parametrize(("filesystem", "can"), [("ext4", True), ("tmpfs", True), ("overlay", False), ("newfs", False)])
def test_the_type_says_whether_it_can_be_idmapped(tmp_path, filesystem, can):
    found = fact(tmp_path, as_type(tmp_path, filesystem))
    assert (found.filesystem, found.idmappable) == (filesystem, can)


def test_an_idmapped_mount_is_not_idmapped_again(tmp_path):
    found = fact(tmp_path, as_type(tmp_path, "ext4", idmapped=True))
    assert not found.idmappable
    assert found.filesystem.startswith("an idmapped mount of ext4 at ")


def test_a_mount_that_no_list_names_is_not_trusted(tmp_path):
    found = fact(tmp_path, ())
    assert (found.filesystem, found.idmappable) == (paths.UNKNOWN, False)


def with_below(folder, filesystem, **more):
    row = replace(own_mount(folder), number=-1, path=f"{folder}/inner", filesystem=filesystem, **more)
    return (*as_type(folder, "ext4"), row)


def test_what_is_mounted_below_counts_where_it_is_mounted_too(tmp_path):
    found = with_below(tmp_path, "nfs4")
    assert fact(tmp_path, found).idmappable
    deep = fact(tmp_path, found, recursive=True)
    assert (deep.filesystem, deep.idmappable) == (f"ext4, with nfs4 mounted at {tmp_path}/inner", False)


def test_what_is_mounted_below_and_can_be_idmapped_is_no_problem(tmp_path):
    deep = fact(tmp_path, with_below(tmp_path, "xfs"), recursive=True)
    assert (deep.filesystem, deep.idmappable) == ("ext4", True)


def test_links_do_not_hide_what_is_mounted_below(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    found = with_below(tmp_path / "folder", "nfs4")
    assert not fact(tmp_path / "link", found, recursive=True).idmappable


def test_no_descriptor_is_left(tmp_path):
    before = sorted(os.listdir("/proc/self/fd"))
    fact(tmp_path, recursive=True)
    fact("/dev/null")
    assert sorted(os.listdir("/proc/self/fd")) == before
