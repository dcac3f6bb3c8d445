"""volt stop: end workloads."""

from __future__ import annotations

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.naming import All, Ignore, SomeNames, StopTimeout, tell
from volt.cli.options import Json


@failing(FAILED)
def stop(
    names: SomeNames = None, all_: All = False, timeout: StopTimeout = None, ignore: Ignore = False, json_: Json = False
) -> int:
    """End workloads: their stop signal, SIGTERM by default; when the time is up SIGKILL. All of them at once.

    Returns when they have ended, and prints their names. One that has ended already stays as it is.
    """
    return tell(lambda: api.stop(*names or (), every=all_, timeout=timeout, ignore=ignore), json_=json_)
