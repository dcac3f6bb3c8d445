"""A filter as it is kept beside the plans."""

from hypothesis import given
from hypothesis import strategies as st

from volt.model.filter import Filter


@given(st.binary(max_size=64), st.lists(st.text(max_size=20), max_size=3).map(tuple))
def test_nothing_is_lost(program, notes):
    assert Filter.decode(Filter(program, notes).encode()) == Filter(program, notes)


def test_the_program_comes_last():
    """So that a plan's bytes have it too."""
    assert Filter(b"program", ("note",)).encode().endswith(b"program")
