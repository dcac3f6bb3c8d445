"""volt plan: the launch plan, printed and not performed."""

from __future__ import annotations

import json

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.options import (
    Command,
    DetachRun,
    Env,
    File,
    Fresh,
    Json,
    OutcomeFile,
    RemoveAfter,
    RunName,
    Unenforced,
    Variables,
)
from volt.cli.words import call_of, pairs, request_of


@failing(FAILED)
def plan(
    file: File,
    command: Command = None,
    set_: Variables = None,
    env: Env = None,
    fresh: Fresh = False,
    outcome: OutcomeFile = None,
    allow_unenforced: Unenforced = None,
    detach: DetachRun = False,
    rm: RemoveAfter = False,
    name: RunName = None,
    json_: Json = False,
) -> int:
    """Print what `volt run` would do here, step by step. Needs no root and changes nothing."""
    more = {"fresh": fresh, "outcome": outcome, "detach": detach, "rm": rm, "name": name}
    request = request_of(file, command, set_, env, allow_unenforced, **more)
    made = api.plan(file, variables=pairs(set_, "--set"), call=call_of(request))
    print(json.dumps(made.document(), indent=2) if json_ else str(made), end="\n" if json_ else "")
    return 0
