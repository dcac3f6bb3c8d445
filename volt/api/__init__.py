"""The one face of volt: load, validate, plan, launch, wait. The command line calls nothing else.

    from volt import api

    outcome = api.run("web.toml", command=["true"])
    with api.launch({"workload": {...}, ...}, stdout=api.PIPE) as run:
        print(run.stdout.read(), run.wait().status)

A manifest is given as the path of a file (str or Path), as `-` for standard input, as TOML bytes, or as
a Python mapping. Nothing here changes the calling process: launching happens in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from volt.api.lazy import LAZY
from volt.errors import (
    HostUnfit,
    LaunchError,
    ManifestError,
    NetworkError,
    NoSuchImage,
    NoSuchNetwork,
    NoSuchRun,
    PolicyError,
    RegistryError,
    SomeFailed,
    StateError,
    StoreError,
    VoltError,
)

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from volt.api.attaching import Attachment, attach
    from volt.api.auditing import audit
    from volt.api.becoming import become
    from volt.api.clearing import collect_networks, remove_network
    from volt.api.committing import commit
    from volt.api.comparing import Diff, diff
    from volt.api.copying import copy_in, copy_out
    from volt.api.detaching import detach
    from volt.api.ending import gc, restart, rm
    from volt.api.examining import doctor
    from volt.api.executing import Execution, execute
    from volt.api.generating import systemd_template, systemd_unit
    from volt.api.imaging import (
        collect_store,
        export_image,
        image,
        image_changes,
        image_users,
        images,
        import_image,
        remove_image,
        store_usage,
        tag_image,
    )
    from volt.api.keeping import add_manifest, added_manifests, remove_manifest
    from volt.api.learning import learn
    from volt.api.life import inspect, kill, pause, ps, stop, unpause, wait
    from volt.api.networking import create_network, network, networks
    from volt.api.planning import Source, Stream
    from volt.api.pulling import log_in, log_out, pull_image
    from volt.api.pushing import Pushed, push_image
    from volt.api.reading_logs import logs
    from volt.api.sharing import pull_manifest, push_manifest
    from volt.api.showing import lock, show
    from volt.api.trusting import image_signers
    from volt.api.updating import update
    from volt.api.verifying import verify_store
    from volt.api.watching import stats, top
    from volt.host.settings import span
    from volt.images.records import Image
    from volt.launch.running import Run
    from volt.manifest import Resolved, Shown, encode, from_json, load_file, parse, schema, to_json
    from volt.model.audit import Audit
    from volt.model.copied import Copied, LeftOut
    from volt.model.diff import Change
    from volt.model.doctor import Check
    from volt.model.explanation import Explanation
    from volt.model.facts import Call
    from volt.model.findings import Finding
    from volt.model.learned import Learned
    from volt.model.log import LogPiece
    from volt.model.manifest import Manifest
    from volt.model.networks import Changed, Joined, Network, RemovedNetwork
    from volt.model.plan import LaunchPlan
    from volt.model.run import Cleared, Outcome, Removed, Rubbish, Runs, RunState
    from volt.model.usage import RunProcess, RunProcesses, Usage
    from volt.runs.logs import Log
    from volt.store.collect import Collected
    from volt.store.manifests import Added
    from volt.store.usage import StoreUsage, TreeUsage
    from volt.store.verify import Damage, Verified

__all__ = [
    "DEVNULL",
    "PIPE",
    "Added",
    "Attachment",
    "Audit",
    "Call",
    "Change",
    "Changed",
    "Check",
    "Cleared",
    "Collected",
    "Copied",
    "Damage",
    "Diff",
    "Execution",
    "Explanation",
    "Finding",
    "HostUnfit",
    "Image",
    "Joined",
    "LaunchError",
    "LaunchPlan",
    "Learned",
    "LeftOut",
    "Log",
    "LogPiece",
    "Manifest",
    "ManifestError",
    "Network",
    "NetworkError",
    "NoSuchImage",
    "NoSuchNetwork",
    "NoSuchRun",
    "Outcome",
    "PolicyError",
    "Pushed",
    "RegistryError",
    "Removed",
    "RemovedNetwork",
    "Resolved",
    "Rubbish",
    "Run",
    "RunProcess",
    "RunProcesses",
    "RunState",
    "Runs",
    "Shown",
    "SomeFailed",
    "StateError",
    "StoreError",
    "StoreUsage",
    "TreeUsage",
    "Usage",
    "Verified",
    "VoltError",
    "add_manifest",
    "added_manifests",
    "attach",
    "audit",
    "become",
    "collect_networks",
    "collect_store",
    "commit",
    "copy_in",
    "copy_out",
    "create_network",
    "detach",
    "diff",
    "doctor",
    "encode",
    "execute",
    "explain",
    "export_image",
    "from_json",
    "gc",
    "image",
    "image_changes",
    "image_signers",
    "image_users",
    "images",
    "import_image",
    "inspect",
    "kill",
    "launch",
    "learn",
    "load_file",
    "lock",
    "log_in",
    "log_out",
    "logs",
    "network",
    "networks",
    "parse",
    "pause",
    "plan",
    "ps",
    "pull_image",
    "pull_manifest",
    "push_image",
    "push_manifest",
    "remove_image",
    "remove_manifest",
    "remove_network",
    "resolve",
    "restart",
    "rm",
    "run",
    "schema",
    "show",
    "span",
    "stats",
    "stop",
    "store_usage",
    "sweep",
    "systemd_template",
    "systemd_unit",
    "tag_image",
    "to_json",
    "top",
    "unpause",
    "update",
    "validate",
    "verify_store",
    "wait",
]

VOLT_FAILED = 125

# subprocess.PIPE and subprocess.DEVNULL, whose import a launch can do without.
PIPE = -1
DEVNULL = -3


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'volt.api' has no attribute '{name}'")
    return getattr(import_module(LAZY[name]), name)


def resolve(
    manifest: Source, *, variables: Mapping[str, str] | None = None, base: str | Path | None = None
) -> Resolved:
    """The manifest with its bases and variables applied, its workload if it has no errors, and its findings.

    `base` is the folder that relative paths belong to where there is no file. Raises nothing for what is
    wrong in the manifest: that is a finding.
    """
    from volt.api.planning import resolved

    return resolved(manifest, variables, base, None)


def validate(manifests: Sequence[Source], *, variables: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """Every finding of every manifest, errors and notes, in the order given."""
    return tuple(finding for one in manifests for finding in resolve(one, variables=variables).findings)


def plan(
    manifest: Source,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    call: Call | None = None,
) -> LaunchPlan:
    """What a launch would do here, decided and not done. Raises ManifestError, HostUnfit."""
    from volt.api.planning import planned
    from volt.model.facts import Call

    return planned(manifest, variables, base, call or Call())[0]


def explain(
    manifest: Source,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    call: Call | None = None,
) -> Explanation:
    """What a launch here would give the workload, in sentences that follow from its plan, each with the walls by
    which it holds and with what a program can check. Raises ManifestError, HostUnfit."""
    from volt.api.explaining import explained
    from volt.api.planning import planned
    from volt.model.facts import Call

    return explained(*planned(manifest, variables, base, call or Call()))


def launch(
    manifest: Source,
    *,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    fresh: bool = False,
    waived: Sequence[str] = (),
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    timeout: float | None = None,
) -> Run:
    """Start a workload in a process of its own and return at once.

    The streams are descriptors, PIPE, DEVNULL, or None for this process's own; terminals become terminals inside.
    `waived` are sections ("resources") whose fields may stay unenforced. `timeout` in seconds ends the run, as
    cancelling it does. Raises ManifestError, HostUnfit, LaunchError.
    """
    from volt.api.planning import asked, terminals
    from volt.launch.running import Run

    sweep()
    (report, report_write), (lifeline_read, lifeline) = os.pipe(), os.pipe()
    ends = {"report": report_write, "lifeline": lifeline_read}
    call = asked(command, env, fresh, waived, timeout, terminal=terminals(stdin, stdout, stderr), **ends)
    try:
        name, process = _spawn(manifest, variables, base, call, (stdin, stdout, stderr))
    except BaseException:
        _close(report, lifeline)
        raise
    finally:
        _close(report_write, lifeline_read)
    return Run(name, process, report, lifeline)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _spawn(
    manifest: Source,
    variables: Mapping[str, str] | None,
    base: str | Path | None,
    call: Call,
    stdio: tuple[Stream, Stream, Stream],
) -> tuple[str, subprocess.Popen[bytes]]:
    """The workload's name, and the static program at work on its plan."""
    from volt.api.planning import planned, require
    from volt.launch import handover

    made, facts = planned(manifest, variables, base, call)
    require(facts)
    keep = [number for number in (call.report, call.lifeline) if isinstance(number, int)]
    try:
        return made.name, handover.spawn(facts.program, made, stdio, keep)
    except OSError as error:
        raise LaunchError(f"the static program cannot be started: {error}") from error


def run(manifest: Source, **options: Any) -> Outcome:
    """Launch and wait, with the options of `launch`. Raises LaunchError when volt itself fails."""
    with launch(manifest, **options) as started:
        outcome = started.wait()
    if outcome.by == "volt" and outcome.status == VOLT_FAILED:
        raise LaunchError(outcome.message, hint=outcome.hint, outcome=outcome)
    return outcome


def sweep() -> tuple[str, ...]:
    """Remove what crashed runs left behind; what could not be removed or understood, in words."""
    from volt.host.facts import folders
    from volt.runs.sweep import sweep as sweep_runs

    return tuple(sweep_runs(folders()).problems)
