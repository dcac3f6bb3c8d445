"""volt rm: remove what is kept of workloads."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import Ignore, SomeNames, StopTimeout, tell
from volt.cli.options import Json

All = Annotated[bool, typer.Option("--all", "-a", help="Every workload that does not run.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Stop first what runs; with --all, all that runs.")]


@failing(FAILED)
def rm(
    names: SomeNames = None,
    all_: All = False,
    force: Force = False,
    ignore: Ignore = False,
    timeout: StopTimeout = None,
    json_: Json = False,
) -> int:
    """Remove what is kept of workloads: by a name all finished runs, their logs and the writable layer; by an id the
    record and log of that run."""

    def removed() -> tuple[api.Removed, ...]:
        return api.rm(*names or (), every=all_, force=force, ignore=ignore, timeout=timeout)

    return tell(removed, json_=json_, key="removed")
