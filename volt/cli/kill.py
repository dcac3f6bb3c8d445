"""volt kill: signals for workloads."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import All, SomeNames, tell
from volt.cli.options import Json

Signal = Annotated[
    str, typer.Option("--signal", "-s", metavar="SIGNAL", help="A name or number: HUP, SIGUSR1, RTMIN+3, 9.")
]


@failing(FAILED)
def kill(names: SomeNames = None, signal: Signal = "KILL", all_: All = False, json_: Json = False) -> int:
    """Send the command of each workload a signal. It returns at once; a paused one sees it when it goes on."""
    return tell(lambda: api.kill(*names or (), signal=signal, every=all_), json_=json_)
