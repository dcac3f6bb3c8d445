"""Uid ranges: which a workload may claim."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volt.errors import HostUnfit
from volt.plan.uids import FIRST, LAST, RANGE, candidates


def facts(subordinate=(), busy=()):
    return SimpleNamespace(subordinate=tuple(subordinate), busy_uids=tuple(busy))


def test_with_nothing_taken_every_range_is_a_candidate():
    base, count, first = candidates("web", facts())
    assert base == FIRST
    assert base + count * RANGE <= LAST + 1
    assert 0 <= first < count
    assert count > 4000


def test_a_workload_begins_where_it_began_before():
    assert candidates("web", facts()) == candidates("web", facts())
    assert candidates("web", facts()) != candidates("db", facts())


spans = st.tuples(st.integers(FIRST - 3 * RANGE, LAST + RANGE), st.integers(1, 300 * RANGE))
starts = st.integers(0, 4000).map(lambda n: FIRST + n * RANGE)


@given(st.lists(spans, max_size=6), st.lists(starts, max_size=6))
def test_no_candidate_overlaps_what_somebody_holds(subordinate, busy):
    base, count, first = candidates("web", facts(subordinate, busy))
    assert (base - FIRST) % RANGE == 0
    assert base >= FIRST
    assert base + count * RANGE <= LAST + 1
    assert first < max(count, 1)
    for start, size in [*subordinate, *((s, RANGE) for s in busy)]:
        assert start + size <= base or start >= base + count * RANGE


def test_a_host_without_a_free_range_is_unfit():
    with pytest.raises(HostUnfit, match="every uid range is taken"):
        candidates("web", facts([(FIRST, LAST - FIRST + 1)]))


def longest_run(taken):
    """The length of the longest run of ranges that nothing touches, the slow and obvious way."""
    most = run = 0
    for start in range(FIRST, LAST + 2 - RANGE, RANGE):
        free = all(other + size <= start or other >= start + RANGE for other, size in taken if size)
        run = run + 1 if free else 0
        most = max(most, run)
    return most


holders = st.tuples(st.integers(FIRST - 3 * RANGE, LAST + RANGE), st.integers(0, 2500 * RANGE))


@settings(max_examples=60)
@given(st.lists(holders, max_size=6), st.lists(starts, max_size=3))
def test_no_free_range_of_the_longest_run_is_left_out(subordinate, busy):
    """Whether the ranges of others overlap, touch, lie in each other, or are empty."""
    most = longest_run([*subordinate, *((start, RANGE) for start in busy)])
    if most:
        assert candidates("web", facts(subordinate, busy))[1] == most
    else:
        with pytest.raises(HostUnfit):
            candidates("web", facts(subordinate, busy))


@pytest.mark.parametrize(
    "subordinate",
    [
        [(FIRST, 100 * RANGE), (FIRST, 10)],
        [(FIRST, 10), (FIRST, 100 * RANGE)],
        [(FIRST, 60 * RANGE), (FIRST + 40 * RANGE, 60 * RANGE)],
        [(FIRST - RANGE, 101 * RANGE), (FIRST + 7, 1)],
        [(FIRST, 100 * RANGE), (FIRST + 500 * RANGE, 0)],
    ],
)
def test_ranges_within_each_other_take_what_they_cover_together(subordinate):
    assert candidates("web", facts(subordinate))[:2] == (FIRST + 100 * RANGE, 3994)
