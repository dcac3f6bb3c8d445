"""volt show: the resolved workload, and where each of its values was written."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import document, render
from volt.cli.options import File, Json, Variables
from volt.cli.words import pairs

Origin = Annotated[bool, typer.Option("--origin", help="Name the file and line of each value.")]


@failing(FAILED)
def show(file: File, set_: Variables = None, origin: Origin = False, json_: Json = False) -> int:
    """Print the workload that FILE comes to: bases merged, variables replaced, paths absolute, defaults filled in.

    What is printed is a manifest again, which stands by itself and means the same.
    """
    shown = api.show(file, variables=pairs(set_, "--set"))
    if json_:
        print(json.dumps({**shown.document(), "notes": document(shown.notes)["findings"]}, indent=2))
        return 0
    print(shown.text(origins=origin), end="")
    if shown.notes:
        print(render(shown.notes), file=sys.stderr)
    return 0
