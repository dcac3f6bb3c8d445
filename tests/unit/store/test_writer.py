"""What is written besides reading on: every file gets its digest, failures are told, memory is bounded."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
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


def test_what_is_read_ahead_is_bounded():
    given, ahead = [], []

    def slow(data):
        ahead.append(len(given) - len(ahead))
        return digest(data)

    one = Writer(slow)
    for data in contents(MANY):
        given.append(data)
        one.give(Node(stat.S_IFREG), data)
    one.wait()
    assert len(ahead) == MANY
    assert max(ahead) <= (writer._AHEAD + 2) * writer._MANY


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

    def once(path):
        calls.append(path)
        if len(calls) == 1:
            raise StoreError("the disk has failed")

    monkeypatch.setattr(transactions, "_sync", once)
    monkeypatch.setattr(transactions, "_FLUSHED", 1000)
    with pytest.raises(StoreError, match="the disk has failed"):
        take(store, contents(MANY))
    assert verify(store, set()).objects == 0


def test_where_the_system_has_no_thread_left_all_is_written_all_the_same(store):
    code = THREADLESS.format(many=MANY)
    words = [sys.executable, "-c", code, os.path.dirname(store.path)]
    done = subprocess.run(words, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("written\n", "")
    assert verify(store, set()).objects == MANY


THREADLESS = """
import stat, sys, threading
from volt.store import transaction as transactions
from volt.store.place import Store
from volt.store.tree import Node
transactions._FLUSHED = 1000
threading.Thread.start = lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
with transactions.Transaction(Store(sys.argv[1] + "/store")) as transaction:
    for number in range({many}):
        transaction.put_later(Node(stat.S_IFREG), b"%d" % number * 100)
    transaction.commit()
print("written")
"""
