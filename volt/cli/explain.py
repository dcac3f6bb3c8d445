"""volt explain: what a manifest is about to be given, in plain words."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TextIO

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Command, DetachRun, Env, File, Fresh, Json, Unenforced, Variables
from volt.cli.words import call_of, pairs, request_of

WIDTH = 110
BULLET = "  - "


@failing(FAILED)
def explain(
    file: File,
    command: Command = None,
    set_: Variables = None,
    env: Env = None,
    fresh: Fresh = False,
    allow_unenforced: Unenforced = None,
    detach: DetachRun = False,
    json_: Json = False,
) -> int:
    """Say in plain words what the workload may read, write, execute, bind and connect to, which system calls and
    capabilities it has, what it shares with the host, and by which walls that holds, in [brackets].

    Every sentence follows from the plan that `volt plan` prints. Needs no root and changes nothing.
    """
    request = request_of(file, command, set_, env, allow_unenforced, fresh=fresh, detach=detach)
    said = api.explain(file, variables=pairs(set_, "--set"), call=call_of(request))
    if json_:
        print(json.dumps(said.document(), indent=2))
    else:
        show(said, sys.stdout)
    return 0


def show(said: api.Explanation, stream: TextIO) -> None:
    """Sections with a sentence on each point."""
    width = min(WIDTH, shutil.get_terminal_size().columns) if stream.isatty() else WIDTH
    print(f"{said.name}, in {said.mode} mode", file=stream)
    for section in said.sections:
        print(f"\n{section.title}", file=stream)
        for one in section.statements:
            walls = f" [{', '.join(one.walls)}]" if one.walls else ""
            indent = " " * len(BULLET)
            print(
                textwrap.fill(
                    printable(one.text + walls),
                    width,
                    initial_indent=BULLET,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                ),
                file=stream,
            )
