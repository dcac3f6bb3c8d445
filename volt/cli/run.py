"""volt run: launch a workload in the foreground, in the place of this process."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from volt import api
from volt.cli.failure import RUN_FAILED, failing
from volt.cli.options import Command, Env, File, Fresh, OutcomeFile, Variables, call_of, pairs
from volt.errors import VoltError


@failing(RUN_FAILED)
def run(
    file: File,
    command: Command = None,
    set_: Variables = None,
    env: Env = None,
    fresh: Fresh = False,
    outcome: OutcomeFile = None,
) -> int:
    """Launch the workload of FILE and wait for it.

    Ends with the command's own status; 128 + n when signal n ended it; 127 when it is not found, 126 when
    it cannot be executed; 125 for every failure of volt's own.
    """
    try:
        api.become(file, variables=pairs(set_, "--set"), call=call_of(command, env, fresh, outcome))
    except VoltError as error:
        if outcome is not None:
            write_outcome(outcome, error)
        raise


def write_outcome(path: str, error: VoltError) -> None:
    """The outcome of a launch that failed before the static program began. Raises VoltError."""
    failed = api.Outcome(by="volt", status=RUN_FAILED, message=error.message, hint=error.hint)
    document = json.dumps({"version": 1, **dataclasses.asdict(failed)}) + "\n"
    temporary = f"{path}.{os.getpid()}"
    try:
        Path(temporary).write_text(document)
        Path(temporary).replace(path)
    except OSError as problem:
        raise VoltError(f"the outcome cannot be written: {problem}") from error
