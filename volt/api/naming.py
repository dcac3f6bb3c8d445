"""The workloads of this machine by name, for whoever completes a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volt.runs.names import Named


def named_runs() -> list[Named]:
    """Every run that has a record, by name; none where the caller may not look. Raises VoltError."""
    from volt.host.folders import folders
    from volt.runs.names import named_runs as look

    return look(folders())
