"""Whether a kernel is the one that is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.plan.kernel import fits

NUMBERS = st.lists(st.integers(0, 99), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("wanted", "release", "good"),
    [
        ("6.12", "6.12.7-cloud-amd64", True),
        ("6.12", "6.1.0-28-amd64", False),
        ("6.1", "6.12.0", False),
        ("6", "6.12.0", True),
        ("6.12.7", "6.12", False),
        (">=6.1", "6.12.0", True),
        (">=6.12.1", "6.12.0-5", False),
        ("<6.12", "6.11.9", True),
        ("= 6.12", "6.12.3", True),
        (">=6.1", "unknown", False),
        ("6.x", "6.1", False),
    ],
)
def test_as_many_numbers_as_are_asked_for_count(wanted, release, good):
    assert fits(wanted, release) is good


@given(NUMBERS, NUMBERS)
def test_the_comparisons_agree_with_one_another(asked, own):
    wanted, release = (".".join(map(str, numbers)) for numbers in (asked, own))
    assert fits(f">={wanted}", release) is not fits(f"<{wanted}", release)
    assert fits(f"<={wanted}", release) is not fits(f">{wanted}", release)
    assert fits(wanted, release) is (fits(f">={wanted}", release) and fits(f"<={wanted}", release))
