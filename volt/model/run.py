"""What a run leaves to be read: its outcome."""

from __future__ import annotations

from typing import Literal

from volt.model.values import Value


class Outcome(Value):
    """How a run ended, as the static program reports it (`--outcome FILE`, version 1).

    `by` says whose status it is. The payload's: `status` is its exit code, or 128 + `signal`.
    volt's own: `status` is 125, `step` names the step that failed and `message` the cause.
    `ended` says why volt ended a payload: its time limit passed, or its caller cancelled or went away.
    """

    by: Literal["payload", "volt"]
    status: int
    signal: int | None = None
    step: str | None = None
    number: int | None = None
    error: str | None = None
    message: str = ""
    hint: str = ""
    undone: bool = True
    ended: Literal["time-limit", "cancelled"] | None = None
