"""volt stop: end workloads."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import All, Ignore, SomeNames, tell
from volt.cli.options import Json

Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", "-t", metavar="SECONDS", help="Until SIGKILL; by default service.stop_timeout, or 10.", min=0
    ),
]


@failing(FAILED)
def stop(
    names: SomeNames = None, all_: All = False, timeout: Timeout = None, ignore: Ignore = False, json_: Json = False
) -> int:
    """End workloads: their stop signal, SIGTERM by default; when the time is up SIGKILL. All of them at once.

    Returns when they have ended, and prints their names. One that has ended already stays as it is.
    """
    return tell(lambda: api.stop(*names or (), every=all_, timeout=timeout, ignore=ignore), json_=json_)
