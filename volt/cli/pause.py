"""volt pause and volt unpause: stop workloads where they are, and let them go on."""

from __future__ import annotations

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import All, SomeNames, tell
from volt.cli.options import Json


@failing(FAILED)
def pause(names: SomeNames = None, all_: All = False, json_: Json = False) -> int:
    """Freeze every process of the workloads where it is, until unpause."""
    return tell(lambda: api.pause(*names or (), every=all_), json_=json_)


@failing(FAILED)
def unpause(names: SomeNames = None, all_: All = False, json_: Json = False) -> int:
    """Let paused workloads go on."""
    return tell(lambda: api.unpause(*names or (), every=all_), json_=json_)
