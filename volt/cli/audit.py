"""volt audit: whether a running workload is what its plan says."""

from __future__ import annotations

import json
import sys
from typing import Annotated, TextIO

import typer

from volt import api
from volt.cli.candidates import living_name
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Json

UNKNOWN = 2  # nothing could be compared
Which = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PID",
        help="The workload's name, or any process of it.",
        show_default=False,
        autocompletion=living_name,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Show what holds too, point by point.")]


@failing(UNKNOWN)
def audit(which: Which, all_: All = False, json_: Json = False) -> int:
    """Compare the running workload NAME with the plan that it was started with: what holds, what does not.

    Ends with 0 when every point holds, with 1 when one does not, with 2 when it could not be compared.
    """
    found = api.audit(which)
    if json_:
        print(json.dumps(document(found), indent=2))
    else:
        show(found, sys.stdout, every=all_)
    return 0 if found.holds else FAILED


def document(found: api.Audit) -> dict[str, object]:
    """The JSON document, version 1."""
    points = [
        {"name": point.name, "planned": point.planned, "found": point.found, "holds": point.holds}
        for point in found.points
    ]
    return {"version": 1, "name": found.name, "run": found.run, "holds": found.holds, "points": points}


def show(found: api.Audit, stream: TextIO, *, every: bool) -> None:
    """A line for each point that does not hold, or for every one; then how many do."""
    for point in found.points:
        if not point.holds:
            words = f"does not hold  {point.name}: planned {point.planned}; found {point.found}"
        elif every:
            words = f"holds          {point.name}: {point.found}"
        else:
            continue
        print(printable(words), file=stream)
    holding = sum(point.holds for point in found.points)
    print(f"{found.name}: {holding} of {len(found.points)} points hold", file=stream)
