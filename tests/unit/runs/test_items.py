"""What comes out of a workload is hostile: what is no item ends the copy, and all is put below its place."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.errors import StateError, VoltError
from volt.model.items import HEAD, HOLE, PIECE, PIECE_LIMIT, TEXT_LIMIT, Item, Kind
from volt.runs import items
from volt.runs.items import Receiver, is_name
from volt.runs.unpacking import Place, Unpacker, leads_out, place

TOP = Item(Kind.ENTER, mode=0o755)
LEAVE = Item(Kind.LEAVE, mode=0o755)
FILE = Item(Kind.FILE, b"x", mode=0o644, size=4).encoded()


def received(stream, where):
    """Puts a stream below `where`; gives what was left out. Raises as a copy does."""
    reader, writer = os.pipe()
    threading.Thread(target=_write, args=(writer, stream)).start()
    left = []
    unpacker = Unpacker(Place(os.open(where, os.O_RDONLY), "", "tree"), lambda *both: left.append(both), owners=False)
    try:
        receiver = Receiver("one", reader, lambda: StateError("it has ended"))
        while (item := receiver.item()).kind != Kind.END:
            unpacker.put(item, receiver, lambda _: None)
    finally:
        unpacker.close()
        os.close(reader)
    return left


def _write(writer, stream):
    try:
        os.write(writer, stream)
    except BrokenPipeError:
        pass
    finally:
        os.close(writer)


def stream_of(*parts):
    return b"".join(part.encoded() if isinstance(part, Item) else part for part in (*parts, Item(Kind.END)))


HOSTILE = {
    "no name": [TOP, Item(Kind.ENTER, b"")],
    "the folder itself": [TOP, Item(Kind.ENTER, b".")],
    "the folder above": [TOP, Item(Kind.ENTER, b"..")],
    "a path": [TOP, Item(Kind.LINK, b"a/b", b"x")],
    "a path from the root": [TOP, Item(Kind.FILE, b"/etc/passwd")],
    "a name with a NUL": [TOP, Item(Kind.FILE, b"a\0b")],
    "a link to nothing": [TOP, Item(Kind.LINK, b"a", b"")],
    "a name for what comes first": [Item(Kind.ENTER, b"other")],
    "a kind that there is not": [TOP, Item(77, b"x")],
    "a name that is too long": [
        TOP,
        HEAD.pack(Kind.ENTER, 0, 0, 0, 0, 0, 0, TEXT_LIMIT + 1, 0) + bytes(TEXT_LIMIT + 1),
    ],
    "a size that is none": [TOP, Item(Kind.FILE, b"x", size=HOLE)],
    "a time that is none": [TOP, Item(Kind.FILE, b"x", nanoseconds=10**9)],
    "a piece beyond the file": [TOP, FILE, PIECE.pack(5) + b"12345"],
    "a piece of nothing": [TOP, FILE, PIECE.pack(0)],
    "a piece that is too long": [TOP, Item(Kind.FILE, b"x", size=1 << 40), PIECE.pack(PIECE_LIMIT + 1)],
    "a hole beyond the file": [TOP, FILE, PIECE.pack(5 | HOLE)],
    "a file beside what comes first": [Item(Kind.FILE), Item(Kind.FILE, b"beside")],
    "a folder beside what comes first": [TOP, LEAVE, Item(Kind.ENTER, b"beside")],
    "a link beside what comes first": [TOP, LEAVE, Item(Kind.LINK, b"beside", b"x")],
    "a folder left too often": [TOP, LEAVE, LEAVE],
    "an end within a file": [TOP, Item(Kind.FILE, b"x", size=400), PIECE.pack(400) + b"12"],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_stream_ends_the_copy_and_leaves_no_file(tmp_path, what):
    with pytest.raises(StateError):
        received(stream_of(*HOSTILE[what]), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["tree"])


@pytest.mark.parametrize(("call", "item"), [("open", FILE), ("symlink", Item(Kind.LINK, b"x", b"y"))])
def test_a_signal_as_soon_as_a_name_is_there_leaves_no_file(tmp_path, monkeypatch, call, item):
    """Before the call that made it has returned."""
    real = getattr(os, call)

    def interrupted(*words, **options):
        made = real(*words, **options)
        if any(".volt-cp" in str(word) for word in words):
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        received(stream_of(TOP, item, PIECE.pack(4) + b"text"), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["tree"]


def test_folders_without_end_are_refused(tmp_path):
    with pytest.raises(StateError, match="deeper"):
        received(stream_of(TOP, *[Item(Kind.ENTER, b"d")] * 300), tmp_path)


def test_what_is_in_the_way_is_left_out_with_all_below_it_and_no_link_is_followed(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree/sub").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/folder").mkdir()
    piece = PIECE.pack(4) + b"text"
    inner = [Item(Kind.ENTER, b"sub"), FILE, piece, Item(Kind.ENTER, b"d"), FILE, piece, LEAVE, LEAVE]
    left = received(stream_of(TOP, *inner, Item(Kind.FILE, b"folder", size=4), piece, FILE, piece, LEAVE), tmp_path)
    assert left == [("tree/sub", "Not a directory"), ("tree/folder", "Is a directory")]
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "tree/x").read_text() == "text"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_put_below(tmp_path_factory, stream):
    where = tmp_path_factory.mktemp("any")
    with suppress(StateError, VoltError):
        received(TOP.encoded() + stream, where)
    assert [path.name for path in where.iterdir()] == ["tree"]


def test_silence_ends_it(monkeypatch):
    monkeypatch.setattr(items, "SILENCE", 0.05)
    reader, writer = os.pipe()
    with pytest.raises(StateError, match="nothing has come"):
        Receiver("one", reader, lambda: StateError("")).item()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("target", "depth", "out"),
    [
        ("file", 0, False),
        ("sub/file", 0, False),
        ("..", 0, True),
        ("..", 1, False),
        ("../..", 1, True),
        ("../../x", 2, False),
        (".././x", 1, False),
        ("/etc", 5, True),
        ("sub/..", 1, True),  # sub may be a link to the top
        ("../sub/../x", 5, True),
        ("a..b/..c", 0, False),
        ("x", -1, True),  # it is itself what is copied: what lies beside it is not
    ],
)
def test_which_links_lead_out(target, depth, out):
    assert leads_out(target, depth) == out


@given(st.binary(min_size=1, max_size=20))
def test_a_name_is_one_component(name):
    parts = os.path.normpath(b"/top/" + name)
    assert not is_name(name) or (parts == b"/top/" + name and os.path.dirname(parts) == b"/top")


def test_places_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for to in (f"{tmp_path}/pipe", f"{tmp_path}/missing/x", f"{tmp_path}/missing/", f"{tmp_path}/.."[:-2] + "x/.."):
        with pytest.raises(VoltError):
            place(to, "one", folder=False)
