"""volt validate: every problem of every file, at once."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from volt import api
from volt.cli.candidates import manifest
from volt.cli.failure import BAD_MANIFEST, FAILED, failing
from volt.cli.findings import document, printable, render
from volt.cli.options import Json, Variables
from volt.cli.words import pairs

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...", help="Manifests; - for standard input.", show_default=False, autocompletion=manifest
    ),
]


@failing(FAILED)
def validate(files: Files, set_: Variables = None, json_: Json = False) -> int:
    """Report every problem of every FILE, with its place and what to write instead.

    Ends with 0 when no file has an error, with 2 when one has; notes are no errors.
    """
    variables = pairs(set_, "--set")
    findings = tuple(dict.fromkeys(f for file in files for f in api.validate([file], variables=variables)))
    errors = sum(finding.severity == "error" for finding in findings)
    if json_:
        print(json.dumps(document(findings), indent=2))
    elif findings:
        print(render(findings), file=sys.stderr)
    if not errors and not json_:
        print("no problems in " + printable(", ".join(files)))
    return BAD_MANIFEST if errors else 0
