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
from volt.cli.words import Request, call_of, pairs


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
    request = Request(
        file,
        command=tuple(command or ()),
        variables=tuple(set_ or ()),
        env=tuple(env or ()),
        fresh=fresh,
        outcome=outcome,
        waived=tuple(allow_unenforced or ()),
        detach=detach,
        rm=rm,
        name=name,
    )
    made = api.plan(file, variables=pairs(set_, "--set"), call=call_of(request))
    print(json.dumps(made.document(), indent=2) if json_ else str(made), end="\n" if json_ else "")
    return 0
