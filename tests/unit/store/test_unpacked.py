"""Trees unpacked as folders: they are the tree, whoever holds one keeps it, and what is torn or damaged has no name."""

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.store.pieces import archive, folder, listing, member, take_archive, take_folder
from tests.unit.store.test_store import COLLECT, lease, two
from volt.api import pinning
from volt.errors import StoreError
from volt.store import checkout
from volt.store.collect import collect
from volt.store.transaction import Transaction
from volt.store.unpacked import set_aside, unpacked_digests
from volt.store.usage import usage
from volt.store.verify import verify


def unpack(store, digest):
    """Where the tree lies as a folder."""
    with Transaction(store) as transaction:
        transaction.put_unpacked(digest, store.tree(digest))
        transaction.commit()
    return Path(store.unpacked(digest))


def damage(store, digest, **options):
    return [(one.kind, one.problem, one.mended) for one in verify(store, {digest}, **options).damage]


def test_a_folder_is_what_the_tree_says(store, tmp_path):
    here = folder(tmp_path / "tree")
    with (here / "sparse").open("wb") as file:
        file.truncate(20 << 20)
        file.seek(10 << 20)
        file.write(b"middle")
    tree = take_folder(store, here)
    made = unpack(store, tree)
    assert listing(made) == listing(here)
    assert (made / "a/b/again").samefile(made / "etc/passwd")
    assert (made / "a/link").lstat().st_ino == (made / "etc/link").lstat().st_ino
    assert (made / "sparse").stat().st_blocks < 1 << 10
    assert take_folder(store, made) == tree
    assert (os.listdir(f"{store.path}/tmp"), damage(store, tree)) == ([], [])


