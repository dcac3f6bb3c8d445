"""New limits for a workload that runs."""

from __future__ import annotations

from collections.abc import Mapping

from volt.errors import HostUnfit, ManifestError


def update(name: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Give the running workload `name` new limits, all of them or none; the values are written as in [resources],
    or "none" to lift one. Every limit as the kernel has it then, in its own units.

    Raises ManifestError for a value that is none, beyond the policy, or not to go with what is held, StateError when
    no such workload runs, VoltError when the kernel or systemd refuses.
    """
    from volt.api import resolve
    from volt.api.looking import running
    from volt.api.policy import machine_policy
    from volt.host.facts import folders, probe_machine
    from volt.plan.bounds import check_resources
    from volt.plan.update import changes, check_memory, parts
    from volt.runs.limits import change_limits, read_limits

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
