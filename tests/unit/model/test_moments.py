"""Times on a command line."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from volt.model.moments import moment, stamp

NOW = datetime(2026, 11, 24, 20, 46, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("500ms", NOW - timedelta(milliseconds=500)),
        ("2026-11-24T20:46Z", NOW),
        ("2026-11-24T22:46:00+02:00", NOW),
        ("2026-11-24T20:46:00.123456789Z", NOW + timedelta(microseconds=123456)),
        ("1795553160", NOW),
        ("2026-11-24", datetime(2026, 11, 24).astimezone(UTC)),
    ],
)
def test_a_time_or_how_long_ago(written, meant):
    assert moment(written, NOW) == meant


@pytest.mark.parametrize("written", ["", "yesterday", "10", "10 m", "2026-13-01", "-10m", "99999999999999h"])
def test_anything_else_is_refused_with_what_to_write(written):
    with pytest.raises(ValueError, match="write 2026-11-24T20:46 or 10m"):
        moment(written, NOW)


def test_a_stamp_is_utc_with_nine_digits():
    assert stamp(NOW.astimezone(timezone(timedelta(hours=5)))) == "2026-11-24T20:46:00.000000000Z"
