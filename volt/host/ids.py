"""Which user ids others have: the ranges handed out to users, and those of living processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from volt.host.files import read_text

# Where volt's ranges begin and end; https://systemd.io/UIDS-GIDS
FIRST = 1879048192
LAST = 2147352575
RANGE = 65536


def subordinate_ranges(files: Sequence[str] = ("/etc/subuid", "/etc/subgid")) -> tuple[tuple[int, int], ...]:
    """Every (first, count) of subuid(5) and subgid(5), in order, once; lines that are none are left out."""
    rows = (line.split(":") for path in files for line in read_text(path).splitlines())
    found = {(int(row[1]), int(row[2])) for row in rows if len(row) == 3 and _numbers(row[1:])}
    return tuple(sorted(found))


def _numbers(fields: Sequence[str]) -> bool:
    return all(field.isascii() and field.isdecimal() for field in fields)


def busy_ranges(proc: str = "/proc") -> tuple[int, ...]:
    """The first ids of volt's ranges that some living process's owner falls in."""
    owners = set()
    with os.scandir(proc) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                try:
                    owners.add(entry.stat().st_uid)
                except OSError:  # it has ended
                    continue
    return tuple(sorted({uid - (uid - FIRST) % RANGE for uid in owners if FIRST <= uid <= LAST}))
