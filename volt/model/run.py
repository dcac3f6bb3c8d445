"""A run as it is read: its state while it lives and afterwards, and its outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from volt.model.values import Value, field, kinds

State = Literal["starting", "running", "paused", "restarting", "exited", "failed", "lost"]
STATES: tuple[State, ...] = ("starting", "running", "paused", "restarting", "exited", "failed", "lost")
LIVING: frozenset[State] = frozenset(("starting", "running", "paused", "restarting"))
# The outcome that volt writes in the place of a supervisor that was killed.
# Nobody was left to say how such a run ended.
LOST = "its supervisor was killed, and all of the run with it"
RESTARTED = "the machine was started anew while it ran"


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
    `ended` says why volt ended a payload: its time limit passed, its caller cancelled or went away, or it was not ready
    in time.
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
    ended: Literal["time-limit", "cancelled", "not-ready"] | None = None
    events: Events | None = None
    skipped: tuple[str, ...] = ()


def read_outcome(document: bytes) -> Outcome:
    """The static program's JSON report, version 1; what a newer volt added to it is left out. Raises ValueError for
    anything else."""
    return outcome_of(json.loads(document))


def outcome_of(fields: object) -> Outcome:
    """The same, read already. Raises ValueError."""
    if not isinstance(fields, dict) or fields.get("version") != 1:
        raise ValueError("the outcome is of another version")
    try:
        events = fields.pop("events", None)
        known = _known(Outcome, fields)
        known["skipped"] = tuple(known.get("skipped", ()))
        return Outcome(**known, events=None if events is None else Events(**_known(Events, events)))
    except TypeError as error:
        raise ValueError(f"the outcome is incomplete: {error}") from error


def _known(kind: type[Outcome | Events], fields: object) -> dict[str, Any]:
    """Those of its fields that are there. Raises TypeError for what has none at all."""
    if not isinstance(fields, dict):
        raise TypeError(f"{fields!r} is no {kind.__name__.lower()}")
    return {name: fields[name] for name in kinds(kind) if name in fields}


class RunState(Value):
    """One run, as `ps`, `inspect` and every other verb tell of it: table, JSON and Python alike.

    `state` is `running` or `paused` while it lives, and `starting` before that where `ready` names a sign of its
    readiness: `ready_since` is when that was seen, `waiting` why it has not been yet, `reports` what the payload said
    of itself last, STATUS= of sd_notify(3). `restart` is the policy by which volt itself starts it anew, `restarts` how
    often it has; between two starts it is `restarting`: `next_start`, seconds since the epoch, is when the pause is
    over, `last` how the start before it ended. Then it is `exited` by its payload, `failed` by volt, or `lost`: its
    supervisor was killed and left no outcome. `pid` is the supervisor's, 0 when it has ended; `payload` the payload's
    as the host counts, where it was looked for. `started` and `ended` are seconds since the epoch, `clock` is the
    supervisor's start in clock ticks since boot, `stop_timeout` is in milliseconds. `status`, `signal`, `message` and
    `outcome` are there when it has ended, as in Outcome. `address` and `address6` are its own on a bridge, else "";
    `ports` are the host's that lead to it, each as 0.0.0.0:8080->80/tcp or [::]:8080->80/tcp. `unit` is the unit of
    systemd whose workload it is: what ends or restarts it is asked of that.
    """

    id: str
    name: str
    mode: str
    state: State
    pid: int
    started: int
    clock: int = 0
    payload: int | None = None
    ended: int | None = None
    status: int | None = None
    signal: int | None = None
    message: str = ""
    command: tuple[str, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    unenforced: tuple[str, ...] = ()
    detached: bool = False
    kept: bool = False
    terminal: bool = False
    interactive: bool = False
    log: str = ""
    rootfs: str = ""
    cgroup: str = ""
    scope: str = ""
    unit: str = ""
    ready: str = ""
    ready_since: int | None = None
    waiting: str = ""
    reports: str = ""
    restart: str = ""
    restarts: int = 0
    next_start: int | None = None
    last: Outcome | None = None
    address: str = ""
    address6: str = ""
    ports: tuple[str, ...] = ()
    stop_signal: int = 15
    stop_timeout: int = 10000
    source: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in LIVING


class Runs(Value):
    """What runs, and has run and was kept: oldest first. `problems` say in words what could not be read."""

    runs: tuple[RunState, ...] = ()
    problems: tuple[str, ...] = ()


class Removed(Value):
    """What `rm` has removed of a workload: the ids of its finished runs with their logs, and its kept layer or not."""

    name: str
    runs: tuple[str, ...] = ()
    layer: bool = False


class Rubbish(Value):
    """Something that nothing needs any more, and why. `kind` is run, layer, claim, ended, aside, log or cgroup; `run`
    the id of the run it was of, "" for a claim."""

    kind: str
    path: str
    run: str
    why: str


class Cleared(Value):
    """What `gc` has removed, or would; `problems` say in words what could not be."""

    rubbish: tuple[Rubbish, ...] = ()
    problems: tuple[str, ...] = ()
