"""The store itself: what is named is whole, what is needed stays, what is damaged is found."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.unit.store.pieces import folder, take_folder
from volt.errors import StoreError
from volt.store import locks
from volt.store import usage as usages
from volt.store.collect import collect, leases
from volt.store.place import Store, is_digest, make_store, open_store
from volt.store.transaction import Transaction, write_whole
from volt.store.tree import HEADER, entries
from volt.store.usage import usage
from volt.store.verify import verify


def files(store):
    """What lies in the store, its locks left out."""
    return {path for path in Path(store.path).rglob("*") if path.is_file() and path.name not in ("lock", "gate")}


def test_a_store_is_of_root_alone(store, tmp_path):
    for path in (store.path, f"{store.path}/objects", f"{store.path}/tmp"):
        assert os.stat(path).st_mode & 0o777 == 0o700
    Path(store.path).chmod(0o755)
    for one in (make_store, open_store):
        with pytest.raises(StoreError, match="root's alone"):
            one(str(tmp_path / "root/state"))


def test_there_is_no_store_where_nothing_was_ever_put_into_it(tmp_path):
    assert open_store(str(tmp_path)) is None
    (tmp_path / "store").symlink_to("/")
    with pytest.raises(StoreError):
        open_store(str(tmp_path))


def test_what_was_not_committed_is_gone(store):
    with Transaction(store) as transaction:
        digest = transaction.put(b"some")
        assert not store.has(digest)
    assert files(store) == set()
    assert list(Path(store.path, "tmp").iterdir()) == []


def test_what_is_damaged_is_not_read(store):
    with Transaction(store) as transaction:
        digest = transaction.put(b"some")
        transaction.commit()
    assert store.read(digest) == b"some"
    Path(store.object(digest)).write_bytes(b"same")
    with pytest.raises(StoreError, match="damaged") as refused:
        store.read(digest)
    assert "volt store verify --repair" in refused.value.hint
    with pytest.raises(StoreError, match="not in the store"):
        store.read("0" * 64)


CHILD = """
import sys
from tests.unit.store.pieces import take_folder
from volt.store.place import make_store
take_folder(make_store(sys.argv[1]), sys.argv[2])
"""


def test_an_import_that_is_killed_at_any_moment_leaves_nothing_torn(store, tmp_path):
    here = folder(tmp_path / "tree")
    for number in range(300):
        (here / f"file-{number}").write_text(f"{number}" * 500)
    state = os.path.dirname(store.path)
    words = [sys.executable, "-c", CHILD, state, str(here)]
    whole = time.monotonic()
    subprocess.run(words, check=True, cwd=Path(__file__).parents[3])
    whole = time.monotonic() - whole
    expected = take_folder(store, here)
    collect(store, set)
    assert files(store) == set()
    for attempt in range(8):
        child = subprocess.Popen(words, cwd=Path(__file__).parents[3])
        time.sleep(whole * (0.4 + 0.6 * attempt / 8))
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert verify(store, set()).damage == ()
    assert take_folder(store, here) == expected
    assert verify(store, {expected}).damage == ()
    collect(store, lambda: {expected})
    assert list(Path(store.path, "tmp").iterdir()) == []


def test_two_imports_of_the_same_at_once_both_succeed(store, tmp_path):
    here = folder(tmp_path / "tree")
    words = [sys.executable, "-c", CHILD, os.path.dirname(store.path), str(here)]
    children = [subprocess.Popen(words, cwd=Path(__file__).parents[3]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert verify(store, {take_folder(store, here)}).damage == ()


# ── collecting ──────────────────────────────────────────────────────────────────────────────────


def two(store, tmp_path):
    """Two trees that share all but one file."""
    one = take_folder(store, folder(tmp_path / "one"))
    other = folder(tmp_path / "two")
    (other / "own").write_text("of this alone")
    return one, take_folder(store, other)


def test_what_has_a_name_stays_and_what_has_none_goes(store, tmp_path):
    one, other = two(store, tmp_path)
    before = files(store)
    planned = collect(store, lambda: {one}, dry_run=True)
    assert files(store) == before
    done = collect(store, lambda: {one})
    assert done == planned
    assert done.trees == (other,)
    assert done.objects == 2  # its own file, and the tree itself
    assert done.bytes > 0
    assert verify(store, {one}).damage == ()
    assert not store.has(other)


COLLECT = """
import sys
from volt.store.collect import collect
from volt.store.place import Store
collect(Store(sys.argv[1]), set)
"""


def test_a_tree_has_all_its_objects_whenever_collecting_is_killed(store, tmp_path):
    one, other = two(store, tmp_path)
    calls = len(files(store))
    for number in range(1, calls + 1, 2):
        child = [sys.executable, "-c", COLLECT, store.path]
        inject = ["-e", "trace=unlink,unlinkat", "-e", f"inject=unlink:signal=SIGKILL:when={number}"]
        done = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", *inject, *child], cwd=Path(__file__).parents[3], check=False
        )
        assert done.returncode != 0
        there = {tree for tree in (one, other) if store.has(tree)}
        assert [damage for damage in verify(store, there).damage if damage.kind != "image"] == []
        assert [take_folder(store, tmp_path / name) for name in ("one", "two")] == [one, other]


def lease(store, run, tree):
    """As the static program takes it: a file that is locked."""
    import fcntl

    descriptor = os.open(f"{store.leases}/{run}", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, f"sha256:{tree}\n".encode())
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_what_a_run_uses_stays_as_long_as_the_run_lives(store, tmp_path):
    one, other = two(store, tmp_path)
    held = lease(store, "0123456789ab", other)
    assert list(leases(store)) == [("0123456789ab", other)]
    assert collect(store, lambda: {one}).trees == ()
    os.close(held)
    assert collect(store, lambda: {one}).trees == (other,)
    assert os.listdir(store.leases) == []


def test_a_launch_that_comes_while_leases_are_looked_at_keeps_its_objects(store, tmp_path):
    one, other = two(store, tmp_path)
    held = []

    def named():
        """Asked after the leases: a launch that comes only now still finds its image."""
        if not held:
            assert os.path.exists(store.image(other))
            held.append(lease(store, "0123456789ab", other))
        return {one}

    collect(store, named)
    assert [(each.kind, each.digest) for each in verify(store, {one, other}).damage] == [("image", other)]
    os.close(held[0])


def test_a_launch_that_comes_after_that_finds_no_image(store, tmp_path):
    one, other = two(store, tmp_path)
    asked = []

    def named():
        asked.append(os.path.exists(store.image(other)))
        return {one}

    collect(store, named)
    assert asked == [True, False]  # so whoever takes a lease after the second look fails, and says so


def test_a_run_that_ends_between_the_two_looks_leaves_an_image_with_all_that_it_shows(store, tmp_path):
    one, other = two(store, tmp_path)
    looks = iter([{one, other}])
    collect(store, lambda: next(looks, {one}))
    assert os.path.exists(store.image(other))
    assert verify(store, {one, other}).damage == ()


def test_what_a_tree_that_was_taken_out_has_shown_stays_as_long_as_it_is_needed(store, tmp_path):
    tree = take_folder(store, folder(tmp_path / "tree"))
    shown = store.tree(tree).children[b"bin"].children[b"su"].digest
    os.chmod(store.object(tree), 0o600)
    Path(store.object(tree)).write_bytes(b"x")
    assert [(one.digest, one.mended) for one in verify(store, {tree}, repair=True).damage] == [(tree, True)]
    assert not store.has(tree)
    collect(store, lambda: {tree})
    assert store.has(shown)
    collect(store, set)
    assert not store.has(shown)


def test_a_damaged_tree_stops_collecting_since_nobody_knows_what_it_needs(store, tmp_path):
    one, other = two(store, tmp_path)
    Path(store.object(one)).write_bytes(b"nonsense")
    before = files(store)
    with pytest.raises(StoreError, match="damaged"):
        collect(store, lambda: {one, other})
    assert files(store) == before


def waits(store):
    """Whether a collector has the gate."""
    try:
        with locks.adding(store.path, seconds=0.1):
            return False
    except StoreError as error:
        return "unused objects" in error.message


def test_nothing_is_collected_while_something_is_added_and_importers_cannot_keep_a_collector_out(store):
    with Transaction(store) as transaction:
        digest = transaction.put(b"some")
        transaction.commit()
        with pytest.raises(StoreError, match="an image is being imported"), locks.collecting(store.path, seconds=0.1):
            pass
        waiting = threading.Thread(target=lambda: collect(store, set))
        waiting.start()
        deadline = time.monotonic() + 20
        while not waits(store):
            assert time.monotonic() < deadline, "the gate is not the collector's"
            time.sleep(0.02)
        assert store.has(digest)
    waiting.join(10)
    assert not store.has(digest)


# ── verify and usage ────────────────────────────────────────────────────────────────────────────


def test_every_bit_that_flips_is_found_and_named(store, tmp_path):
    tree = take_folder(store, folder(tmp_path / "tree"))
    everything = sorted(files(store))
    assert verify(store, {tree}).damage == ()
    for path in everything:
        good = path.read_bytes()
        path.chmod(0o600)
        for at in {0, len(good) // 2, len(good) - 1}:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            damaged = {one.digest for one in verify(store, {tree}).damage}
            name = path.stem if path.suffix == ".erofs" else path.parent.name + path.name
            assert is_digest(name)
            assert name in damaged
        path.write_bytes(good)
    assert verify(store, {tree}).damage == ()


def test_what_is_missing_is_found_and_an_image_is_made_again(store, tmp_path):
    here = folder(tmp_path / "tree")
    tree = take_folder(store, here)
    os.unlink(store.image(tree))
    assert [one.kind for one in verify(store, {tree}).damage] == ["image"]
    assert [one.mended for one in verify(store, {tree}, repair=True).damage] == [True]
    digest = store.tree(tree).children[b"bin"].children[b"su"].digest
    os.chmod(store.object(digest), 0o600)
    Path(store.object(digest)).write_bytes(b"x")
    assert [(one.digest, one.mended) for one in verify(store, {tree}, repair=True).damage] == [(digest, True)]
    assert "missing" in verify(store, {tree}).damage[0].problem
    assert take_folder(store, here) == tree  # and what was taken out comes back
    assert verify(store, {tree}).damage == ()


def unreadable(path):
    """Have read(2) of this file answer EIO, as of a bad block: nothing is mapped at 0."""
    os.unlink(path)
    os.symlink("/proc/self/mem", path)


def test_what_the_disk_does_not_give_back_is_damage_as_any_other(store, tmp_path):
    here = folder(tmp_path / "tree")
    tree = take_folder(store, here)
    lost = sorted(node.digest for _, node in entries(store.tree(tree)) if node.digest)
    other = lost.pop()
    unreadable(store.object(lost[0]))
    os.chmod(store.object(other), 0o600)
    Path(store.object(other)).write_bytes(b"x")
    unreadable(store.image(tree))
    wanted = [("object", lost[0]), ("object", other), ("image", tree)]
    found = verify(store, {tree}).damage
    assert [(one.kind, one.digest) for one in found] == wanted
    assert [one.problem for one in found[::2]] == ["it cannot be read: Input/output error"] * 2
    assert [one.mended for one in verify(store, {tree}, repair=True).damage] == [True] * 3
    assert not store.has(lost[0])
    assert take_folder(store, here) == tree
    assert verify(store, {tree}).damage == ()
    unreadable(store.object(tree))
    assert [(one.digest, one.mended) for one in verify(store, {tree}, repair=True).damage] == [(tree, True)]
    assert not store.has(tree)


def test_a_tree_that_the_disk_gives_back_no_longer_is_named(store, tmp_path, monkeypatch):
    tree = take_folder(store, folder(tmp_path / "tree"))

    def fails(number, *_):
        os.close(number)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("volt.store.place.os.fdopen", fails)
    found = [(one.kind, one.problem) for one in verify(store, {tree}).damage]
    assert found == [("tree", f"sha256:{tree} cannot be read: Input/output error")]


def test_that_too_much_is_open_is_no_damage(store, tmp_path, monkeypatch):
    tree = take_folder(store, folder(tmp_path / "tree"))

    def fails(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("volt.store.verify.open", fails, raising=False)
    with pytest.raises(OSError, match="open files"):
        verify(store, {tree}, repair=True)
    assert store.has(tree)


def test_importing_the_same_again_mends_its_tree(store, tmp_path):
    here = folder(tmp_path / "tree")
    tree = take_folder(store, here)
    os.chmod(store.object(tree), 0o600)
    Path(store.object(tree)).write_bytes(b"x")
    assert take_folder(store, here) == tree
    assert verify(store, {tree}).damage == ()
    assert os.listdir(f"{store.path}/tmp") == []


def test_nothing_is_taken_out_while_something_is_added(store, tmp_path, monkeypatch):
    """An import counts on what it has seen."""
    monkeypatch.setattr("volt.store.verify.collecting", partial(locks.collecting, seconds=0.2))
    tree = take_folder(store, folder(tmp_path / "tree"))
    digest = store.tree(tree).children[b"bin"].children[b"su"].digest
    os.chmod(store.object(digest), 0o600)
    Path(store.object(digest)).write_bytes(b"x")
    with locks.adding(store.path), pytest.raises(StoreError):
        verify(store, {tree}, repair=True)
    assert store.has(digest)
    assert [one.mended for one in verify(store, {tree}, repair=True).damage] == [True]


def test_a_file_that_looks_like_a_tree_is_a_file(store, tmp_path):
    here = folder(tmp_path / "tree")
    (here / "odd").write_text(f"{HEADER}\nnonsense\n")
    (here / "lies").write_text(f'{HEADER}\n["","40755",0,0,0]\n["a","100644",0,0,0,5,"{"ab" * 32}"]\n')
    tree = take_folder(store, here)
    assert verify(store, {tree}).damage == ()
    assert collect(store, lambda: {tree}).objects == 0


@pytest.mark.parametrize("listed", ["object_digests", "image_digests", "unpacked_digests"])
def test_what_a_collector_takes_out_meanwhile_takes_nothing(store, tmp_path, monkeypatch, listed):
    one, other = two(store, tmp_path)
    with Transaction(store) as transaction:
        transaction.put_unpacked(other, store.tree(other))
        transaction.commit()
    names = getattr(usages, listed)

    def then_collects(store):
        found = list(names(store))
        collect(store, lambda: {one})
        return found

    monkeypatch.setattr(usages, listed, then_collects)
    found = usage(store, {one, other}, {one})
    monkeypatch.undo()
    now = usage(store, {one}, {one})
    assert found.unpacked == 0
    assert (found.images if listed == "image_digests" else now.images) == now.images
    assert [each.tree for each in found.trees] == sorted((one, other))


def test_a_tree_that_goes_while_it_is_looked_at_takes_nothing(store, tmp_path, monkeypatch):
    tree = take_folder(store, folder(tmp_path / "tree"))

    read = Store.read

    def goes(here, digest):
        os.unlink(store.object(digest))
        return read(here, digest)

    monkeypatch.setattr(Store, "read", goes)
    (found,) = usage(store, {tree}, {tree}).trees
    assert found.tree == tree


def test_usage_tells_what_trees_share(store, tmp_path):
    one, other = two(store, tmp_path)
    found = usage(store, {one, other}, {one})
    sizes = {each.tree: each for each in found.trees}
    assert sizes[other].own < sizes[other].bytes
    assert found.bytes == sizes[one].bytes + sizes[other].own
    assert found.unused == sizes[other].own
    assert found.free > 0


def test_a_file_is_replaced_whole(tmp_path):
    write_whole(str(tmp_path / "a"), b"one")
    write_whole(str(tmp_path / "a"), b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]