def test_names_of_strangers_lead_nowhere(store, tmp_path):
    """A name that is below a link in one archive and a folder in another is below what the tree says it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    deep = "/".join(["d" * 200] * 60)
    made = archive(member("a", kind=b"2", linkname=str(outside)), member("b/..c", b"1"), member(f"{deep}/e", b"2"))
    tree = take_archive(store, made)
    there = unpack(store, tree)
    assert (os.listdir(outside), os.readlink(there / "a"), (there / "b/..c").read_bytes()) == ([], str(outside), b"1")
    assert damage(store, tree) == []
    taken = usage(store, {tree}, set())
    assert collect(store, set).bytes >= taken.unpacked > 60 * 512, "deeper than a path can be long"
    assert list(unpacked_digests(store)) == []


def test_launches_at_once_write_one_copy(store, tmp_path, monkeypatch):
    tree = take_folder(store, folder(tmp_path / "tree"))
    written, write = [], checkout.write_folder

    def slow(root, path, opened):
        written.append(path)
        time.sleep(0.3)  # the others are here by then, or wait
        write(root, path, opened)

    monkeypatch.setattr(checkout, "write_folder", slow)
    with ThreadPoolExecutor(4) as launches:
        assert set(launches.map(lambda _: pinning._make(store, tree, unpacked=True), range(4))) == {""}
    assert (len(written), list(unpacked_digests(store))) == (1, [tree])


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_tree_that_lacks_its_content_gets_no_folder(store, tmp_path, content):
    tree = take_folder(store, folder(tmp_path / "tree"))
    lost = Path(store.object(store.tree(tree).children[b"bin"].children[b"su"].digest))
    lost.unlink()
    if content:
        lost.write_bytes(content)
    with pytest.raises(StoreError, match="bin/su: its content is"):
        unpack(store, tree)
    assert (list(unpacked_digests(store)), os.listdir(f"{store.path}/tmp")) == ([], [])


def test_what_the_file_system_does_not_keep_is_refused_by_name(store):
    tree = take_archive(store, archive(member("early", b"1", mtime=-(2**39))))
    with pytest.raises(StoreError, match="early: the store's file system does not keep its time"):
        unpack(store, tree)


def test_two_that_unpack_the_same_at_once_both_have_it(store, tmp_path):
    tree = take_folder(store, folder(tmp_path / "tree"))
    with Transaction(store) as slower:
        slower.put_unpacked(tree, store.tree(tree))
        inode = unpack(store, tree).stat().st_ino
        slower.commit()
    assert Path(store.unpacked(tree)).stat().st_ino == inode
    assert os.listdir(f"{store.path}/tmp") == []


# ── who holds it ────────────────────────────────────────────────────────────────────────────────


def test_a_folder_stays_as_long_as_its_tree_and_counts_as_space(store, tmp_path):
    one, other = two(store, tmp_path)
    kept, gone = unpack(store, one), unpack(store, other)
    taken = usage(store, {one}, {one}).unpacked
    planned = collect(store, lambda: {one}, dry_run=True)
    assert gone.exists()
    assert collect(store, lambda: {one}) == planned
    assert (kept.exists(), gone.exists()) == (True, False)
    assert planned.bytes > taken - usage(store, {one}, {one}).unpacked > 0
    assert os.listdir(store.unpacked("")) == [one]


def test_where_images_are_mounted_a_folder_stays_only_for_the_run_that_holds_it(store, tmp_path):
    """As after a newer kernel was booted."""
    one, other = two(store, tmp_path)
    for tree in (one, other):
        unpack(store, tree)
    held = lease(store, "0123456789ab", one)
    assert collect(store, lambda: {one, other}, unpacked=False).bytes > 0
    assert list(unpacked_digests(store)) == [one]
    os.close(held)
    assert verify(store, {one, other}).damage == ()


def test_a_launch_that_comes_while_leases_are_looked_at_keeps_its_folder(store, tmp_path):
    one, other = two(store, tmp_path)
    inode, held = unpack(store, other).stat().st_ino, []

    def named():
        if not held:  # the launch opens the folder now
            held.append((os.open(store.unpacked(other), os.O_PATH), lease(store, "0123456789ab", other)))
        return {one}

    collect(store, named)
    assert Path(store.unpacked(other)).stat().st_ino == inode
    assert (Path(f"/proc/self/fd/{held[0][0]}") / "own").read_text() == "of this alone"
    for descriptor in held[0]:
        os.close(descriptor)
    collect(store, lambda: {one})
    assert list(unpacked_digests(store)) == []


def test_a_launch_that_comes_after_that_finds_no_folder(store, tmp_path):
    one, other = two(store, tmp_path)
    unpack(store, other)
    asked = []

    def named():
        asked.append(os.path.exists(store.unpacked(other)))
        return {one}

    collect(store, named)
    assert asked == [True, False]


def test_a_folder_that_a_killed_collector_set_aside_comes_back_to_the_run_that_holds_it(store, tmp_path):
    one, other = two(store, tmp_path)
    inode = unpack(store, one).stat().st_ino
    unpack(store, other)
    set_aside(store, (one, other))
    held = lease(store, "0123456789ab", one)
    collect(store, lambda: {one, other})
    assert list(unpacked_digests(store)) == [one]
    assert Path(store.unpacked(one)).stat().st_ino == inode
    os.close(held)


def test_what_a_killed_collector_set_aside_is_in_no_ones_way(store, tmp_path):
    tree = take_folder(store, folder(tmp_path / "tree"))
    unpack(store, tree)
    set_aside(store, (tree,))
    (unpack(store, tree) / "etc").chmod(0o777)
    assert [mended for _, _, mended in damage(store, tree, repair=True)] == [True]
    assert (os.listdir(store.unpacked("")), os.listdir(f"{store.path}/tmp")) == ([], [])


def test_of_a_folder_that_a_killed_collector_was_removing_no_part_ever_comes_back(store, tmp_path):
    tree, top = take_folder(store, folder(tmp_path / "one")), Path(__file__).parents[3]
    for call, number in (("rename", 1), ("rename", 2), ("rmdir", 1), ("unlinkat", 3)):
        unpack(store, tree)
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        child = [sys.executable, "-c", COLLECT, store.path]
        done = subprocess.run(["strace", "-qq", "-o", "/dev/null", *inject, *child], cwd=top, check=False)
        assert done.returncode != 0
        take_folder(store, tmp_path / "one")
        held = lease(store, "0123456789ab", tree)
        collect(store, set)
        os.close(held)
        assert damage(store, tree) == []
        assert os.listdir(f"{store.path}/tmp") == []


# ── verify ──────────────────────────────────────────────────────────────────────────────────────

CHANGED = {
    "content": lambda path: (path / "bin/su").write_bytes(b"another"),
    "permissions": lambda path: (path / "etc").chmod(0o777),
    "time": lambda path: os.utime(path / "etc/empty", (1, 1)),
    "attribute": lambda path: os.setxattr(path / "bin/su", "user.note", b""),
    "less": lambda path: (path / "a/pipe").unlink(),
    "more": lambda path: (path / "a/new").mkdir(),
    "link": lambda path: ((path / "a/b/again").unlink(), (path / "a/b/again").write_bytes(b"")),
}


def test_a_folder_that_the_disk_does_not_give_back_is_taken_out(store, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    tree = take_folder(store, folder(tmp_path / "tree"))
    unpack(store, tree)
    monkeypatch.setattr("volt.store.verify.unpacked_problem", fails)
    assert damage(store, tree, repair=True) == [("folder", "it cannot be read: Input/output error", True)]
    assert damage(store, tree) == []


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_folder_that_was_changed_is_found_and_taken_out_unless_a_run_holds_it(store, tmp_path, change):
    tree = take_folder(store, folder(tmp_path / "tree"))
    change(unpack(store, tree))
    ((kind, problem, mended),) = damage(store, tree)
    assert (kind, mended) == ("folder", False)
    held = lease(store, "0123456789ab", tree)
    assert damage(store, tree, repair=True) == [
        ("folder", f"{problem}; a run has it as its root: end that, and mend it then", False)
    ]
    os.close(held)
    assert [mended for _, _, mended in damage(store, tree, repair=True)] == [True]
    assert list(unpacked_digests(store)) == []
    unpack(store, tree)
    assert damage(store, tree) == []
