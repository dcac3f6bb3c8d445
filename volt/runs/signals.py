"""Signals for a run's payload, by number or by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.model import signals
from volt.runs.freezing import thaw
from volt.runs.states import is_frozen
from volt.runs.supervisor import hold

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState

NUMBERS = range(1, 65)


def signal_number(word: int | str) -> int:
    """The number of 9, "9", "KILL", "SIGKILL", "RTMIN+3" or "rtmax-1". Raises VoltError."""
    if str(word).isdecimal() and int(word) in NUMBERS:
        return int(word)
    try:
        return signals.signal_number(str(word))
    except ValueError as error:
        raise VoltError(str(error), hint="write a number, or a name: TERM, HUP, RTMIN+3") from None


def send(folders: Folders, state: RunState, number: int) -> RunState:
    """One signal for the payload of a living run; SIGKILL makes a paused one go on. Raises StateError, HostUnfit."""
    supervisor = hold(folders, state.id) if state.lives else None
    if supervisor is None:
        raise StateError(f"{state.name} has ended", hint="volt ps lists what runs")
    with supervisor:
        supervisor.send(number)
        if number == signals.KILL and is_frozen(supervisor.record.cgroup):
            thaw(supervisor.record)
    return state
