"""Reading a log: its files in order, across rotation, cut off at its end, the last lines of it, while it grows."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.model.log import LogPiece
from volt.runs import log_files
from volt.runs.log_files import LOST, LogFiles
from volt.runs.logs import Log, Wanted


def stamp(number=0):
    return f"2026-11-24T20:46:{number:02}.123456789Z"


def line(text, stream="stdout", tag="F", at=0):
    return f"{stamp(at)} {stream} {tag} ".encode() + text + b"\n"


class Writer:
    """A log as volt's writer makes one."""

    def __init__(self, folder, files=3):
        self.folder, self.files = folder, files

    def write(self, data):
        with (self.folder / "0.log").open("ab", buffering=0) as file:
            file.write(data)

    def rotate(self):
        for number in reversed(range(self.files - 1)):
            if (self.folder / f"{number}.log").exists():
                (self.folder / f"{number}.log").rename(self.folder / f"{number + 1}.log")
        self.write(b"")


@pytest.fixture
def writer(tmp_path):
    return Writer(tmp_path)


def copied(folder, wait=None, **wanted):
    out, err = io.BytesIO(), io.BytesIO()
    log = Log(LogFiles(str(folder)), Wanted(**wanted), wait)
    log.copy(out, err)
    return out.getvalue(), err.getvalue()


def shown(folder, **wanted):
    return copied(folder, **wanted)[0]


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_rotated_files_come_before_the_one_that_is_written_to(writer):
    for number in range(3):
        writer.rotate()
        writer.write(line(b"%d" % number))
    assert shown(writer.folder) == b"0\n1\n2\n"


def test_a_file_that_was_cut_off_does_not_swallow_the_next(writer):
    writer.write(line(b"whole") + line(b"cut")[:-2])
    writer.rotate()
    writer.write(line(b"next"))
    assert shown(writer.folder) == b"whole\ncunext\n"


def test_a_torn_end_is_shown_as_far_as_it_was_written(writer):
    writer.write(line(b"whole") + line(b"torn")[:-3])
    assert shown(writer.folder) == b"whole\nto"


def test_damaged_lines_are_counted(writer):
    writer.write(line(b"a") + b"\0\0\n" + line(b"b"))
    log = Log(LogFiles(str(writer.folder)), Wanted())
    assert [piece.text for piece in log] == [b"a", b"b"]
    assert log.damaged == 1


def test_a_link_in_the_place_of_a_file_is_not_followed(writer, tmp_path):
    writer.write(line(b"a"))
    (tmp_path / "1.log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        LogFiles(str(tmp_path))


def test_a_piece_says_what_it_belongs_to(writer):
    writer.write(line(b"ab", tag="P") + line(b"x", "stderr", at=1) + line(b"c"))
    assert list(Log(LogFiles(str(writer.folder)), Wanted())) == [
        LogPiece(stamp(), "stdout", b"ab", whole=False, begins=True),
        LogPiece(stamp(1), "stderr", b"x", whole=True, begins=True),
        LogPiece(stamp(), "stdout", b"c", whole=True, begins=False),
    ]


def test_nothing_stays_open(writer):
    writer.write(line(b"a"))
    writer.rotate()
    writer.write(line(b"b"))
    before = open_descriptors()
    shown(writer.folder)
    shown(writer.folder, last=1)
    for _ in Log(LogFiles(str(writer.folder)), Wanted()):
        break
    assert open_descriptors() == before


# ── which lines


@pytest.mark.parametrize(("last", "expected"), [(0, b""), (1, b"4\n"), (3, b"2\n3\n4\n"), (99, b"0\n1\n2\n3\n4\n")])
def test_the_last_lines(writer, last, expected):
    for number in range(5):
        writer.write(line(b"%d" % number))
        if number == 2:
            writer.rotate()
    assert shown(writer.folder, last=last) == expected


def test_a_line_in_pieces_counts_once_and_comes_whole(writer):
    writer.write(line(b"first") + line(b"a", tag="P") + line(b"e", "stderr") + line(b"b", tag="P") + line(b"c"))
    assert copied(writer.folder, last=2) == (b"abc\n", b"e\n")


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@given(writes=st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=60)), max_size=20))
def test_the_last_lines_are_the_same_however_they_are_read(tmp_path_factory, block, writes):
    """Whole lines of any text; read backwards in blocks of any size."""
    folder = tmp_path_factory.mktemp("log")
    texts = [(stream, text.replace(b"\n", b"")) for stream, text in writes]
    (folder / "0.log").write_bytes(b"".join(line(text, stream) for stream, text in texts))
    log_files.BLOCK, before = block, log_files.BLOCK
    try:
        found = [(piece.stream, piece.text) for piece in Log(LogFiles(str(folder)), Wanted(last=3))]
    finally:
        log_files.BLOCK = before
    assert found == texts[-3:]


