"""Signals for a run's payload, by number or by name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.model import signals
from volt.runs.freezing import thaw
from volt.runs.processes import between_starts
from volt.runs.states import is_frozen
from volt.runs.supervisor import Supervisor, hold

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
    """One signal for the payload of a living run; SIGKILL makes a paused one go on, and is told before to the unit of
    systemd that owns it, or that would start it again. What volt itself starts anew is not after SIGKILL, nor after
    its stop signal, and takes no other one between two starts. Raises StateError, VoltError, HostUnfit."""
    supervisor = hold(folders, state.id) if state.lives else None
    if supervisor is None:
        raise StateError(f"{state.name} has ended", hint="volt ps lists what runs")
    with supervisor:
        if number == signals.KILL and supervisor.record.unit:
            _stop_unit(supervisor.record.unit)
            with suppress(StateError):  # it ends already, as systemd has asked it to
                supervisor.send(number)
        elif supervisor.record.restart and number in (signals.KILL, supervisor.record.stop_signal):
            _end(supervisor, number)
        elif waits := between_starts(supervisor.record):
            raise waits
        else:
            supervisor.send(number)
        if number == signals.KILL and is_frozen(supervisor.record.cgroup):
            thaw(supervisor.record)
    return state


def _end(supervisor: Supervisor, number: int) -> None:
    """A signal that asks for the end, and for no other start after it."""
    supervisor.forbid_restart()
    try:
        supervisor.send(number)
    except StateError:  # it waits for a start; or it has ended, which is what was asked for
        supervisor.ask_to_end()


def _stop_unit(unit: str) -> None:
    """Without waiting for it. Raises VoltError."""
    from volt.runs.units import UnitJob

    UnitJob("StopUnit", unit).close()
