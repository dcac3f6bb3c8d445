"""What the kernel makes of a tree's image: the very same files, whatever is among them, joined with their objects."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess

import pytest

from tests.unit.store.pieces import archive, folder, listing, member, take_archive, take_folder
from tests.unit.store.test_unpacked import unpack
from volt.errors import StoreError
from volt.store.place import make_store
from volt.store.verify import verify

MS_RDONLY = 1
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# acl(5): rw-, and user 1234 r--, group r--, mask r--, others r--; linux/posix_acl_xattr.h.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, may, who)
    for tag, may, who in ((1, 6, 2**32 - 1), (2, 4, 1234), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1))
)


@pytest.fixture
def store(disk):
    return make_store(str(disk / "root/state"))


def mount(source, target, kind, options=None):
    """mount(2) and not mount(8), which would take a loop device."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = [os.fsencode(one) if one is not None else None for one in (source, target, kind)]
    if libc.mount(*given, MS_RDONLY, options.encode() if options else None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), kind)


@pytest.fixture
def mounted(tmp_path):
    """Where a store's tree is mounted for as long as the test takes."""
    done = []

    def put(store, tree):
        places = [tmp_path / f"{name}-{len(done)}" for name in ("meta", "empty", "merged")]
        for place in places:
            place.mkdir()
        meta, empty, merged = places
        mount(store.image(tree), meta, "erofs")
        done.append(meta)
        lowers = f"lowerdir={meta}:{empty}::{store.objects}"
        mount("overlay", merged, "overlay", f"{lowers},redirect_dir=on,metacopy=on")
        done.append(merged)
        return merged

    yield put
    for place in reversed(done):
        subprocess.run(["umount", place], check=True)


def attributes(path):
    """Of every file below, those that a workload could see."""
    found = {}
    for here, folders, files in os.walk(path):
        for name in [*folders, *files, "."]:
            full = os.path.join(here, name)
            names = os.listxattr(full, follow_symlinks=False)
            found[os.path.relpath(full, path)] = {one: os.getxattr(full, one, follow_symlinks=False) for one in names}
    return found


def test_the_kernel_shows_the_folder_that_was_imported(store, mounted, tmp_path):
    here = folder(tmp_path / "tree")
    os.setxattr(here / "bin/su", "security.capability", CAPABILITY)
    os.setxattr(here / "etc", "user.note", b"\0\xff")
    os.chown(here / "etc/empty", 1234, 70000)
    with (here / "sparse").open("wb") as file:
        file.truncate(20 << 20)
        file.seek(10 << 20)
        file.write(b"middle")
    os.setxattr(here / "etc/passwd", "system.posix_acl_access", ACL)
    seen = mounted(store, take_folder(store, here))
    assert listing(seen) == listing(here)
    assert attributes(seen) == attributes(here)
    assert (seen / "a/b/again").stat().st_ino == (seen / "etc/passwd").stat().st_ino
    assert (seen / "etc/passwd").stat().st_nlink == 2


def test_a_folder_keeps_what_the_kernel_shows_of_an_image(store, tmp_path):
    """Owners, capabilities, ACLs, those for what is made later too, devices; and another owner later is noticed."""
    here = folder(tmp_path / "tree")
    os.setxattr(here / "bin/su", "security.capability", CAPABILITY)
    os.chown(here / "etc/empty", 1234, 70000)
    os.chown(here / "etc/link", 7, 8, follow_symlinks=False)
    os.chown(here / "tmp", 0, 55)
    (here / "tmp").chmod(0o7775)
    os.mknod(here / "a/disk", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    os.setxattr(here / "etc/passwd", "system.posix_acl_access", ACL)
    os.setxattr(here / "a", "system.posix_acl_default", ACL)
    tree = take_folder(store, here, devices=True)
    made = unpack(store, tree)
    assert listing(made) == listing(here)
    assert attributes(made) == attributes(here)
    assert (made / "a/disk").stat().st_rdev == os.makedev(259, 70000)
    assert verify(store, {tree}).damage == ()
    os.chown(made / "etc/link", 8, 8, follow_symlinks=False)
    assert [one.problem for one in verify(store, {tree}).damage] == ["/a/link is not what the tree says"]


def test_permissions_that_an_acl_contradicts_are_refused_and_not_guessed(store):
    kept = {"SCHILY.xattr.system.posix_acl_access": os.fsdecode(ACL)}
    made, data = member("etc/passwd", b"1", mode=0o600, pax_headers=kept)
    tree = take_archive(store, archive((made, data)))
    with pytest.raises(StoreError, match="etc/passwd: the store's file system does not keep its attributes"):
        unpack(store, tree)


def test_the_kernel_shows_what_a_digest_says_even_where_a_name_is_odd(store, mounted):
    names = [bytes([byte]) * 3 for byte in range(1, 256) if byte not in b"/."]
    made = archive(*(member(os.fsdecode(name), name) for name in names), member("big", bytes(3 << 20) + b"end"))
    seen = mounted(store, take_archive(store, made))
    assert sorted(map(os.fsencode, os.listdir(seen))) == sorted([*names, b"big"])
    assert all((seen / os.fsdecode(name)).read_bytes() == name for name in names)
    assert (seen / "big").read_bytes() == bytes(3 << 20) + b"end"


def test_the_kernel_shows_folders_with_many_names(store, mounted):
    made = archive(*(member(f"d/{number:060}", b"%d" % number) for number in range(5000)))
    seen = mounted(store, take_archive(store, made))
    assert len(os.listdir(seen / "d")) == 5000
    for number in (0, 1, 2499, 4998, 4999):
        assert (seen / f"d/{number:060}").read_bytes() == b"%d" % number
    assert not (seen / "d/absent").exists()


def test_the_kernel_shows_devices_that_were_asked_for(store, mounted, tmp_path):
    here = tmp_path / "tree"
    here.mkdir()
    os.mknod(here / "disk", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    os.mknod(here / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    seen = mounted(store, take_folder(store, here, devices=True))
    assert [(seen / name).stat().st_rdev for name in ("disk", "null")] == [os.makedev(259, 70000), os.makedev(1, 3)]
    assert stat.S_ISBLK((seen / "disk").stat().st_mode)


def test_an_object_that_is_gone_is_an_error_and_no_empty_file(store, mounted, tmp_path):
    here = folder(tmp_path / "tree")
    tree = take_folder(store, here)
    os.unlink(store.object(store.tree(tree).children[b"bin"].children[b"su"].digest))
    seen = mounted(store, tree)
    assert (seen / "bin/su").stat().st_size == (here / "bin/su").stat().st_size
    with pytest.raises(FileNotFoundError):
        (seen / "bin/su").read_bytes()
