"""Stopping runs, any number at once: asked to, then told to, then ended with their supervisors; never for ever."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from volt.errors import StateError, VoltError
from volt.model.modes import Mode
from volt.runs.freezing import thaw
from volt.runs.processes import init_takes, is_guarded
from volt.runs.states import ended_meanwhile, is_frozen
from volt.runs.supervisor import Supervisor, has_come, hold, milliseconds_to
from volt.runs.sweep import sweep

if TYPE_CHECKING:
    from volt.model.folders import Folders
    from volt.model.run import RunState
    from volt.runs.record import Record
    from volt.runs.units import UnitJob

ASKED_AGAIN = 1.0  # seconds until an init that could not hear it is asked again
UNIT_ENDS = 600.0  # seconds for systemd, which stops first what requires a unit, and kills each in its own time
KILLED = 5.0  # seconds that a killed payload may take to be gone, and then its supervisor
UNDOES = 30.0  # seconds that a supervisor has behind its payload: each of what it waits for may take 10
Stopped = Mapping[str, "RunState | VoltError"]  # by the run's id


class _Stopping:
    """One run on its way to the end: what was done, and until when that may take. One that a unit of systemd owns is
    asked by that, which has a job for it."""

    def __init__(self, supervisor: Supervisor, limit: float, job: UnitJob | None) -> None:
        self.supervisor = supervisor
        self.job = job
        self.deadline = 0.0
        self._left = [self._kill_supervisor, self._await_undoing, self._kill_payload]
        if limit > 0:
            self._left.append(lambda: self._ask(limit))

    def go_on(self) -> bool:
        """The next step; False when there is none left."""
        if not self._left:
            return False
        step = self._left.pop()
        self.deadline = time.monotonic() + step()
        return True

    def _ask(self, limit: float) -> float:
        self.supervisor.forbid_restart()
        if self.job:
            self._go_on()
            return limit
        record = self.supervisor.record
        heard = record.mode != Mode.HYBRID_NATIVE or init_takes(record, record.stop_signal)
        self._send(record.stop_signal)
        if heard or limit <= ASKED_AGAIN:
            return limit
        # An init hears nothing before it has said what it takes. What it has heard it may not hear twice: a shell would
        # begin its trap anew.
        self._left.append(lambda: self._ask(limit - ASKED_AGAIN))
        return ASKED_AGAIN

    def _kill_payload(self) -> float:
        self.supervisor.forbid_restart()
        # Where there is no init any more SIGTERM makes the supervisor give up what a terminal does not take.
        self._send(signal.SIGKILL)
        return KILLED

    def _await_undoing(self) -> float:
        """Killed at once it would leave a run that is lost, although its payload has ended as it was to."""
        if is_guarded(self.supervisor.record.pid):
            return 0
        self.supervisor.ask_to_end()  # to give up what a terminal does not take; else it hears nothing any more
        return UNDOES

    def _kill_supervisor(self) -> float:
        self.supervisor.kill()
        return KILLED

    def _send(self, number: int) -> None:
        """To the payload, or SIGTERM to the supervisor where nothing takes it. A paused one would not see it."""
        try:
            self.supervisor.send(number)
        except StateError:
            self.supervisor.ask_to_end()
        self._go_on()

    def _go_on(self) -> None:
        if is_frozen(self.supervisor.record.cgroup):
            thaw(self.supervisor.record)


def stop(folders: Folders, states: Iterable[RunState], timeout: float | None = None, *, again: bool = False) -> Stopped:
    """End living runs: their stop signal to the payload; `timeout` seconds later, by default the run's own, SIGKILL to
    it, 5 seconds later SIGKILL to the supervisor, with which all of it dies, and the sweep; 30 seconds later still
    where that has only to put things in order. All of them at once. What a unit of systemd owns is stopped by that, or
    its policy would start it again; with `again` it does.

    How each ended, or why it did not.
    """
    found: dict[str, RunState | VoltError] = {}
    with ExitStack() as held:
        for one in _watch(_hold(folders, states, timeout, (held, "RestartUnit" if again else "StopUnit"), found)):
            found[one.supervisor.record.id] = _end(one)
    if any(isinstance(one, VoltError) or one.state == "lost" for one in found.values()):
        sweep(folders)
    return found


def _hold(
    folders: Folders,
    states: Iterable[RunState],
    timeout: float | None,
    holding: tuple[ExitStack, str],
    found: dict[str, RunState | VoltError],
) -> list[_Stopping]:
    """Those that live, held as long as the stack of `holding`, with a job of its verb where a unit owns them; of the
    others `found` gets why they cannot be stopped."""
    stopping = []
    held, verb = holding
    for state in states:
        try:
            supervisor = hold(folders, state.id)
            if supervisor is None:
                found[state.id] = ended_meanwhile(folders, state)
                continue
            held.enter_context(supervisor)
            job = _job(supervisor.record, verb, held)
        except VoltError as error:
            found[state.id] = error
            continue
        own = UNIT_ENDS if job else supervisor.record.stop_timeout / 1000
        limit = own if timeout is None else timeout
        stopping.append(_Stopping(supervisor, limit, job))
    return stopping


def _job(record: Record, verb: str, held: ExitStack) -> UnitJob | None:
    """What was asked of the unit that owns a run. Raises VoltError."""
    if not record.unit:
        return None
    from volt.runs.units import UnitJob

    return held.enter_context(UnitJob(verb, record.unit))


def _watch(stopping: Iterable[_Stopping]) -> Iterator[_Stopping]:
    """Each when it has ended, or when there is nothing more to be done."""
    waiting = {one.supervisor.pidfd: one for one in stopping}
    ready = select.poll()
    for pidfd, one in waiting.items():
        ready.register(pidfd, select.POLLIN)
        one.go_on()
    while waiting:
        first = min(one.deadline for one in waiting.values())
        ended = {pidfd for pidfd, _ in ready.poll(milliseconds_to(first))}
        late = {pidfd for pidfd, one in waiting.items() if pidfd not in ended and has_come(one.deadline)}
        for pidfd in ended | {pidfd for pidfd in late if not waiting[pidfd].go_on()}:
            ready.unregister(pidfd)
            yield waiting.pop(pidfd)


def _end(one: _Stopping) -> RunState | VoltError:
    name = one.supervisor.record.name
    if not one.supervisor.wait(0):
        return StateError(f"{name} cannot be killed", hint="a process of it waits in the kernel, for a disk perhaps")
    try:
        if one.job:
            one.job.wait()
        return one.supervisor.end()
    except VoltError as error:
        return error
    except OSError as error:
        return StateError(f"{name} has ended, and how cannot be read: {error}")
