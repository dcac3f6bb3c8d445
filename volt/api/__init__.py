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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from volt.api.planning import Source, Stream, planned, require, resolved, terminals
from volt.api.policy import machine_policy, policy_check
from volt.errors import HostUnfit, LaunchError, ManifestError, PolicyError, StateError, VoltError
from volt.model.facts import Call
from volt.model.findings import Finding
from volt.model.plan import LaunchPlan
from volt.model.run import Outcome

if TYPE_CHECKING:
    import subprocess

    from volt.api.learning import learn
    from volt.launch.running import Run
    from volt.manifest import Resolved, Shown, encode, from_json, load_file, parse, to_json
    from volt.model.audit import Audit
    from volt.model.doctor import Check
    from volt.model.explanation import Explanation
    from volt.model.learned import Learned
    from volt.model.manifest import Manifest

__all__ = [
    "DEVNULL",
    "PIPE",
    "Audit",
    "Call",
    "Check",
    "Explanation",
    "Finding",
    "HostUnfit",
    "LaunchError",
    "LaunchPlan",
    "Learned",
    "Manifest",
    "ManifestError",
    "Outcome",
    "PolicyError",
    "Resolved",
    "Run",
    "Shown",
    "StateError",
    "VoltError",
    "audit",
    "become",
    "doctor",
    "encode",
    "explain",
    "from_json",
    "launch",
    "learn",
    "load_file",
    "parse",
    "plan",
    "resolve",
    "run",
    "schema",
    "show",
    "sweep",
    "to_json",
    "update",
    "validate",
]

VOLT_FAILED = 125
STDIN = "-"
PYTHON_ENTRY = "volt-python"  # what an installed `volt` starts

# subprocess.PIPE and subprocess.DEVNULL, whose import a launch can do without.
PIPE = -1
DEVNULL = -3

# Names that cost their import only when they are used: a launch needs none of them.
LAZY: Mapping[str, str] = {
    "Audit": "volt.model.audit",
    "Check": "volt.model.doctor",
    "Explanation": "volt.model.explanation",
    "Learned": "volt.model.learned",
    "learn": "volt.api.learning",
    "Run": "volt.launch.running",
    "Manifest": "volt.model.manifest",
    **dict.fromkeys(("Resolved", "Shown", "encode", "from_json", "load_file", "parse", "to_json"), "volt.manifest"),
}


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
    return resolved(manifest, variables, base, None)


