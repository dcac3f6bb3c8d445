"""Which uid ranges a workload may claim: outside systemd's, subuid's and whatever processes use now."""

from __future__ import annotations

import hashlib

from volt.errors import HostUnfit
from volt.model.facts import Facts

# Left free by systemd and by shadow's allocations: https://systemd.io/UIDS-GIDS
FIRST = 1879048192
LAST = 2147352575
RANGE = 65536


def candidates(name: str, facts: Facts) -> tuple[int, int, int]:
    """(base, count, first): `count` ranges from `base`, to be tried from number `first` on, going round.

    The longest run of ranges that nobody else holds; `first` follows from the name, so that a
    workload usually gets the same ids again. Raises HostUnfit when all are taken.
    """
    taken = [(start, size) for start, size in facts.subordinate if size and start + size > FIRST and start <= LAST]
    taken += [(start, RANGE) for start in facts.busy_uids]
    base, count = max(_gaps(taken), key=lambda gap: gap[1])
    if not count:
        raise HostUnfit("every uid range is taken", hint="see /etc/subuid and /etc/subgid")
    digest = hashlib.sha256(name.encode()).digest()
    return base, count, int.from_bytes(digest[:4], "little") % count


def _gaps(taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(base, count) of the aligned free runs between FIRST and LAST."""
    gaps, base = [], FIRST
    for start, size in sorted(taken):
        gaps.append((base, max(0, (start - base) // RANGE)))
        end = start + size
        base = max(base, FIRST + -(-max(0, end - FIRST) // RANGE) * RANGE)
    gaps.append((base, max(0, (LAST + 1 - base) // RANGE)))
    return gaps
