"""The keys that detach from a terminal, and what of them is passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.cli.attach import Keys
from volt.errors import VoltError


@pytest.mark.parametrize(
    ("written", "typed", "passed", "left"),
    [
        ("ctrl-p,ctrl-q", [b"\x10\x11"], b"", True),
        ("ctrl-p,ctrl-q", [b"ab\x10", b"\x11c"], b"ab", True),
        ("ctrl-p,ctrl-q", [b"\x10x"], b"\x10x", False),
        ("ctrl-p,ctrl-q", [b"\x10"], b"", False),
        ("ctrl-p,ctrl-q", [b"\x10\x10\x11"], b"\x10", True),
        ("a,a,b", [b"aaab"], b"a", True),
        ("ctrl-@,ctrl-_", [b"\x00\x1f"], b"", True),
        ("CTRL-P", [b"\x10"], b"", True),
        ("", [b"\x10\x11"], b"\x10\x11", False),
    ],
)
def test_keys(written, typed, passed, left):
    keys = Keys(written)
    found = [keys.feed(data) for data in typed]
    assert (b"".join(data for data, _ in found), found[-1][1]) == (passed, left)


@given(st.lists(st.binary(max_size=5)))
def test_what_is_no_such_key_is_passed_on_as_it_was_typed(typed):
    keys = Keys("ctrl-p,ctrl-q")
    whole = b"".join(typed)
    passed, left = b"", False
    for data in typed:
        more, left = keys.feed(data)
        passed += more
        if left:
            break
    until, found, _ = whole.partition(b"\x10\x11")
    assert left == bool(found)
    assert passed == (until if found else whole.removesuffix(b"\x10"))


@pytest.mark.parametrize("written", ["ctrl-", "ctrl-1", "ctrl-pp", "ab", ",", "ü", "ctrl-p,"])
def test_what_names_no_key(written):
    with pytest.raises(VoltError, match="is no key"):
        Keys(written)
