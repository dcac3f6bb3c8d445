"""Waiting for the end of runs that another process has started."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.runs.states import ended_meanwhile
from volt.runs.supervisor import Supervisor, has_come, hold, milliseconds_to

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState


def wait(folders: Folders, states: Iterable[RunState], timeout: float | None) -> dict[str, RunState | VoltError]:
    """How each of these runs ended, by its id, or why that is not known: it still lives after `timeout` seconds.

    A run that leaves nothing is waited for by its claim, which is held open: what its supervisor wrote there last stays
    to be read.
    """
    found: dict[str, RunState | VoltError] = {}
    deadline = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as held:
        waiting: dict[int, Supervisor] = {}
        for state in states:
            if not state.lives:
                found[state.id] = state
            elif supervisor := hold(folders, state.id):
                held.enter_context(supervisor)
                waiting[supervisor.pidfd] = supervisor
            else:
                found[state.id] = ended_meanwhile(folders, state)
        _wait(waiting, deadline, found)
        for supervisor in waiting.values():
            name = supervisor.record.name
            found[supervisor.record.id] = StateError(f"{name} still runs after {timeout:g} seconds")
    return found


def _wait(waiting: dict[int, Supervisor], deadline: float | None, found: dict[str, RunState | VoltError]) -> None:
    """Take out of `waiting` what ends until then."""
    ready = select.poll()
    for pidfd in waiting:
        ready.register(pidfd, select.POLLIN)
    while waiting:
        ended = ready.poll(milliseconds_to(deadline))
        if not ended and has_come(deadline):
            return
        for pidfd, _ in ended:
            ready.unregister(pidfd)
            supervisor = waiting.pop(pidfd)
            found[supervisor.record.id] = supervisor.end()
