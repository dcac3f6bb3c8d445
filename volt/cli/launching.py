"""What `volt run` does once its words are read: launch in the place of this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from volt import api
from volt.cli.failure import RUN_FAILED, failing
from volt.cli.words import Request, call_of, pairs, read_run
from volt.errors import VoltError


def plain(words: Sequence[str]) -> int | None:
    """The exit status of `run` with these words; None for what is left to typer."""
    request = read_run(words)
    return None if request is None else launch(request)


@failing(RUN_FAILED)
def launch(request: Request) -> int:
    """Does not return where the launch begins; else 125, with the reason told."""
    try:
        variables = pairs(request.variables, "--set")
        api.become(request.file, variables=variables, call=call_of(request), words=sys.argv)
    except VoltError as error:
        if request.outcome is not None:
            write_outcome(request.outcome, error)
        raise


def write_outcome(path: str, error: VoltError) -> None:
    """The outcome of a launch that failed before the static program began. Raises VoltError."""
    from dataclasses import asdict

    failed = api.Outcome(by="volt", status=RUN_FAILED, message=error.message, hint=error.hint)
    document = json.dumps({"version": 1, **asdict(failed)}) + "\n"
    temporary = f"{path}.{os.getpid()}"
    try:
        Path(temporary).write_text(document)
        Path(temporary).replace(path)
    except OSError as problem:
        raise VoltError(f"the outcome cannot be written: {problem}") from error
