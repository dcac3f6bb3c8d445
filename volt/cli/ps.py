"""volt ps: what runs, and what has run and was kept."""

from __future__ import annotations

from typing import Annotated

import typer

from volt.cli.listing import Listing, list_runs
from volt.cli.options import Json

All = Annotated[bool, typer.Option("--all", "-a", help="Show those that have ended too.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY=VALUE",
        help="name=PATTERN, mode=MODE, state=STATE, label=KEY or label=KEY=VALUE; several at once.",
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Show them anew each second, until interrupted.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids alone.")]


def ps(
    all_: All = False, filter_: Filters = None, watch: Watch = False, quiet: Quiet = False, json_: Json = False
) -> int:
    """List the workloads that run, oldest first.

    A state is running, paused, or restarting between two starts; then exited by the payload, failed by volt, or lost
    with its supervisor. Of several filters with the same key one is enough, of labels and of different keys each has to
    hold.
    """
    request = Listing(ended=all_, filters=tuple(filter_ or ()), quiet=quiet, watch=watch, json_=json_)
    return list_runs(request, json_=json_)
