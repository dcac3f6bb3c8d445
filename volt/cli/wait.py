"""volt wait: until workloads have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.failure import RUN_FAILED, failing
from volt.cli.naming import Names, finite, tell
from volt.cli.options import Json

Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer.", min=0, callback=finite)
]


@failing(RUN_FAILED)
def wait(names: Names, timeout: Timeout = None, json_: Json = False) -> int:
    """Wait until the workloads have ended, and print the status of each on a line of its own.

    Ends with the status of the last one, as `volt run` would have; with 125 where one still runs at the time limit,
    or how it ended is not known.
    """
    last: list[int] = []

    def waited() -> tuple[api.RunState, ...]:
        done = api.wait(*names, timeout=timeout)
        last.append(_status(done[-1]))
        return done

    failed = tell(waited, json_=json_, line=lambda state: str(_status(state)))
    return RUN_FAILED if failed else last[0]


def _status(state: api.RunState) -> int:
    return RUN_FAILED if state.status is None else state.status
