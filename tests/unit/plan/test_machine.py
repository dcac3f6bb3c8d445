"""Which runs systemd-machined is told of: those that last, and have a unit of their own."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_boot import NEW as BOOTABLE
from tests.unit.plan.test_boot import OS
from tests.unit.plan.test_bus import messages
from tests.unit.plan.test_check import GOOD
from tests.unit.plan.test_explain import NEW, planned
from tests.unit.plan.test_limits import BOOTED
from tests.unit.plan.test_unit import CONTROL, launched
from volt.model.facts import Call
from volt.model.modes import NetworkMode
from volt.model.steps import MakeSocket, RegisterMachine, StartGuard
from volt.model.text import RUN, show, text
from volt.model.workload import Network, Service
from volt.plan.machine import machine_steps

SCOPE = replace(BOOTED, machined=True)
UNIT = replace(CONTROL, machined=True)  # the caller's own is delegated: to volt@web.service, where that launches
DETACHED = Call(detach=True)
OWNED = launched(GOOD)


def registered(workload=GOOD, control=SCOPE, call=None):
    facts = BOOTABLE if workload.boots else NEW
    plan = planned(workload, replace(facts, control=control), call)
    return [step for step in plan.host if isinstance(step, RegisterMachine)]


@pytest.mark.parametrize(
    ("workload", "control", "call"),
    [
        (OS, SCOPE, None),
        (OS, SCOPE, DETACHED),
        (OS, UNIT, launched(OS)),
        (GOOD, SCOPE, DETACHED),
        (GOOD, UNIT, OWNED),
        (GOOD, UNIT, DETACHED),  # in a scope, away from its caller's unit
    ],
)
def test_what_lasts_in_a_unit_of_its_own_is_registered(workload, control, call):
    (step,) = registered(workload, control, call)
    assert (show(step.bus), step.note) == (BOOTED.bus, "for machinectl")
    assert (step.stale != b"") == bool(call and call.unit)  # a scope takes its machine along
    if call == DETACHED:
        (again,) = registered(replace(workload, service=Service(restart="always")), control, call)
        assert again.stale, "which has more than one start"
    assert registered(workload, replace(control, machined=False), call) == []


@pytest.mark.parametrize(
    ("workload", "control", "call"),
    [
        (GOOD, SCOPE, None),  # a command in the foreground
        (OS, UNIT, None),  # in its caller's unit, which may go on for ever
        (GOOD, replace(SCOPE, bus="", manager=None), DETACHED),
    ],
)
def test_others_are_not(workload, control, call):
    assert registered(workload, control, call) == []


def test_it_comes_when_the_socket_is_there_and_the_guard_is_not():
    kinds = [type(step) for step in planned(GOOD, replace(NEW, control=SCOPE), DETACHED).host]
    assert kinds.index(MakeSocket) < kinds.index(RegisterMachine) < kinds.index(StartGuard)


def test_a_link_on_the_bridge_is_told_and_none_where_there_is_none():
    facts = replace(NEW, control=SCOPE)
    bridged = replace(GOOD, network=Network(mode=NetworkMode.BRIDGE))
    (with_link,) = machine_steps(bridged, facts, DETACHED, text("volt-", RUN, ".scope"))
    (without,) = registered(call=DETACHED)
    assert messages(with_link.request)[1].body[-1] != []
    assert (without.link_at, messages(without.request)[1].body[-1]) == (0, [])
