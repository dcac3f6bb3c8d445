"""Signals by number and by name, as people write them."""

import signal
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.errors import VoltError
from volt.runs.signals import signal_number


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (9, 9),
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("RTMIN", signal.SIGRTMIN),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
        ("64", 64),
    ],
)
def test_numbers_and_names(word, number):
    assert signal_number(word) == number


@pytest.mark.parametrize(
    "word", [0, 65, -1, "0", "", "SIG", "NONE", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN-1", "1.5"]
)
def test_what_is_no_signal_is_refused(word):
    with pytest.raises(VoltError, match=f"there is no signal {word}".replace("+", r"\+")):
        signal_number(word)


@given(st.text(max_size=8))
def test_no_text_is_misread(text):
    """A number of a signal, or an error that volt explains."""
    with suppress(VoltError):
        assert 1 <= signal_number(text) <= 64
