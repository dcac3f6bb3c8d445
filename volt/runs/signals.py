"""Signals for a run's payload, by number or by name."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.runs.freezing import thaw
from volt.runs.states import is_frozen
from volt.runs.supervisor import hold

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState

NUMBERS = range(1, 65)


def signal_number(word: int | str) -> int:
    """The number of 9, "9", "KILL", "SIGKILL", "RTMIN+3" or "rtmax-1". Raises VoltError."""
    name = str(word).upper().removeprefix("SIG")
    if name.isdecimal() and int(name) in NUMBERS:
        return int(name)
    base, plus, more = name.partition("+")
    if base == "RTMIN" and plus and more.isdecimal():
        return _real_time(word, signal.SIGRTMIN + int(more))
    base, minus, less = name.partition("-")
    if base == "RTMAX" and minus and less.isdecimal():
        return _real_time(word, signal.SIGRTMAX - int(less))
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise VoltError(f"there is no signal {word}", hint="write a number, or a name: TERM, HUP, RTMIN+3") from None


def _real_time(word: int | str, number: int) -> int:
    if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return number
    raise VoltError(f"there is no signal {word}", hint=f"RTMIN+{signal.SIGRTMAX - signal.SIGRTMIN} is the last")


def send(folders: Folders, state: RunState, number: int) -> RunState:
    """One signal for the payload of a living run; SIGKILL makes a paused one go on. Raises StateError, HostUnfit."""
    supervisor = hold(folders, state) if state.lives else None
    if supervisor is None:
        raise StateError(f"{state.name} has ended", hint="volt ps lists what runs")
    with supervisor:
        supervisor.send(number)
        if number == signal.SIGKILL and is_frozen(supervisor.record.cgroup):
            thaw(supervisor.record)
    return state
