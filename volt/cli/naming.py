"""What verbs share that take several workloads: their names, and telling of each what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failure, report
from volt.cli.findings import printable
from volt.cli.states import document

WHICH = "Workloads by name, or runs by their id or its beginning."
Names = Annotated[list[str], typer.Argument(metavar="NAME|ID...", help=WHICH, show_default=False)]
SomeNames = Annotated[list[str] | None, typer.Argument(metavar="[NAME|ID]...", help=WHICH, show_default=False)]
All = Annotated[bool, typer.Option("--all", "-a", help="Every one that runs.")]
Ignore = Annotated[bool, typer.Option("--ignore", "-i", help="A name that nothing is called is no error.")]

Done = Sequence[api.RunState]


def _name(state: api.RunState) -> str:
    return printable(state.name)


def tell(act: Callable[[], Done], *, json_: bool, line: Callable[[api.RunState], str] = _name) -> int:
    """Do it, say of each run what came of it, and end with 1 where one failed. Raises VoltError where none was done."""
    failed: Sequence[tuple[str, api.VoltError]] = ()
    try:
        done = act()
    except api.SomeFailed as error:
        done, failed = error.done, error.failed
    if json_:
        left = [{"name": word, **failure(problem)["error"]} for word, problem in failed]
        print(json.dumps({"version": 1, "runs": [document(state) for state in done], "failed": left}, indent=2))
    else:
        for state in done:
            print(line(state))
        for _, problem in failed:
            report(problem)
    return FAILED if failed else 0
