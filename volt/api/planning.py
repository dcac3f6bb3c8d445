"""From a manifest to a plan on this machine: where the rooms of volt are joined."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volt.api.landlock import located, policy_of
from volt.api.policy import machine_policy
from volt.errors import HostUnfit, ManifestError, VoltError
from volt.model.facts import Call, Facts, ImageFact, PullPolicy
from volt.model.modes import NetworkMode
from volt.model.plan import LaunchPlan

if TYPE_CHECKING:
    from volt.host.watch import Watch
    from volt.launch.cache import PlanCache
    from volt.manifest import Resolved
    from volt.model.filter import Filter
    from volt.model.networks import Definition
    from volt.model.workload import Workload

    # What a plan is made from is noted, and where it is kept.
    Keeping = tuple[Watch, PlanCache]

Source = str | Path | bytes | Mapping[str, Any]
Stream = int | None
PYTHON_ENTRY = "volt-python"  # what an installed `volt` starts


def resolved(
    manifest: Source, variables: Mapping[str, str] | None, base: str | Path | None, watch: Watch | None
) -> Resolved:
    """The manifest with its bases and variables applied; `watch` notes what is read. Its findings raise nothing."""
    from volt.host.sources import FileSources
    from volt.manifest import resolve as resolve_manifest

    source = str(manifest) if isinstance(manifest, Path) else manifest
    folder = None if base is None else str(base)
    return resolve_manifest(source, FileSources(watch, _stored), variables=variables or {}, base=folder)


def _stored(url: str) -> str:
    """The file of a manifest or a profile in the store. Raises OSError."""
    from volt.api.keeping import stored

    return stored(url)


def _file_of(profile: str) -> str:
    """Where a profile lies; one that is not in the store is told when it is read."""
    try:
        return _stored(profile) if profile.startswith("cas://") else profile
    except OSError:
        return profile


def planned(
    manifest: Source,
    variables: Mapping[str, str] | None,
    base: str | Path | None,
    call: Call,
    keeping: Keeping | None = None,
) -> tuple[LaunchPlan, Facts]:
    """The launch on this machine, and the facts that it was planned from; with `keeping`, all that was asked for it
    is noted. Raises ManifestError with places in the manifest, HostUnfit.
    """
    from volt.host.facts import folders, probe, probe_machine
    from volt.host.profiles import filter_paths, filter_profile
    from volt.host.watch import watch_facts, watch_found, watch_machine, watch_workload
    from volt.manifest import locate
    from volt.model.values import replace
    from volt.plan.assemble import make_plan
    from volt.plan.image import require_mountable

    watch = keeping[0] if keeping else None
    if watch:
        watch_machine(watch)
    policy = machine_policy()
    read = named(resolved(manifest, variables, base, watch), call)
    call = replace(call, origin=origin(manifest, variables, base, call)) if call.detach else call
    facts = replace(probe_machine(folders()), policy=policy.policy if policy else None)
    if read.workload is None or any(finding.severity == "error" for finding in read.findings):
        raise ManifestError(read.findings)
    filters = read.workload.security.seccomp_profile or "default"
    workload, image = pinned(read.workload, facts, watch, call.pull)
    if watch:
        watch_facts(watch, facts)
        files = (_file_of(filters),) if "/" in filters else filter_paths(filters, boots=workload.boots)
        watch_workload(watch, workload, facts, files, fresh=call.fresh)
    landlock, network = policy_of(workload, watch), defined(workload)
    require_mountable(replace(facts, image=image))
    found = probe(workload, replace(facts, image=image), network=network, fresh=call.fresh, place=_stored)
    facts = replace(found, landlock=landlock)
    text = facts.seccomp.text.encode() if facts.seccomp else filter_profile(filters, boots=workload.boots)
    watch_found(watch, facts)
    try:
        made = make_plan(workload, facts, call, lambda caps: _filter(text, caps, facts, keeping))
    except ManifestError as error:
        told = policy.locate(error.findings) if policy else error.findings
        raise ManifestError(locate(located(told, landlock) if landlock else told, read)) from None
    return made, facts


def pinned(
    workload: Workload, facts: Facts, watch: Watch | None, pull: PullPolicy
) -> tuple[Workload, ImageFact | None]:
    """The workload with its root by the digest of a tree, and that tree, where it names an image: by its name and
    version, which may be another tree's tomorrow, or by digest. Raises StoreError, RegistryError, HostUnfit without
    root."""
    root = workload.storage.rootfs or ""
    if workload.image is None and not root.startswith("cas://"):
        return workload, None
    from volt.api.pinning import pin

    return pin(workload, facts, watch, pull)


def defined(workload: Workload) -> Definition | None:
    """The network of this machine's own that a workload joins, None where it joins none, or one that is not known.
    Raises ManifestError with all that is wrong with its definition, StateError for one that cannot be read."""
    if workload.network.joined != NetworkMode.CUSTOM or not workload.network.name:
        return None
    from volt.api.networking import definition

    return definition(workload.network.name)


def asked(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    fresh: bool,
    waived: Sequence[str],
    timeout: float | None,
    **more: Any,
) -> Call:
    """A call as a program makes it; `timeout` in seconds. `more` are fields of a call."""
    return Call(
        command=tuple(command),
        env=tuple((env or {}).items()),
        fresh=fresh,
        waived=tuple(waived),
        term=os.environ.get("TERM", ""),
        time_limit=None if timeout is None else max(1, int(timeout * 1000)),
        **more,
    )


def named(read: Resolved, call: Call) -> Resolved:
    """The manifest with the name that the caller gives the workload. Raises VoltError for one that is none."""
    if call.name is None or read.workload is None:
        return read
    from volt.manifest.forms import label
    from volt.model.values import replace

    try:
        name = label(call.name)
    except ValueError as error:
        raise VoltError(f"--name: {error}", hint="write lower-case letters, digits and hyphens") from error
    return replace(read, workload=replace(read.workload, name=name))


def origin(manifest: Source, variables: Mapping[str, str] | None, base: str | Path | None, call: Call) -> str:
    """What it takes to launch the same again, as JSON. `file` is "" where the manifest was no file."""
    file = manifest if isinstance(manifest, (str, Path)) and manifest != "-" else ""
    known = {
        "file": str(Path(file).absolute()) if file else "",
        "base": "" if base is None else str(Path(base).absolute()),
        "set": dict(variables or {}),
        "env": dict(call.env),
        "command": list(call.command),
        "waived": list(call.waived),
        "name": call.name or "",
        "labels": dict(call.labels),
        "keep": call.keep,
        "discard": call.discard,
        "interactive": call.interactive,
        "terminal": bool(call.terminal),
        "time_limit": call.time_limit,
    }
    return json.dumps(known)


def _filter(text: bytes, capabilities: Sequence[str], facts: Facts, keeping: Keeping | None) -> Filter:
    """The filter that a profile's text makes: one that was kept, or one made now, and kept: making it takes longer
    than all other planning."""
    from volt.host.watch import Watch, watch_compiler
    from volt.model.entry import filter_question
    from volt.model.filter import Filter

    def make() -> Filter:
        from volt.plan.seccomp import filter_of

        return filter_of(text, capabilities, facts)

    if keeping is None:
        return make()
    watch, cache = keeping
    asked = filter_question(text, capabilities, (facts.architecture, facts.kernel_release), cache.key)
    if kept := cache.find_filter(asked):
        watch.adopt(kept[0])
        return Filter.decode(kept[1])
    made, own = make(), Watch(cache.key)
    watch_compiler(own, facts.libseccomp)
    watch.certain &= own.certain
    if own.certain:
        cache.keep_filter(asked, own.dependencies(), made.encode())
    return made


def require(facts: Facts) -> None:
    """What only a launch needs, so that planning works without root. Raises HostUnfit."""
    if not facts.root:
        raise HostUnfit("launching needs root", hint="run it with sudo")
    if not facts.nspawn:
        raise HostUnfit("systemd-nspawn is not installed", hint="apt install systemd-container")
    if not facts.program:
        raise HostUnfit("volt's static program is missing", hint="install volt again: pip install volt")


def terminals(*streams: Stream) -> int:
    """Bit n set where standard descriptor n will be a terminal."""
    bits = 0
    for number, stream in enumerate(streams):
        descriptor = number if stream is None else stream
        if descriptor >= 0 and os.isatty(descriptor):
            bits |= 1 << number
    return bits


def shown_terminal(call: Call) -> int:
    """The standard descriptors that are terminals inside: the caller's, and those asked for. A detached run has no
    share in the caller's."""
    return call.terminal if call.detach else call.terminal | terminals(0, 1, 2)


def question_of(words: Sequence[str], program: str) -> bytes:
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
        terminal=terminals(0, 1, 2),
        term=os.environb.get(b"TERM", b""),
    )
