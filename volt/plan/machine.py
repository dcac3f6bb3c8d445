"""systemd-machined: which runs machinectl(1) lists, and what it is told of them."""

from __future__ import annotations

from volt.model.facts import Call, Facts
from volt.model.steps import RegisterMachine
from volt.model.text import Text, text
from volt.model.workload import Workload
from volt.plan.restarting import restarted


def machine_steps(workload: Workload, facts: Facts, call: Call, unit: Text) -> tuple[RegisterMachine, ...]:
    """The registration of a run that lives in `unit`, its own: a machine is there as long as its unit, and in somebody
    else's it would never end. Not of a container in the foreground: that is a command of its caller's, which would end
    later for it.
    """
    lasting = workload.boots or call.detach or call.unit
    if not (facts.control.machined and unit and lasting):
        return ()
    from volt.plan.bus import registration

    made = registration(workload.name, linked=workload.network.bridged)
    return (
        RegisterMachine(
            bus=text(facts.control.bus),
            request=made.data,
            leader_at=made.leader_at,
            link_at=made.link_at,
            farewell=made.farewell,
            # Where there is one start alone in a scope, that takes its machine along.
            stale=made.stale if call.unit or restarted(workload, call) else b"",
            note="for machinectl",
        ),
    )
