"""What `volt ps` does once its words are read, and a plain one's words: without typer, which takes longer than all."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Sequence

from volt.api.life import ps
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.states import document, table
from volt.model.run import Runs
from volt.model.values import Value, replace

EVERY = 1.0  # seconds between two looks
CLEAR = "\x1b[H\x1b[2J"  # the cursor home, and nothing on the screen: ECMA-48


class Listing(Value):
    """What `volt ps` was asked for."""

    ended: bool = False
    filters: tuple[str, ...] = ()
    quiet: bool = False
    watch: bool = False
    json_: bool = False


FLAGS = {
    "-a": "ended",
    "--all": "ended",
    "-q": "quiet",
    "--quiet": "quiet",
    "--watch": "watch",
    "--json": "json_",
}


def plain(words: Sequence[str]) -> int | None:
    """The exit status of `ps` with these words; None for what is left to typer, mistakes above all."""
    request = read_ps(words)
    return None if request is None else list_runs(request, json_=request.json_)


def read_ps(words: Sequence[str]) -> Listing | None:
    """The request in `ps [OPTION]...`, each option written out in full or by itself; None for anything else."""
    request, own = Listing(), iter(words[1:])
    for word in own:
        if word in FLAGS:
            request = replace(request, **{FLAGS[word]: True})
        elif word == "--filter":
            value = next(own, None)
            if value is None:
                return None
            request = replace(request, filters=(*request.filters, value))
        else:
            return None
    return request


@failing(FAILED)
def list_runs(request: Listing, *, json_: bool) -> int:  # noqa: ARG001 (how a failure is told)
    """Print the runs, with `watch` again and again until a signal ends it."""
    if request.watch:
        gc.enable()  # see volt/cli/__init__.py: this process stays
    while True:
        shown = _shown(ps(ended=request.ended, filters=request.filters), request)
        if not request.watch:
            print(shown, end="")
            return 0
        print(f"{CLEAR if sys.stdout.isatty() else ''}{shown}", end="", flush=True)
        time.sleep(EVERY)


def _shown(found: Runs, request: Listing) -> str:
    if request.json_:
        runs = [document(state) for state in found.runs]
        text = json.dumps({"version": 1, "runs": runs, "problems": found.problems}, indent=None if request.watch else 2)
        return f"{text}\n"
    for problem in found.problems:
        print(f"volt: {printable(problem)}", file=sys.stderr)
    if request.quiet:
        return "".join(f"{state.id}\n" for state in found.runs)
    return f"{table(found.runs)}\n"
