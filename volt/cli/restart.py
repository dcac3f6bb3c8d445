"""volt restart: stop workloads, and launch the same again."""

from __future__ import annotations

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import All, SomeNames, StopTimeout, tell
from volt.cli.options import Json


@failing(FAILED)
def restart(names: SomeNames = None, all_: All = False, timeout: StopTimeout = None, json_: Json = False) -> int:
    """Stop detached workloads and launch the same again, from their manifests as these are now.

    The words of the first launch count again: variables, environment, command, name, labels. One that cannot be
    launched again is not stopped.
    """
    return tell(lambda: api.restart(*names or (), every=all_, timeout=timeout), json_=json_)
