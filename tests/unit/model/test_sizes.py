"""Sizes and durations: read once, and written so that they are read again as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.model.sizes import Duration, Size


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0", 0),
        ("1", 1),
        ("1b", 1),
        ("1k", 1024),
        ("1KiB", 1024),
        ("1.5G", 3 << 29),
        ("0.5E", 1 << 59),
        ("8e", 1 << 63),
    ],
)
def test_the_base_is_1024_in_any_case(written, number):
    assert Size.parse(written).bytes == number


@pytest.mark.parametrize("written", ["", "x", "-1", "1 1", "8.1E", "1.", ".5", "1kk", "1e3", "101%", "0%", "1\n2"])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError, match="'"):
        Size.parse(written)


@given(st.integers(0, 2**63))
def test_a_size_is_written_as_it_is_read(number):
    assert Size.parse(str(Size(number))) == Size(number)


@given(st.integers(1, 100_000_000))
def test_so_is_a_percentage(millionths):
    share = Size.parse(f"{millionths // 10**6}.{millionths % 10**6:06}%")
    assert Size.parse(str(share)) == share


@pytest.mark.parametrize(("written", "number"), [("500ms", 500), ("10s", 10_000), ("1h30m", 5_400_000), ("0s", 0)])
def test_a_duration_is_milliseconds(written, number):
    assert Duration.parse(written).milliseconds == number


@pytest.mark.parametrize("written", ["", "1", "1d", "1s1m", "-1s", "1.5s", "9" * 20 + "h", "9" * 5000 + "s"])
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match="'"):
        Duration.parse(written)


@given(st.integers(0, 2**63))
def test_a_duration_is_written_as_it_is_read(number):
    assert Duration.parse(str(Duration(number))) == Duration(number)
