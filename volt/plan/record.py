"""What is known of a run before it starts, for its record: volt/runs/record.py reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from volt.model.facts import Call, Facts
from volt.model.protocol import VERSION as PROTOCOL
from volt.model.signals import signal_number
from volt.model.steps import StopBy
from volt.model.workload import Workload
from volt.plan.ready import awaited
from volt.plan.restarting import restarted

STOP_SIGNAL = "TERM"
STOP_TIMEOUT = 10_000  # milliseconds


def known_of(workload: Workload, facts: Facts, call: Call, waived: tuple[str, ...]) -> Mapping[str, object]:
    """The keys of record.json that the plan has already; places and numbers of the run itself come with it."""
    return {
        "name": workload.name,
        "mode": str(workload.mode),
        "protocol": PROTOCOL,
        "boot_id": facts.boot_id,
        "description": workload.description or "",
        "labels": {**workload.labels, **dict(call.labels)},
        "unenforced": list(waived),
        "detached": call.detach,
        "kept": call.keep,
        "terminal": bool(call.terminal),
        "interactive": call.interactive,
        "command": list(call.command or workload.command),
        "rootfs": workload.storage.rootfs or "",
        "stop_signal": _stop_signal(workload, facts),
        "stop_timeout": _stop_timeout(workload),
        "ready": str(awaited(workload, call) or ""),
        **({"unit": call.unit} if call.unit else {}),
        **({"restart": policy} if (policy := restarted(workload, call)) else {}),
        "source": json.loads(call.origin),
    }


def stop_by(workload: Workload, facts: Facts, call: Call) -> StopBy | None:
    """How volt ends the payload, where the manifest says it, a unit asks for it, or it is an init."""
    service, asked = workload.service, bool(call.unit)
    if not service.stop_signal and not service.stop_timeout and not asked and not workload.boots:
        return None
    signal, limit = _stop_signal(workload, facts), _stop_timeout(workload)
    return StopBy(signal=signal, milliseconds=limit, asked=asked, note="service.stop_signal")


def _stop_signal(workload: Workload, facts: Facts) -> int:
    if not workload.boots:
        return signal_number(workload.service.stop_signal or STOP_SIGNAL)
    from volt.backends.native import stop_signal

    return signal_number(stop_signal(workload, facts))


def _stop_timeout(workload: Workload) -> int:
    given = workload.service.stop_timeout
    return given.milliseconds if given else STOP_TIMEOUT
