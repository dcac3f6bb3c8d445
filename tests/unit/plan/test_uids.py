"""Uid ranges: which a workload may claim."""

from types import SimpleNamespace

import pytest
from hypothesis import given
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
