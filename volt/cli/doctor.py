"""volt doctor: what this machine can and cannot do, and what would mend it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TextIO

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.options import Json

STYLES = {"ok": "green", "degraded": "yellow", "missing": "bold red"}
PIPE_WIDTH = 160  # off a terminal nothing says how wide a line may be


@failing(FAILED)
def doctor(json_: Json = False) -> int:
    """Say what this machine has for volt, what it lacks, and which command mends that.

    Ends with 1 when something is missing without which nothing can be launched.
    """
    checks = api.doctor()
    if json_:
        print(json.dumps(document(checks), indent=2))
    else:
        show(checks, sys.stdout)
    return FAILED if any(check.state == "missing" for check in checks) else 0


def document(checks: Sequence[api.Check]) -> dict[str, object]:
    """The JSON document, version 1."""
    return {"version": 1, "checks": [dataclasses.asdict(check) for check in checks]}


def show(checks: Sequence[api.Check], stream: TextIO) -> None:
    """A table, and below it the commands, each on a line of its own to be copied."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)
    table = Table("", "", "found", "needed for", box=None, pad_edge=False, header_style="bold")
    for check in checks:
        table.add_row(Text(check.state, STYLES[check.state]), *map(Text, (check.name, check.found, check.needed)))
    console.print(table)
    mends = {check.name: check.mend for check in checks if check.mend}
    if mends:
        console.print()
    for name, mend in mends.items():
        console.print(Text(f"{name}: {mend}"), soft_wrap=True)
