"""Copying in a session, under the sanitizers: items become files and files items; damaged ones leave nothing."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

from tests.unit.native.test_session import Command, asleep, session
from volt.errors import StateError
from volt.model.asked import Asked
from volt.model.items import DEEPEST, HEAD, HOLE, PIECE, PIECE_LIMIT, TEXT_LIMIT, Item, Kind, Why
from volt.model.protocol import SESSION_COPY, Frame
from volt.runs.items import Receiver

END = Item(Kind.END).encoded()
TREE = Item(Kind.ENTER, mode=0o755)
LEFT = Item(Kind.LEAVE, mode=0o755)


@contextmanager
def copying(init, *words):
    """A session that copies: where its stream goes, and what receives from it."""
    (given, taking), (coming, answering) = os.pipe(), os.pipe()
    with (
        session(init, SESSION_COPY) as asked,
        os.fdopen(taking, "wb", buffering=0) as stream,
        os.fdopen(coming) as back,
    ):
        command = Command(asked.own, None)
        assert command.answer() == (0, 1)
        command.execute(Asked(words), descriptors=[given, answering, os.dup(answering)])
        assert command.frame()[0] == Frame.STARTED
        yield stream, Receiver("one", back.fileno(), lambda: StateError("it has ended"))


def unpacked(init, to, *parts, switches=""):
    """What is told of a stream that goes in, each with its reason; "lost" where it ends without a word."""
    with copying(init, "in", str(to), "", switches) as (stream, receiver):
        try:
            for part in parts:
                stream.write(part.encoded() if isinstance(part, Item) else part)
            stream.close()
        except BrokenPipeError:
            pass
        told = []
        while True:
            try:
                item = receiver.item()
            except StateError:
                return [*told, "lost"]
            if item.kind == Kind.END:
                return told
            told.append((Kind(item.kind).name, item.size, item.mode))


def file_of(data, name=b"", **more):
    pieces = PIECE.pack(len(data)) + data if data else b""
    return Item(Kind.FILE, name, mode=0o640, size=len(data), **more).encoded() + pieces


def packed(init, path, switches=""):
    """The items that come out, of files with their content."""
    found = []
    with copying(init, "out", str(path), "", switches) as (_, receiver):
        while (item := receiver.item()).kind not in (Kind.END, Kind.FAILED):
            content = b""
            if item.kind == Kind.FILE:
                content = b"".join(bytes(one) if isinstance(one, int) else one for one in receiver.pieces(item.size))
            found.append((Kind(item.kind).name, item.name, item.text or content))
        return found if item.kind == Kind.END else item.mode


def test_what_goes_in_comes_out(units, tmp_path):
    big = bytes(range(256)) * (PIECE_LIMIT // 256)
    holed = Item(Kind.FILE, b"holed", mode=0o600, size=PIECE_LIMIT * 3 + 1).encoded()
    holed += PIECE.pack(PIECE_LIMIT * 2 | HOLE) + PIECE.pack(PIECE_LIMIT) + big + PIECE.pack(1) + b"x"
    parts = [
        TREE,
        file_of(b"text", b"one"),
        holed,
        Item(Kind.ENTER, b"sub"),
        Item(Kind.LINK, b"l", b"../one"),
        LEFT,
        LEFT,
    ]
    with asleep(units) as init:
        assert unpacked(init, tmp_path / "tree", *parts, END) == []
        assert (tmp_path / "tree/one").stat().st_mode & 0o7777 == 0o640
        found = packed(init, tmp_path / "tree")
    assert found[0] == ("TOTAL", b"", b"")
    assert found[1] == ("ENTER", b"", b"")
    assert found[-1] == ("LEAVE", b"", b"")
    assert {one for one in found if one[0] in ("FILE", "LINK")} == {
        ("FILE", b"one", b"text"),
        ("FILE", b"holed", bytes(PIECE_LIMIT * 2) + big + b"x"),
        ("LINK", b"l", b"../one"),
    }


DAMAGED = {
    "nothing": [],
    "an end alone": [END],
    "a head cut off": [TREE, b"\1\0\0"],
    "a kind that there is not": [TREE, Item(99, b"x"), LEFT, END],
    "a name that is too long": [
        TREE,
        HEAD.pack(Kind.ENTER, 0, 0, 0, 0, 0, 0, TEXT_LIMIT + 1, 0) + bytes(TEXT_LIMIT + 1),
    ],
    "a name with a NUL": [TREE, Item(Kind.ENTER, b"a\0b"), LEFT, END],
    "a folder left that was not entered": [TREE, LEFT, LEFT, LEFT, END],
    "a piece beyond the file": [TREE, Item(Kind.FILE, b"x", size=3).encoded() + PIECE.pack(4) + b"four", LEFT, END],
    "a piece of nothing": [TREE, Item(Kind.FILE, b"x", size=3).encoded() + PIECE.pack(0), LEFT, END],
    "a hole beyond the file": [TREE, Item(Kind.FILE, b"x", size=3).encoded() + PIECE.pack(4 | HOLE), LEFT, END],
    "a piece that is too long": [TREE, Item(Kind.FILE, b"x", size=HOLE - 1).encoded() + PIECE.pack(PIECE_LIMIT + 1)],
    "a file cut off": [TREE, Item(Kind.FILE, b"x", size=3).encoded() + PIECE.pack(2) + b"tw"],
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_stream_ends_the_copy_and_leaves_no_file(units, tmp_path, what):
    with asleep(units) as init:
        assert unpacked(init, tmp_path / "tree", *DAMAGED[what]) == ["lost"]
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["tree"])


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"/a", b""])
def test_a_name_that_is_no_name_is_refused(units, tmp_path, name):
    with asleep(units) as init:
        for part in (Item(Kind.ENTER, name), file_of(b"x", name), Item(Kind.LINK, name, b"x")):
            (told, *_) = unpacked(init, tmp_path / "tree", TREE, part, LEFT, END)
            assert told[:1] == ("FAILED",)
    assert [path.name for path in tmp_path.rglob("*")] == ["tree"]


def test_no_link_is_followed_below_the_top(units, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree/sub").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/one").symlink_to(tmp_path / "outside/one")
    parts = [
        Item(Kind.ENTER, b"sub"),
        file_of(b"x", b"in"),
        Item(Kind.ENTER, b"deep"),
        LEFT,
        LEFT,
        file_of(b"y", b"one"),
    ]
    with asleep(units) as init:
        told = unpacked(init, tmp_path / "tree", TREE, *parts, LEFT, END)
    assert [one[:2] for one in told] == [("PROBLEM", Why.ERROR)]
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "tree/one").read_text() == "y"


def test_another_name_is_given_below_the_top_alone(units, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/one").write_text("outside")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/out").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/abs").symlink_to(tmp_path / "outside/one")
    good = [file_of(b"x", b"one"), Item(Kind.ENTER, b"sub"), Item(Kind.LINKED, b"two", b"one")]
    bad = [
        Item(Kind.LINKED, b"bad", to) for to in (b"../outside/one", b"out/one", b"sub/../../outside/one", b"", b"no")
    ]
    again = Item(Kind.LINKED, b"two", b"sub/two")
    with asleep(units) as init:
        told = unpacked(init, tmp_path / "tree", TREE, *good, again, *bad, LEFT, LEFT, END)
    assert [one[:2] for one in told] == [("PROBLEM", Why.ERROR)] * len(bad)
    assert sorted(path.name for path in (tmp_path / "tree/sub").iterdir()) == ["two"]
    assert (tmp_path / "tree/sub/two").samefile(tmp_path / "tree/one")


def test_folders_that_lie_too_deep_are_left_out_both_ways(units, tmp_path):
    deep = DEEPEST + 10
    parts = [Item(Kind.ENTER, b"d", mode=0o755), file_of(b"x", b"f")] * deep
    with asleep(units) as init:
        told = unpacked(init, tmp_path / "tree", TREE, *parts, *[LEFT] * deep, LEFT, END)
        assert [one[1] for one in told] == [Why.DEEP]
        assert len(list(tmp_path.rglob("f"))) == DEEPEST
        path = tmp_path / "tree"
        for _ in range(deep):
            path /= "d"
            path.mkdir(exist_ok=True)
        found = packed(init, tmp_path / "tree")
    assert [one[0] for one in found].count("PROBLEM") == 1
    assert [one[0] for one in found].count("ENTER") == [one[0] for one in found].count("LEAVE") == DEEPEST + 1


def test_words_that_mean_nothing_end_it(units, tmp_path):
    with asleep(units) as init:
        assert packed(init, tmp_path / "nowhere") == 2
        with copying(init, "out", "/") as (_, receiver), pytest.raises(StateError):
            receiver.item()
