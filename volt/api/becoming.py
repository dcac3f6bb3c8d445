"""Launching in the place of the process that asks, and keeping the plan for whoever asks the same again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from volt.api import sweep
from volt.api.planning import Source, planned, question_of, require, shown_terminal
from volt.errors import LaunchError
from volt.host.facts import folders
from volt.host.sources import STDIN
from volt.host.watch import Watch, watch_code
from volt.launch import handover
from volt.launch.cache import open_cache
from volt.model.binary import encode
from volt.model.facts import Call
from volt.model.values import replace

if TYPE_CHECKING:
    from pathlib import Path


def become(
    manifest: Source,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    call: Call | None = None,
    words: Sequence[str] | None = None,
) -> NoReturn:
    """Launch in the place of this process, on its standard streams: what `volt run` does.

    `words` is the whole command line that asks for this launch, the program first: the plan is kept for it, and
    the same words are answered without Python as long as nothing has changed that the plan was made from. Raises
    ManifestError, HostUnfit, LaunchError; does not return.
    """
    sweep()
    wanted = call or Call()
    notified = "NOTIFY_SOCKET" in os.environ
    wanted = replace(wanted, terminal=shown_terminal(wanted), term=os.environ.get("TERM", ""), notified=notified)
    cache = open_cache(folders()) if words and manifest != STDIN else None
    keeping = (Watch(cache.key), cache) if cache else None
    made, facts = planned(manifest, variables, base, wanted, keeping)
    require(facts)
    plan = encode(made)
    if keeping:
        watch, cache = keeping
        watch_code(watch)
        if watch.certain:
            cache.keep(question_of(words or (), facts.program), watch.dependencies(), plan)
    try:
        handover.become(facts.program, plan)
    except OSError as error:
        raise LaunchError(f"the static program cannot be started: {error}") from error
