"""Starting a workload that outlives its caller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from volt import api
from volt.api.planning import Source, asked, planned, require
from volt.errors import LaunchError
from volt.launch import handover
from volt.launch.running import OUTCOME_LIMIT
from volt.model.facts import Call
from volt.model.plan import LaunchPlan
from volt.model.run import read_outcome
from volt.model.values import replace

ALL = 0b111  # the three standard descriptors


def detach(
    manifest: Source,
    *,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    fresh: bool = False,
    waived: Sequence[str] = (),
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    rm: bool = False,
    interactive: bool = False,
    terminal: bool = False,
    timeout: float | None = None,
) -> str:
    """Start a workload, and return its run's id when the exec of its command has succeeded, or with service.ready when
    it is ready: `volt run --detach`. One that is not ready in time is ended, and one that ends before has failed.

    It writes into a log; record, outcome and log stay after its end, unless `rm`: then nothing does, of what it has
    written either. `name` comes before workload.name, `labels` join workload.labels. `timeout` in seconds ends it.
    Raises ManifestError, HostUnfit, LaunchError.
    """
    call = detached_call(
        command=command,
        env=env,
        fresh=fresh,
        waived=waived,
        name=name,
        labels=labels,
        rm=rm,
        interactive=interactive,
        terminal=terminal,
        timeout=timeout,
    )
    return _launch(manifest, variables, base, call)


def detached_call(
    *,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    fresh: bool = False,
    waived: Sequence[str] = (),
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    rm: bool = False,
    interactive: bool = False,
    terminal: bool = False,
    timeout: float | None = None,
) -> Call:
    """What `detach` adds to the manifest, with its options."""
    return asked(
        command,
        env,
        fresh,
        waived,
        timeout,
        detach=True,
        keep=not rm,
        discard=rm,
        interactive=interactive,
        terminal=ALL if terminal else 0,
        name=name,
        labels=tuple((labels or {}).items()),
    )


def _launch(manifest: Source, variables: Mapping[str, str] | None, base: str | Path | None, call: Call) -> str:
    api.sweep()
    report, report_write = os.pipe()
    try:
        made, facts = planned(manifest, variables, base, replace(call, report=report_write))
        require(facts)
        process = _spawn(facts.program, made, report_write)
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(report_write)
    with open(report, "rb") as file:  # noqa: PTH123 (a descriptor)
        return _started(made.name, process, file)


def _spawn(program: str, made: LaunchPlan, report: int) -> subprocess.Popen[bytes]:
    try:
        stdio = (subprocess.DEVNULL, subprocess.PIPE, subprocess.DEVNULL)
        return handover.spawn(program, made, stdio, (report,))
    except OSError as error:
        raise LaunchError(f"the static program cannot be started: {error}") from error


def _started(name: str, process: subprocess.Popen[bytes], report: IO[bytes]) -> str:
    """The run's id, when it runs. Raises LaunchError with the outcome of a launch that failed."""
    printed, _ = process.communicate()
    if process.returncode == 0:
        return printed.decode().strip()
    try:
        outcome = read_outcome(report.read(OUTCOME_LIMIT))
    except ValueError as error:
        raise LaunchError(f"the supervisor of '{name}' has ended without a report") from error
    raise LaunchError(outcome.message, hint=outcome.hint, outcome=outcome)
