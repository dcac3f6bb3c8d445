"""What a run leaves to be read: its outcome."""

from __future__ import annotations

from typing import Literal

from volt.model.values import Value


class Events(Value):
    """What a run's limits did. `oom_kills` are processes that were killed for want of memory, `memory_throttled`
    how often memory_soft slowed it down, `pids_refused` how often pids_max refused a process or thread. The stalls
    are microseconds in which something in it waited, Documentation/accounting/psi.rst."""

    oom_kills: int = 0
    memory_throttled: int = 0
    pids_refused: int = 0
    memory_stall: int = 0
    cpu_stall: int = 0
    io_stall: int = 0


class Outcome(Value):
    """How a run ended, as the static program reports it (`--outcome FILE`, version 1).

    `by` says whose status it is. The payload's: `status` is its exit code, or 128 + `signal`.
    volt's own: `status` is 125, `step` names the step that failed and `message` the cause.
    `ended` says why volt ended a payload: its time limit passed, or its caller cancelled or went away.
    `events` are there where the workload had limits; when one ended the payload, `message` says so.
    `skipped` are paths of the Landlock policy that were not there, or led over a link that a payload could have made.
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
    events: Events | None = None
    skipped: tuple[str, ...] = ()
