"""The workloads of this machine, for whoever completes a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volt.model.run import RunState


def known_runs() -> Sequence[RunState]:
    """Every run that has a record that can be read; none where the caller may not look. Raises VoltError."""
    from volt.host.folders import folders
    from volt.runs.states import look

    return look(folders()).runs
