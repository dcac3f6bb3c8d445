"""Which run a word means: an id, a name, or the beginning of one id alone."""

from __future__ import annotations

from collections.abc import Iterable

from volt.errors import NoSuchRun, StateError
from volt.model.run import Runs, RunState

SHOWN = 10  # of the runs that an ambiguous word could mean


def find(runs: Runs, word: str) -> RunState:
    """The run that `word` means: the one with that id; of those called so the one that lives, else the newest; the
    one whose id begins so. Raises StateError where there is none, or several."""
    for state in runs.runs:
        if state.id == word:
            return state
    if named := of_name(runs.runs, word):
        return named[-1]
    begun = [state for state in runs.runs if word and state.id.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise StateError(f"'{word}' can mean {len(begun)} runs: {_list(begun)}", hint="write more of the id, or a name")
    raise NoSuchRun(f"no workload called '{word}' is running, and no run of it is kept", hint=_hint(runs))


def of_name(runs: Iterable[RunState], name: str) -> list[RunState]:
    """The runs that are called so: the ended ones, oldest first, then the one that lives."""
    return sorted((state for state in runs if state.name == name), key=lambda state: state.lives)


def _list(states: list[RunState]) -> str:
    more = ", …" if len(states) > SHOWN else ""
    return ", ".join(f"{state.id} ({state.name})" for state in states[:SHOWN]) + more


def _hint(runs: Runs) -> str:
    """What could not be read may be what was meant."""
    return "; ".join(runs.problems) or "volt ps -a lists them"
