"""Taking away what is not needed: from everything that was seen to what nothing can be taken from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Passes = Callable[[tuple[Item, ...]], bool]


class SpentError(Exception):
    """The number of tries that was allowed is used up."""


def halve(items: Sequence[Item], passes: Passes[Item]) -> tuple[Item, ...]:
    """The items without what could be taken away in pieces, each half as long as the ones before. All of the items
    pass. `passes` may raise."""
    kept, size = tuple(items), len(items) // 2
    while size > 1:
        kept = _without_pieces(kept, size, passes)
        size //= 2
    return kept


def settle(items: Sequence[Item], passes: Passes[Item]) -> tuple[Item, ...]:
    """The items without those that can be gone without one by one: each that is left was tried against the others
    that are left, and without it they did not pass."""
    kept = tuple(items)
    while True:
        fewer = _without_pieces(kept, 1, passes)
        if fewer == kept:
            return kept
        kept = fewer


def _without_pieces(items: tuple[Item, ...], size: int, passes: Passes[Item]) -> tuple[Item, ...]:
    kept, at = items, 0
    while at < len(kept):
        fewer = kept[:at] + kept[at + size :]
        if passes(fewer):
            kept = fewer
        else:
            at += size
    return kept
