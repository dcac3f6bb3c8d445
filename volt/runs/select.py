"""Which runs of all are meant: `ps --filter`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from volt.errors import VoltError
from volt.model.run import STATES, Runs, RunState

HINT = "write name=PATTERN, mode=MODE, state=STATE, label=KEY or label=KEY=VALUE"


def select(runs: Runs, filters: Iterable[str], *, ended: bool) -> Runs:
    """Those of the runs that every filter lets through; without `ended` the living ones, unless the state is asked
    for. Raises VoltError for a filter that is none."""
    wanted: dict[str, list[str]] = {}
    for one in filters:
        key, value = _parsed(one)
        wanted.setdefault(key, []).append(value)
    ended = ended or "state" in wanted
    found = (state for state in runs.runs if (ended or state.lives) and _passes(state, wanted))
    return Runs(tuple(found), runs.problems)


def _parsed(one: str) -> tuple[str, str]:
    key, equals, value = one.partition("=")
    if key not in TESTS or not equals or not value:
        raise VoltError(f"--filter {one}: there is no such filter", hint=HINT)
    if key == "state" and value not in STATES:
        raise VoltError(f"--filter {one}: there is no such state", hint=f"the states are {', '.join(STATES)}")
    return key, value


def _passes(state: RunState, wanted: Mapping[str, list[str]]) -> bool:
    """Every label; of each other key one value."""
    return all(
        (all if key == "label" else any)(TESTS[key](state, value) for value in values) for key, values in wanted.items()
    )


def _named(state: RunState, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(state.name, pattern)


def _labelled(state: RunState, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in state.labels and (not equals or state.labels[key] == value)


TESTS: Mapping[str, Callable[[RunState, str], bool]] = {
    "name": _named,
    "mode": lambda state, mode: state.mode == mode,
    "state": lambda state, word: state.state == word,
    "label": _labelled,
}
