"""volt run: launch a workload in the foreground, in the place of this process."""

from __future__ import annotations

from volt.cli.launching import launch
from volt.cli.options import (
    Command,
    DetachRun,
    Env,
    File,
    Fresh,
    InputOpen,
    Labels,
    OutcomeFile,
    Pull,
    RemoveAfter,
    RunName,
    Terminal,
    TimeLimit,
    Unenforced,
    Unit,
    UnitKeeps,
    Variables,
)
from volt.cli.words import request_of


def run(
    file: File,
    command: Command = None,
    set_: Variables = None,
    env: Env = None,
    fresh: Fresh = False,
    outcome: OutcomeFile = None,
    allow_unenforced: Unenforced = None,
    detach: DetachRun = False,
    rm: RemoveAfter = False,
    interactive: InputOpen = False,
    tty: Terminal = False,
    name: RunName = None,
    label: Labels = None,
    timeout: TimeLimit = None,
    pull: Pull = "missing",
    unit: Unit = "",
    unit_keeps: UnitKeeps = None,
) -> int:
    """Launch the workload of FILE and wait for it, or with --detach until it has started; where service.ready
    tells, until it is ready.

    Ends with the command's own status; 128 + n when signal n ended it; 127 when it is not found, 126 when
    it cannot be executed; 125 for every failure of volt's own.
    """
    request = request_of(
        file,
        command,
        set_,
        env,
        allow_unenforced,
        fresh=fresh,
        outcome=outcome,
        detach=detach,
        rm=rm,
        interactive=interactive,
        tty=tty,
        name=name,
        labels=tuple(label or ()),
        timeout=timeout,
        pull=pull,
        unit=unit,
        keeps=tuple(unit_keeps or ()),
    )
    return launch(request)
