"""What is written besides reading on: every file gets its digest, failures are told, memory is bounded."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from volt.errors import StoreError
from volt.store import transaction as transactions
from volt.store import writer
from volt.store.transaction import Transaction
from volt.store.tree import Node
from volt.store.verify import verify
from volt.store.writer import Flush, Writer

FEW, MANY = 3, 1000


@pytest.fixture(params=["written at once", "written besides"], autouse=True)
def besides(request, monkeypatch):
    """What these tests write is small; whether another thread writes it."""
    if besides := request.param == "written besides":
        monkeypatch.setattr(writer, "_LARGE", 1)
        monkeypatch.setattr(writer, "_TOGETHER", 10_000)
    return besides


def digest(data):
    return hashlib.sha256(data).hexdigest()


def contents(count):
    return [f"{number}".encode() * 100 for number in range(count)]


def give_all(one, count):
    given = [(Node(stat.S_IFREG), data) for data in contents(count)]
    for node, data in given:
        one.give(node, data)
    return given


def take(store, all_):
    with Transaction(store) as transaction:
        for data in all_:
            transaction.put_later(Node(stat.S_IFREG), data)
        transaction.commit()


@pytest.mark.parametrize("count", [0, FEW, MANY])
def test_every_file_has_the_digest_of_its_content(count):
    one = Writer(digest)
    given = give_all(one, count)
    one.wait()
    assert [node.digest for node, _ in given] == [digest(data) for _, data in given]
    more = give_all(one, FEW)
    one.wait()
    assert more[-1][0].digest == digest(more[-1][1])


@pytest.mark.parametrize("count", [FEW, MANY])
def test_what_cannot_be_written_is_told_and_nothing_after_it_is_written(count):
    written = []

    def full(data):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(data)
        return ""

    def all_of_them(one):
        give_all(one, count)
        one.wait()

    one = Writer(full)
    with pytest.raises(OSError, match="No space left"):
        all_of_them(one)
    one.end()
    assert len(written) == 2


@pytest.mark.parametrize("count", [FEW, MANY])
def test_only_large_contents_that_are_many_are_written_by_another_thread(besides, count):
    threads = set()

    def put(data):
        threads.add(threading.current_thread())
        return digest(data)

    one = Writer(put)
    give_all(one, count)
    one.end()
    assert bool(threads - {threading.current_thread()}) == (besides and count == MANY)


def test_after_one_has_failed_besides_nothing_is_written_any_more(monkeypatch):
    monkeypatch.setattr(writer, "_LARGE", 1000)
    monkeypatch.setattr(writer, "_TOGETHER", 1)
    written = []

    def full(data):
        if len(data) >= 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(data)
        return ""

    one = Writer(full)
    one.give(Node(stat.S_IFREG), bytes(1000))
    one.end()
    with pytest.raises(OSError, match="No space left"):
        one.give(Node(stat.S_IFREG), b"small")
    with pytest.raises(OSError, match="No space left"):
        one.wait()
    assert written == []


def test_what_is_read_ahead_is_bounded():
    given, ahead = [], []

    def slow(data):
        ahead.append(sum(map(len, given)) - sum(map(len, contents(len(ahead)))))
        return digest(data)

    one = Writer(slow)
    for data in contents(MANY):
        given.append(data)
        one.give(Node(stat.S_IFREG), data)
    one.wait()
    assert len(ahead) == MANY
    assert max(ahead) <= (writer._AHEAD + 2) * (writer._TOGETHER + len(contents(MANY)[-1]))


def test_one_content_from_two_sides_at_once_is_one_object(store):
    with Transaction(store) as transaction:
        for data in contents(MANY):
            node = Node(stat.S_IFREG)
            transaction.put_later(node, data)
            assert transaction.put_chunks([data]) == (digest(data), len(data))
        transaction.wait()
        assert transaction.added == sum(map(len, contents(MANY)))
        transaction.commit()
    assert verify(store, set()).objects == MANY


def test_what_two_add_at_once_to_a_store_without_folders_is_there_once(store):
    with Transaction(store) as one:
        for data in contents(MANY):
            one.put_later(Node(stat.S_IFREG), data)
        take(store, contents(MANY))
        one.put(b"more")
        one.commit()
    assert [store.read(digest(data)) for data in contents(MANY)] == contents(MANY)
    found = verify(store, set())
    assert (found.objects, found.damage) == (MANY + 1, ())


HOLE = len(transactions.ZEROS)
HOLES = {
    "nothing else": bytes(4 * HOLE),
    "at the end": b"x" * HOLE + bytes(4 * HOLE),
    "in the middle": b"x" * HOLE + bytes(4 * HOLE) + b"y",
    "in two places": bytes(2 * HOLE) + b"x" * HOLE + bytes(2 * HOLE) + b"y" * 5,
    "not where blocks begin": b"x" + bytes(5 * HOLE) + b"y",
}


@pytest.mark.parametrize("data", HOLES.values(), ids=HOLES)
def test_long_runs_of_zeros_are_holes_and_read_as_zeros(store, data):
    take(store, [data])
    assert store.read(digest(data)) == data
    assert os.stat(store.object(digest(data))).st_blocks * 512 <= len(data) - 3 * HOLE


@pytest.mark.parametrize("data", [b"x\0", b"\0", bytes(HOLE - 1), b"x" * HOLE + bytes(HOLE - 1)])
def test_a_content_that_ends_with_few_zeros_keeps_them(store, data):
    take(store, [data])
    assert store.read(digest(data)) == data


def test_objects_get_their_names_whether_or_not_the_store_has_a_folder_for_them(store):
    for count in (FEW, MANY, 2 * MANY):
        with Transaction(store) as transaction:
            for data in contents(count):
                transaction.put(data)
            transaction.commit()
            transaction.put(b"%d more" % count)
            transaction.commit()
        assert all(store.read(digest(data)) == data for data in contents(count))
    assert list(Path(store.path, "tmp").iterdir()) == []
    assert verify(store, set()).damage == ()


def test_what_a_flush_cannot_write_is_told_to_whoever_waits():
    def fails():
        raise StoreError("the disk is gone")

    one = Flush(fails)
    with pytest.raises(StoreError, match="the disk is gone"):
        one.wait()


def test_what_a_flush_could_not_write_gets_no_name(store, monkeypatch):
    """The kernel tells it once: a second syncfs(2) would succeed."""
    calls = []

    def once(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise StoreError("the disk has failed")

    monkeypatch.setattr(transactions, "_sync", once)
    monkeypatch.setattr(transactions, "_FLUSHED", 1000)
    with pytest.raises(StoreError, match="the disk has failed"):
        take(store, contents(MANY))
    assert verify(store, set()).objects == 0


def test_what_is_synced_is_open_before_anything_is_written(store, monkeypatch):
    """Of what another process has been told a descriptor that is opened later says nothing: errseq_t in Linux."""
    synced = []
    monkeypatch.setattr(transactions, "_sync", synced.append)
    monkeypatch.setattr(transactions, "_FLUSHED", 1)
    with Transaction(store) as transaction:
        ours = f"{store.path}/tmp/"
        (begun,) = (one for one in Path("/proc/self/fd").iterdir() if os.path.realpath(one).startswith(ours))
        transaction.put_tree(Node(0o40755))
        transaction.commit()
        transaction.put(b"more")
        transaction.commit()
    assert {str(one) for one in synced} == {begun.name}
    assert not os.path.lexists(begun) or not os.readlink(begun).startswith(store.path)


def test_where_the_system_has_no_thread_left_all_is_written_all_the_same(store):
    code = THREADLESS.format(many=MANY, large=writer._LARGE)
    words = [sys.executable, "-c", code, os.path.dirname(store.path)]
    done = subprocess.run(words, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("written\n", "")
    assert verify(store, set()).objects == MANY


THREADLESS = """
import stat, sys, threading
from volt.store import transaction as transactions
from volt.store.place import Store
from volt.store.tree import Node
from volt.store import writer
transactions._FLUSHED = 1000
writer._LARGE, writer._TOGETHER = {large}, 10_000
threading.Thread.start = lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
with transactions.Transaction(Store(sys.argv[1] + "/store")) as transaction:
    for number in range({many}):
        transaction.put_later(Node(stat.S_IFREG), b"%d" % number * 100)
    transaction.commit()
print("written")
"""
