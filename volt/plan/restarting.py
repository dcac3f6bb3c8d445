"""Starting a payload anew that has ended, where no unit of systemd does: when, after which pauses, how often."""

from __future__ import annotations

from volt.model.facts import Call
from volt.model.policy import POLICY
from volt.model.signals import signal_number
from volt.model.sizes import Duration
from volt.model.steps import RestartBy, Step
from volt.model.text import Text, text
from volt.model.workload import Workload

PAUSE = Duration(1000)  # where service.restart_sec says nothing; systemd's own 100 ms wear its limit out at once
LONGEST = 60_000  # milliseconds that a pause grows to, as Docker's does
LASTED = 10_000  # … that a start has to last to be no failed one: systemd's StartLimitIntervalSec, Docker's too
# Pauses in a row, five minutes from the default on. systemd has five starts, at pauses that do not grow.
MOST = 10
TERM = 15


def kept_by_volt(call: Call) -> bool:
    """Whether this launch stays to keep service.restart: its caller has gone, and no unit is there."""
    return call.detach and not call.unit


def restarted(workload: Workload, call: Call) -> str:
    """The policy that volt itself keeps of this run: "on-failure", "always", or "" for none."""
    policy = workload.service.restart or "no"
    return policy if policy != "no" and kept_by_volt(call) else ""


def restart_steps(workload: Workload, call: Call, folder: Text) -> tuple[Step, ...]:
    """The supervisor's step; `folder` is the run's own."""
    policy = restarted(workload, call)
    if not policy:
        return ()
    first = (workload.service.restart_sec or PAUSE).milliseconds
    return (
        RestartBy(
            folder=folder,
            always=policy == "always",
            clean=tuple(text(str(status)) for status in clean_statuses(workload)),
            pauses=tuple(text(str(pause)) for pause in pauses(first)),
            lasted=LASTED,
            policy=text(POLICY),
            note=f"service.restart = {policy}",
        ),
    )


def pauses(first: int) -> tuple[int, ...]:
    """What is waited before each start of a row, in milliseconds: twice as long each time, up to the longest or to the
    first, if that is longer."""
    return tuple(min(first << n, max(first, LONGEST)) for n in range(MOST))


def clean_statuses(workload: Workload) -> tuple[int, ...]:
    """With which a payload has not failed: as in a unit, to have ended by the signal that asks for it is no failure."""
    return (0, *ended_as_asked(workload))


def ended_as_asked(workload: Workload | None) -> tuple[int, ...]:
    """The statuses of one that has ended by SIGTERM or by the signal of its manifest; of any, by SIGTERM."""
    stop = signal_number(workload.service.stop_signal or "TERM") if workload else TERM
    return tuple(sorted({128 + TERM, 128 + stop}))
