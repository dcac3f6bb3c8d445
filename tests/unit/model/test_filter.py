"""A filter as it is kept beside the plans."""

from hypothesis import given
from hypothesis import strategies as st

from volt.model.filter import Filter


@given(st.binary(max_size=64), st.binary(max_size=64), st.lists(st.text(max_size=20), max_size=3).map(tuple))
def test_nothing_is_lost(program, init, notes):
    assert Filter.decode(Filter(program, init, notes).encode()) == Filter(program, init, notes)


def test_the_programs_come_last():
    """So that a plan's bytes have them too."""
    assert Filter(b"program", b"init's", ("note",)).encode().endswith(b"programinit's")
