"""volt gc: remove what crashes, reboots and time have left."""

from __future__ import annotations

from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import tell_cleared
from volt.cli.options import Json
from volt.errors import VoltError

DryRun = Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and list what would be.")]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="DURATION", help="Of finished runs and logs: 7d, 12h, or 0 for all of them."),
]


@failing(FAILED)
def gc(older_than: OlderThan = None, dry_run: DryRun = False, json_: Json = False) -> int:
    """Remove what crashes and reboots have left, and records and logs of runs that ended long ago.

    How long is gc.older_than of /etc/volt/config.toml, or seven days. Layers that workloads keep stay. Ends with 1
    where something cannot be removed.
    """
    found = api.gc(older_than=None if older_than is None else _seconds(older_than), dry_run=dry_run)
    return tell_cleared(found, dry_run=dry_run, json_=json_)


def _seconds(written: str) -> int:
    """Raises VoltError."""
    try:
        return api.span(written)
    except ValueError as error:
        raise VoltError(f"--older-than: {error}", hint="write 7d, 1d12h or 30m") from error
