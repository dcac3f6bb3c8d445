"""Moments as people write them, for options like --since: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from volt.model.findings import quote
from volt.model.sizes import Duration

_FRACTION = re.compile(r"\.(\d{1,9})\d*")
_SECONDS = re.compile(r"\d{9,12}(?:\.\d{1,9})?", re.ASCII)


def moment(written: str, now: datetime) -> datetime:
    """`10m` (before `now`), `2026-11-24`, `2026-11-24T20:46[:00.5][Z|+02:00]`, or seconds since the epoch; local time
    where no zone is given. Raises ValueError."""
    text = written.strip()
    try:
        return now - timedelta(milliseconds=Duration.parse(text).milliseconds)
    except (ValueError, OverflowError):
        pass
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        return datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]}", text)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{quote(written)} is neither a time nor a duration: write 2026-11-24T20:46 or 10m"
        raise ValueError(message) from None


def stamp(at: datetime) -> str:
    """As the lines of a log have it, which sort by it: UTC, nine digits of a second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
