"""Failures, shown once: for people on standard error, for programs as JSON on standard output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

from volt.cli.findings import document, printable, render
from volt.errors import LaunchError, ManifestError, PolicyError, VoltError

RUN_FAILED = 125
FAILED = 1
BAD_MANIFEST = 2
READER_GONE = 141  # as SIGPIPE makes it: nothing more to say, and nothing to flush into
WITH_FINDINGS = (ManifestError, PolicyError)

P = ParamSpec("P")


def report(error: VoltError, *, as_json: bool = False) -> None:
    """Say what went wrong, where, and what to do next."""
    if as_json:
        print(json.dumps(failure(error), indent=2))
        return
    if isinstance(error, WITH_FINDINGS):
        print(render(error.findings), file=sys.stderr)
        return
    print(f"volt: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {printable(error.hint)}", file=sys.stderr)


def failure(error: VoltError) -> dict[str, Any]:
    """The JSON document of a failure, version 1."""
    if isinstance(error, WITH_FINDINGS):
        return document(error.findings)
    fields: dict[str, Any] = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, LaunchError) and error.outcome:
        fields |= {"step": error.outcome.step, "number": error.outcome.number}
    return {"version": 1, "error": fields}


def failing(status: int) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """A verb that reports its VoltError and ends with `status`, or with 2 for a bad manifest."""

    def decorate(verb: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(verb)
        def guarded(*args: P.args, **options: P.kwargs) -> int:
            try:
                return verb(*args, **options)
            except VoltError as error:
                report(error, as_json=bool(options.get("json_")))
                bad_manifest = isinstance(error, ManifestError) and status != RUN_FAILED
                return BAD_MANIFEST if bad_manifest else status
            except BrokenPipeError:  # before click, which makes it 1
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return READER_GONE

        return guarded

    return decorate
