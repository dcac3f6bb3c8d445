"""Reading small files: bounded, never waiting, and absent when they cannot be read."""

import os

import pytest

from volt.host.files import lines, read_text


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "file"

    def write(data):
        path.write_bytes(data)
        return str(path)

    return write


def test_what_a_file_holds(written):
    assert read_text(written(b"abc\n")) == "abc\n"
    assert read_text(written(b"")) == ""


def test_a_file_is_read_whole_or_not_at_all(written):
    path = written(b"x" * 10)
    assert read_text(path, 10) == "x" * 10
    assert read_text(path, 9) == ""


def test_bytes_that_no_plan_can_carry_are_replaced(written):
    assert read_text(written(b"a\xffb\0c")) == "a�b�c"


def test_nothing_there_is_no_text(tmp_path):
    assert read_text(f"{tmp_path}/missing") == ""
    assert read_text(str(tmp_path)) == ""


def test_a_fifo_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert read_text(f"{tmp_path}/fifo") == ""


def test_links_are_followed_and_devices_are_not_read(tmp_path, written):
    (tmp_path / "link").symlink_to(written(b"there"))
    (tmp_path / "loop").symlink_to("loop")
    assert read_text(f"{tmp_path}/link") == "there"
    assert read_text(f"{tmp_path}/loop") == ""
    assert read_text("/dev/zero") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\n", ["one", ""]),
        ("form\x0cfeed and\u2028more\r\x85\n", ["form\x0cfeed and\u2028more\r\x85"]),
    ],
)
def test_lines_end_at_a_line_feed_alone(text, expected):
    assert lines(text) == expected
