"""volt inspect: all that is known of runs."""

from __future__ import annotations

import json

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.naming import Names, tell
from volt.cli.options import Json
from volt.cli.states import document


@failing(FAILED)
def inspect(names: Names, json_: Json = False) -> int:
    """Print all that is known of runs: of a workload's name the one that lives, else the newest that was kept."""
    return tell(lambda: api.inspect(*names), json_=json_, line=_lines)


def _lines(state: api.RunState) -> str:
    """A line for each field that says something, values as JSON has them; a blank line after each run."""
    fields = {key: value for key, value in document(state).items() if value not in (None, "", (), {})}
    lines = (f"{key} = {printable(json.dumps(value, ensure_ascii=False))}" for key, value in fields.items())
    return "\n".join((*lines, ""))
