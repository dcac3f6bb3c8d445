"""The form of a log: what was written comes out of it byte for byte, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.model.log import lines, mended, texts

STAMP = b"2026-11-24T20:46:00.123456789Z"
WRITES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40), st.booleans()), max_size=30)


def line(stream, tag, text):
    return STAMP + f" {stream} {tag} ".encode() + text + b"\n"


def logged(writes):
    """A log of these: each whole line of it as one, what ends no line as a piece."""
    found = b""
    for stream, text, newline in writes:
        *whole, rest = (text + b"\n" if newline else text).split(b"\n")
        found += b"".join(line(stream, "F", one) for one in whole)
        found += line(stream, "P", rest) if rest else b""
    return found


def joined(block):
    found = {"stdout": b"", "stderr": b"", "volt": b"", "damaged": b""}
    for kind, text in texts(block):
        found[kind] += text
    return found


@given(WRITES)
def test_each_stream_comes_out_as_it_was_written(writes):
    found = joined(logged(writes))
    for stream in ("stdout", "stderr"):
        assert found[stream] == b"".join(text + b"\n" * newline for name, text, newline in writes if name == stream)
    assert found["damaged"] == b""


@given(WRITES)
def test_line_by_line_says_the_same_as_whole_stretches(writes):
    block = logged(writes)
    found = {"stdout": b"", "stderr": b"", "volt": b"", "damaged": b""}
    for _, stream, tag, text in lines(block):
        found[stream.decode()] += text + (b"\n" if tag == b"F" else b"")
    assert found == joined(block)


def test_streams_come_in_the_order_in_which_they_wrote():
    block = (
        line("stdout", "F", b"1") + line("stderr", "F", b"2") + line("stdout", "P", b"3") + line("stdout", "F", b"4")
    )
    assert list(texts(block)) == [("stdout", b"1\n"), ("stderr", b"2\n"), ("stdout", b"3"), ("stdout", b"4\n")]


def test_what_looks_like_the_form_within_a_line_is_text():
    inner = line("stderr", "F", b"forged")[:-1]
    assert list(texts(line("stdout", "F", inner))) == [("stdout", inner + b"\n")]


def test_what_volt_says_is_told_apart():
    assert list(texts(line("volt", "F", b"12345 bytes discarded: log.rate"))) == [
        ("volt", b"12345 bytes discarded: log.rate\n")
    ]


@pytest.mark.parametrize(
    "damaged", [b"\0\0\0\n", b"\n", b"2026 stdout F x\n", line("stdin", "F", b"x"), STAMP + b" stdout X x\n"]
)
def test_a_damaged_line_hides_no_other(damaged):
    good = line("stdout", "F", b"good")
    assert list(texts(good + damaged + good)) == [("stdout", b"good\n"), ("damaged", damaged), ("stdout", b"good\n")]
    assert [found is None for found in lines(good + damaged + good)] == [False, True, False]


@pytest.mark.parametrize("cut", range(len(line("stdout", "F", b"text"))))
def test_of_a_line_that_was_cut_off_the_text_is_left(cut):
    torn = line("stdout", "F", b"text")[:cut]
    begun = torn[len(STAMP) + len(" stdout F ") :]
    whole_head = cut >= len(STAMP) + len(" stdout F ")
    assert mended(torn) == (line("stdout", "P", begun) if whole_head else b"")