def test_times_are_bounds_and_hold_for_whole_lines(writer):
    writer.write(b"".join(line(b"%d" % at, at=at) for at in range(5)))
    writer.write(line(b"begun", tag="P", at=5) + line(b"ended", at=9))
    assert shown(writer.folder, since=stamp(3), until=stamp(4)) == b"3\n4\n"
    assert shown(writer.folder, since=stamp(5)) == b"begunended\n"
    assert shown(writer.folder, since=stamp(6)) == b""


def test_one_stream_alone(writer):
    writer.write(line(b"out") + line(b"err", "stderr"))
    assert copied(writer.folder, streams=("stderr",)) == (b"", b"err\n")
    assert copied(writer.folder, streams=("stdout",), last=5) == (b"out\n", b"")


@pytest.mark.parametrize("wanted", [{}, {"last": 9}, {"streams": ("stdout",)}])
def test_what_was_discarded_is_told_in_any_case(writer, wanted):
    writer.write(line(b"a") + line(b"12 bytes discarded: log.rate", "volt") + line(b"b"))
    assert copied(writer.folder, **wanted) == (b"a\nb\n", b"volt: 12 bytes discarded: log.rate\n")


# ── while it grows


class Steps:
    """What happens while nothing is new, one thing after another; then the run has ended."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, _fresh):
        if self.steps:
            self.steps.pop(0)()
        return bool(self.steps)

    def close(self):
        pass


def test_what_is_written_meanwhile_comes_too_up_to_the_end(writer):
    writer.write(line(b"a"))
    steps = Steps(
        lambda: writer.write(line(b"b")[:-5]),
        lambda: writer.write(line(b"b")[-5:]),
        lambda: writer.write(line(b"at the end")),
    )
    assert copied(writer.folder, steps) == (b"a\nb\nat the end\n", b"")


def rotate_with(writer, text):
    writer.write(line(text + b" before"))
    writer.rotate()
    writer.write(line(text + b" after"))


def test_it_is_followed_across_rotation(writer):
    writer.write(line(b"a"))
    steps = Steps(*(lambda n=n: rotate_with(writer, b"%d" % n) for n in range(5)))
    expected = b"a\n" + b"".join(b"%d before\n%d after\n" % (n, n) for n in range(5))
    assert copied(writer.folder, steps) == (expected, b"")


def test_two_rotations_between_two_looks_lose_nothing(writer):
    writer.write(line(b"a"))
    steps = Steps(lambda: [rotate_with(writer, b"1"), rotate_with(writer, b"2")])
    assert copied(writer.folder, steps)[0] == b"a\n1 before\n1 after\n2 before\n2 after\n"


def test_a_rotation_that_is_halfway_is_waited_for(writer):
    writer.write(line(b"a"))
    steps = Steps(
        lambda: (writer.folder / "0.log").rename(writer.folder / "1.log"),
        lambda: writer.write(line(b"b")),
    )
    assert copied(writer.folder, steps) == (b"a\nb\n", b"")


def test_lines_that_are_gone_before_they_were_read_are_told(writer):
    writer.write(line(b"a"))
    steps = Steps(lambda: [rotate_with(writer, b"%d" % number) for number in range(4)])
    out, err = copied(writer.folder, steps)
    assert out == b"a\n0 before\n1 after\n2 before\n2 after\n3 before\n3 after\n"
    assert err == f"volt: {LOST}\n".encode()
