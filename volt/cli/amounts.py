"""Sizes and counts in print, and how far something has come, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_EVERY = 0.1  # seconds between two lines on a terminal
_CLEAR = "\r\x1b[K"  # to the start of the line, and nothing in it: ECMA-48


def size(count: int) -> str:
    """Bytes with three digits and their unit, base 1024."""
    amount, unit = float(count), UNITS[0]
    for one in UNITS:
        unit = one
        if amount < 1000:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.3g} {unit}"


@contextmanager
def _line(*, wanted: bool) -> Iterator[Callable[[Callable[[], str]], None] | None]:
    """What shows a line on standard error where that is a terminal, not too often; it is gone in the end."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    last = 0.0

    def show(text: Callable[[], str]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            sys.stderr.write(f"{_CLEAR}{text()}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()


@contextmanager
def progress(what: str, *, wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """What tells how far it is: how many, and so many bytes."""
    with _line(wanted=wanted) as show:
        yield (lambda count, amount: show(lambda: f"{what}: {count:,}, {size(amount)}")) if show else None


@contextmanager
def transfer(*, wanted: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """The same for something that has an end: what is done, and so many bytes of how many."""

    def text(what: str, amount: int, whole: int) -> str:
        behind = f" of {size(whole)}, {100 * amount // whole} %" if whole else ""
        return f"{what}: {size(amount)}{behind}"

    with _line(wanted=wanted) as show:
        yield (lambda what, amount, whole: show(lambda: text(what, amount, whole))) if show else None