def validate(manifests: Sequence[Source], *, variables: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """Every finding of every manifest, errors and notes, in the order given."""
    return tuple(finding for one in manifests for finding in resolve(one, variables=variables).findings)


def show(manifest: Source, *, variables: Mapping[str, str] | None = None, base: str | Path | None = None) -> Shown:
    """The workload as a manifest that stands by itself, with the place of each value. Raises ManifestError."""
    from volt.manifest import show as shown

    read = resolve(manifest, variables=variables, base=base)
    if read.workload is None:
        raise ManifestError(read.findings)
    return shown(read)


def schema() -> dict[str, Any]:
    """The JSON Schema of the manifest, complete from the start."""
    from volt.manifest import schema as manifest_schema

    return manifest_schema()


def plan(
    manifest: Source,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    call: Call | None = None,
) -> LaunchPlan:
    """What a launch would do here, decided and not done. Raises ManifestError, HostUnfit."""
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

    The streams are descriptors, PIPE, DEVNULL, or None for this process's own; those that are terminals become
    terminals inside. `waived` are sections ("resources") whose fields may stay unenforced. `timeout`
    in seconds ends the run, as cancelling it does. Raises ManifestError, HostUnfit, LaunchError.
    """
    from volt.launch.running import Run

    sweep()
    report, report_write = os.pipe()
    lifeline_read, lifeline = os.pipe()
    call = Call(
        command=tuple(command),
        env=tuple((env or {}).items()),
        fresh=fresh,
        waived=tuple(waived),
        terminal=terminals(stdin, stdout, stderr),
        term=os.environ.get("TERM", ""),
        report=report_write,
        lifeline=lifeline_read,
        time_limit=None if timeout is None else max(1, int(timeout * 1000)),
    )
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


def become(
    manifest: Source,
    *,
    variables: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    call: Call | None = None,
    words: Sequence[str] | None = None,
) -> NoReturn:
    """Launch in the place of this process, on its standard streams: what `volt run` does.

    `words` is the whole command line that asks for this launch, the program first: the plan is kept for it, and
    the same words are answered without Python as long as nothing has changed that the plan was made from. Raises
    ManifestError, HostUnfit, LaunchError; does not return.
    """
    from volt.host.facts import folders
    from volt.host.watch import Watch, watch_code
    from volt.launch import handover
    from volt.launch.cache import open_cache
    from volt.model.binary import encode
    from volt.model.values import replace

    sweep()
    wanted = call or Call()
    wanted = replace(wanted, terminal=terminals(0, 1, 2), term=os.environ.get("TERM", ""))
    cache = open_cache(folders()) if words and manifest != STDIN else None
    keeping = (Watch(cache.key), cache) if cache else None
    made, facts = planned(manifest, variables, base, wanted, keeping)
    require(facts)
    plan = encode(made)
    if keeping:
        watch, cache = keeping
        watch_code(watch)
        if watch.certain:
            cache.keep(_question(words or (), wanted, facts.program), watch.dependencies(), plan)
    try:
        handover.become(facts.program, plan)
    except OSError as error:
        raise LaunchError(f"the static program cannot be started: {error}") from error


def _question(words: Sequence[str], call: Call, program: str) -> bytes:
    """The command line as the static program asks for its plan: it lies beside `volt-python`, or in the package."""
    from volt.host.facts import folders
    from volt.model.entry import question

    started = Path(words[0] if Path(words[0]).name == PYTHON_ENTRY else program)
    return question(
        [os.fsencode(word) for word in words[1:]],
        program=os.fsencode(started.parent.resolve()),
        path=os.environb.get(b"PYTHONPATH", b""),
        folder=os.fsencode(Path.cwd()),
        root=os.fsencode(folders().root),
        terminal=call.terminal,
        term=os.environb.get(b"TERM", b""),
    )


def sweep() -> tuple[str, ...]:
    """Remove what crashed runs left behind; what could not be removed or understood, in words."""
    from volt.host.facts import folders
    from volt.runs.sweep import sweep as sweep_runs

    return tuple(sweep_runs(folders()).problems)


def doctor() -> tuple[Check, ...]:
    """What this machine can and cannot do for what is built so far."""
    from volt.host.doctor import examine
    from volt.host.facts import folders, probe_machine

    return (*examine(probe_machine(folders())), policy_check())


def audit(workload: str | int) -> Audit:
    """Compare a running workload with the plan that it was started with, point by point: by its name, or by the number
    of any of its processes.

    Raises StateError when no such workload runs, or its plan cannot be read or tried, HostUnfit without root.
    """
    from volt.api.auditing import audit as compare

    return compare(workload)


def update(name: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Give the running workload `name` new limits, all of them or none; the values are written as in [resources],
    or "none" to lift one. Every limit as the kernel has it then, in its own units.

    Raises ManifestError for a value that is none, beyond the policy, or not to go with what is held, StateError when
    no such workload runs, VoltError when the kernel or systemd refuses.
    """
    from volt.host.facts import folders, probe_machine
    from volt.plan.bounds import check_resources
    from volt.plan.update import changes, check_memory, parts
    from volt.runs.limits import change_limits, read_limits
    from volt.runs.sweep import running

    policy = machine_policy()
    document, lifted = parts(name, wanted)
    read = resolve(document)
    if read.workload is None:
        raise ManifestError(read.findings)
    facts = probe_machine(folders())
    if not facts.root:
        raise HostUnfit("changing limits needs root", hint="run it with sudo")
    if policy and policy.policy:
        refused = check_resources(read.workload.resources, facts.memory, policy.policy, only=wanted)
        if findings := policy.locate(tuple(refused)):
            raise ManifestError(findings)
    record = running(facts.folders, name)
    wished = changes(read.workload.resources, lifted, facts, scope=bool(record.scope))
    check_memory(wished, read_limits(record))
    change_limits(record, wished)
    return read_limits(record)
