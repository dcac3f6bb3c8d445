"""The log of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from volt.api.looking import looked
from volt.errors import StateError, VoltError
from volt.host.folders import folders
from volt.model.log import STREAMS
from volt.model.moments import moment, stamp
from volt.runs.ending import Ending
from volt.runs.log_files import LogFiles
from volt.runs.logs import LATEST, Log, Wanted


def logs(
    name: str,
    *,
    follow: bool = False,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    last: int | None = None,
    streams: Sequence[str] = STREAMS,
) -> Log:
    """What the detached run that `name` means has written: iterate over it for its pieces, or `copy` it.

    `follow` goes on until the run ends, or `until` has passed. `since` and `until` are a datetime, or as people write
    them: `10m`, `2026-11-24T20:46`. `last` counts lines. Raises StateError where there is no such run, or no log of it.
    """
    now = datetime.now(UTC)
    begin, end = _moment(since, now, "since"), _moment(until, now, "until")
    if last is not None and last < 0:
        raise VoltError(f"{last} is no number of lines", hint="0 or more")
    where = folders()
    found = looked(where, name)
    files = LogFiles(f"{where.log}/{found.record.id}")
    if not files.files:
        unit = found.record.unit
        hint = (
            f"journalctl -u {unit}" if unit else "what `volt run --detach` starts has one; others write to their caller"
        )
        raise StateError(f"{found.record.name} has no log", hint=hint)
    wanted = Wanted(tuple(streams), stamp(begin) if begin else "", stamp(end) if end else LATEST, last)
    ending = Ending(where, found.record, end.timestamp() if end else None) if follow else None
    return Log(files, wanted, ending)


def _moment(written: str | datetime | None, now: datetime, option: str) -> datetime | None:
    if written is None or isinstance(written, datetime):
        return written
    try:
        return moment(written, now)
    except ValueError as error:
        raise VoltError(f"{option}: {error}", hint="10m is ten minutes ago") from error
