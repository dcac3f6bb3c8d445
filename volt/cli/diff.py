"""volt diff: what a workload has changed in its root."""

from __future__ import annotations

import json
import sys

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Json, Name

LETTERS = {"added": "A", "changed": "C", "deleted": "D"}


@failing(FAILED)
def diff(name: Name, json_: Json = False) -> int:
    """Print what the workload NAME has changed in its root: A added, C changed, D deleted.

    Of one that runs, or of the writable layer that is kept of it. Ends with 1 where not all could be looked at.
    """
    with api.diff(name) as found:
        if json_:
            _print_json(found)
        else:
            for change in found:
                print(LETTERS[change.kind], printable(change.path))
            for problem in found.problems:
                print(f"volt: {printable(problem)}", file=sys.stderr)
    return FAILED if found.problems else 0


def _print_json(found: api.Diff) -> None:
    """The JSON document, version 1, a change at a time: a payload may make as many as it likes."""
    print(f'{{"version": 1, "name": {json.dumps(found.name)}, "changes": [', end="")
    comma = "\n"
    for change in found:
        print(f"{comma}  {json.dumps(document(change))}", end="")
        comma = ",\n"
    print(f'\n], "problems": {json.dumps(found.problems)}}}')


def document(change: api.Change) -> dict[str, object]:
    """One change as JSON values."""
    return {
        "kind": change.kind,
        "path": change.path,
        "form": change.form or None,
        "opaque": change.opaque,
        "moved_from": change.moved_from or None,
    }
