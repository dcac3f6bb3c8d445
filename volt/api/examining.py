"""What this machine can and cannot do."""

from __future__ import annotations

from volt.api.policy import policy_check
from volt.host.doctor import examine
from volt.host.facts import folders, probe_machine
from volt.model.doctor import Check


def doctor() -> tuple[Check, ...]:
    """What this machine can and cannot do for what is built so far."""
    return (*examine(probe_machine(folders())), policy_check())
