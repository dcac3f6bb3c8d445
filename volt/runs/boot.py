"""Whether a record is of this boot: what ran in another one went with the power, whoever has its numbers now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volt.runs.record import Record

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # random(4)


def is_of_this_boot(record: Record) -> bool:
    """True too for a record that does not say. Raises OSError."""
    with open(BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 (as in the rest of this room)
        return record.boot_id in (file.read().strip(), "")
