"""What is done with workloads after their start: seen, waited for, signalled, ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from volt.errors import HostUnfit, NoSuchRun, SomeFailed, StateError, VoltError
from volt.host.folders import folders
from volt.model.run import Runs, RunState
from volt.model.values import replace
from volt.runs.find import find
from volt.runs.states import look as look_at

if TYPE_CHECKING:
    from volt.model.folders import Folders

Each = Mapping[str, "RunState | VoltError"]  # by the run's id


def ps(*, ended: bool = False, filters: Iterable[str] = ()) -> Runs:
    """The runs that live, oldest first; with `ended` those too that have ended and were kept.

    `filters` are KEY=VALUE: name (a shell pattern), mode, state, and label as KEY or KEY=VALUE. Of several values of a
    key one is enough; of several keys each has to hold, and each label. Filtering by state implies `ended`. Raises
    VoltError for a filter that is none, HostUnfit without root.
    """
    from volt.runs.select import select

    return select(look(folders()), filters, ended=ended)


def inspect(*names: str) -> tuple[RunState, ...]:
    """All that is known of runs, by their workload's name, their id or the beginning of it; the number of the payload
    too while they live. Raises StateError, SomeFailed where several were named, HostUnfit."""
    where = folders()
    chosen = Chosen(where, names)
    return chosen.told(_each(chosen.states, lambda state: _with_payload(where, state)))


def _with_payload(where: Folders, state: RunState) -> RunState:
    from volt.runs.processes import tree_of
    from volt.runs.supervisor import hold

    supervisor = hold(where, state.id) if state.lives else None
    if supervisor is None:
        return state
    with supervisor:
        try:
            return replace(state, payload=tree_of(supervisor.record).inside[0])
        except StateError:  # it has not started yet, or has ended
            return state


def wait(*names: str, timeout: float | None = None) -> tuple[RunState, ...]:
    """How each of these runs ended, in the order of their names; waits until all have, `timeout` seconds at most.

    From any process, and after their end where they are kept. Raises StateError for one that still lives then, or of
    which nothing is known; SomeFailed where several were named; HostUnfit.
    """
    from volt.runs.waiting import wait as wait_for

    where = folders()
    chosen = Chosen(where, names)
    return chosen.told(wait_for(where, chosen.states, timeout))


def stop(
    *names: str,
    every: bool = False,
    timeout: float | None = None,
    ignore: bool = False,
) -> tuple[RunState, ...]:
    """End these runs, or every one that lives: how each ended. All at once, and each within a time.

    Each payload gets the stop signal of its run, SIGTERM by default; `timeout` seconds later, by default the run's own
    10, SIGKILL; 5 seconds later the supervisor does, and everything dies with it; behind a payload that has ended it
    has 30 seconds more to put things in order. One that has ended already stays as it is. With `ignore` a name that
    nothing is called is no error. Raises StateError, SomeFailed where several were named, HostUnfit.
    """
    from volt.runs.stopping import stop as stop_runs

    where = folders()
    chosen = Chosen(where, names, every=every, ignore=ignore)
    return chosen.told(stop_runs(where, chosen.living(), timeout))


def kill(
    *names: str,
    signal: int | str = "KILL",
    every: bool = False,
) -> tuple[RunState, ...]:
    """Send the payloads of these runs, or of every one that lives, a signal: a number, or a name with or without SIG.

    A paused run sees it when it goes on, which SIGKILL makes it do. Raises StateError for a run that has ended,
    SomeFailed where several were named, VoltError for no signal, HostUnfit.
    """
    from volt.runs.signals import send, signal_number

    number = signal_number(signal)
    where = folders()
    chosen = Chosen(where, names, every=every)
    return chosen.told(_each(chosen.states, lambda state: send(where, state, number)))


def pause(*names: str, every: bool = False) -> tuple[RunState, ...]:
    """Stop every process of these runs where it is, until `unpause`; with `every` of every one that runs.

    Raises StateError for a run that has ended or is paused, SomeFailed where several were named, HostUnfit.
    """
    from volt.runs.freezing import pause as pause_run

    where = folders()
    chosen = Chosen(where, names, every=every, state="running")
    return chosen.told(_each(chosen.states, lambda state: pause_run(where, state)))


def unpause(*names: str, every: bool = False) -> tuple[RunState, ...]:
    """Let every process of these paused runs go on; with `every` of every paused one.

    Raises StateError for a run that is not paused, SomeFailed where several were named, HostUnfit.
    """
    from volt.runs.freezing import unpause as unpause_run

    where = folders()
    chosen = Chosen(where, names, every=every, state="paused")
    return chosen.told(_each(chosen.states, lambda state: unpause_run(where, state)))


def look(where: Folders) -> Runs:
    """Raises HostUnfit for a caller who may not look."""
    runs = f"{where.run}/runs"
    if os.geteuid() != 0 and os.path.lexists(where.run) and not os.access(runs, os.R_OK):
        raise HostUnfit("looking at workloads needs root", hint="run it with sudo")
    return look_at(where)


class Chosen:
    """The runs that words mean, each once, and the words that mean none."""

    def __init__(
        self, where: Folders, words: Sequence[str], *, every: bool = False, ignore: bool = False, state: str = ""
    ) -> None:
        """With `every` all that live, those in `state` alone where it is given."""
        if every == bool(words):
            hint = "name one or more, or give --all"
            raise VoltError("both names and --all are given" if every else "no workload is named", hint=hint)
        runs = look(where)
        self._words: list[tuple[str, RunState]] = []
        self._failed: list[tuple[str, VoltError]] = []
        if every:
            self._words = [(one.name, one) for one in runs.runs if one.lives and _is_in(one, state)]
        for word in words:
            try:
                self._words.append((word, find(runs, word)))
            except StateError as error:
                if not (ignore and isinstance(error, NoSuchRun)):
                    self._failed.append((word, error))

    @property
    def states(self) -> list[RunState]:
        return list({state.id: state for _, state in self._words}.values())

    def living(self) -> list[RunState]:
        return [state for state in self.states if state.lives]

    def told(self, found: Each) -> tuple[RunState, ...]:
        """What came of each, in the order of the words; what was not done is as it was. Raises the error where there
        was one word, else SomeFailed."""
        done, failed = [], [*self._failed]
        for word, state in self._words:
            one = found.get(state.id, state)
            if isinstance(one, VoltError):
                failed.append((word, one))
            else:
                done.append(one)
        if len(failed) == 1 and not done:
            raise failed[0][1]
        if failed:
            raise SomeFailed(done, failed)
        return tuple(done)


def _is_in(one: RunState, state: str) -> bool:
    """Whether it is in that state, if there is one; one that starts runs as well."""
    return state in ("", one.state) or (state, one.state) == ("running", "starting")


def _each(states: Iterable[RunState], act: Callable[[RunState], RunState]) -> Each:
    """What comes of each, one after the other; a failure keeps no other from being done."""
    found: dict[str, RunState | VoltError] = {}
    for state in states:
        try:
            found[state.id] = act(state)
        except VoltError as error:
            found[state.id] = error
    return found
