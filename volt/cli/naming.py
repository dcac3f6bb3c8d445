"""What verbs share that take several workloads: their names, and telling of each what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from volt import api
from volt.cli.failure import FAILED, failure, report
from volt.cli.findings import printable
from volt.cli.states import document
from volt.model.values import Value

WHICH = "Workloads by name, or runs by their id or its beginning."
Names = Annotated[list[str], typer.Argument(metavar="NAME|ID...", help=WHICH, show_default=False)]
SomeNames = Annotated[list[str] | None, typer.Argument(metavar="[NAME|ID]...", help=WHICH, show_default=False)]
All = Annotated[bool, typer.Option("--all", "-a", help="Every one that runs.")]
Ignore = Annotated[bool, typer.Option("--ignore", "-i", help="A name that nothing is called is no error.")]


def finite(seconds: float | None) -> float | None:
    """An option's value. Raises BadParameter for inf and nan, which are numbers to it."""
    if seconds is not None and not seconds < float("inf"):
        raise typer.BadParameter(f"{seconds} is no number of seconds")
    return seconds


StopTimeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        "-t",
        metavar="SECONDS",
        help="Until SIGKILL; by default service.stop_timeout, or 10.",
        min=0,
        callback=finite,
    ),
]


One = TypeVar("One", bound=Value)


def _name(one: Any) -> str:
    return printable(one.name)


def tell(
    act: Callable[[], Sequence[Value]], *, json_: bool, line: Callable[[Any], str] = _name, key: str = "runs"
) -> int:
    """Do it, say of each what came of it, and end with 1 where one failed. Raises VoltError where none was named but
    that one."""
    failed: Sequence[tuple[str, api.VoltError]] = ()
    try:
        done = act()
    except api.SomeFailed as error:
        done, failed = error.done, error.failed
    if json_:
        left = [{"name": word, **failure(problem)["error"]} for word, problem in failed]
        print(json.dumps({"version": 1, key: [document(state) for state in done], "failed": left}, indent=2))
    else:
        for state in done:
            print(line(state))
        for _, problem in failed:
            report(problem)
    return FAILED if failed else 0


def tell_cleared(found: api.Cleared, *, dry_run: bool, json_: bool) -> int:
    """Print what gc has removed; the exit status."""
    if json_:
        rubbish = [document(one) for one in found.rubbish]
        print(json.dumps({"version": 1, "dry_run": dry_run, "rubbish": rubbish, "problems": found.problems}, indent=2))
    else:
        for one in found.rubbish:
            print(printable(f"{one.kind:9} {one.path}: {one.why}"))
        for problem in found.problems:
            print(f"volt: {printable(problem)}", file=sys.stderr)
    return FAILED if found.problems else 0


def each(words: Sequence[str], act: Callable[[str], One]) -> list[One]:
    """What came of each word. Raises VoltError where one was named and failed, SomeFailed of several."""
    done, failed = [], []
    for word in words:
        try:
            done.append(act(word))
        except api.VoltError as error:
            failed.append((word, error))
    if failed and len(words) == 1:
        raise failed[0][1]
    if failed:
        raise api.SomeFailed(done, failed)
    return done
