"""Plans that lack a step: for the proof that a wall is that step's doing. The product has no switch for it."""

from __future__ import annotations

import subprocess

from volt import api
from volt.api import planning
from volt.launch import handover
from volt.model.values import replace


def planned(volt, monkeypatch, *command, **sections):
    """The plan of a fresh manifest with `command`, and the facts that it was made from."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    workload = {"command": list(command), **sections.pop("workload", {})}
    return planning.planned(volt.manifest(workload=workload, **sections), None, None, api.Call())


def changed(plan, change):
    """`plan` with each step as `change` has it: another, or None for none."""
    sections = {}
    for name in ("host", "guard", "init", "payload"):
        steps = (change(step) for step in getattr(plan, name))
        sections[name] = tuple(step for step in steps if step is not None)
    return replace(plan, **sections)


def without(plan, *kinds):
    """`plan` without the steps of these classes, of which it has some."""
    assert {type(step) for step in plan.steps()} >= {*kinds}
    return changed(plan, lambda step: None if isinstance(step, kinds) else step)


def perform(plan, facts):
    """What the payload wrote on either output, and the exit status."""
    process = handover.spawn(facts.program, plan, (api.DEVNULL, api.PIPE, subprocess.STDOUT), ())
    output, _ = process.communicate(timeout=60)
    return output.decode(), process.returncode
