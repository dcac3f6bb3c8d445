"""New limits for a running workload: what is written, what systemd is told, what cannot be."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_limits import EVERYTHING, PLAIN, at
from volt import api
from volt.errors import ManifestError, VoltError
from volt.model.sizes import Size
from volt.model.workload import Resources
from volt.plan.limits import CONTROLLERS, limits
from volt.plan.update import LIFTED, changes, check_memory, parts

FACTS = at(PLAIN)


def files(found):
    return {(one.file, one.value) for one in found if not one.unit_property}


def test_new_limits_are_written_as_first_ones_are():
    found = changes(EVERYTHING, (), FACTS, scope=False)
    assert files(found) == {(one.file, one.value) for one in limits(EVERYTHING, FACTS, tuple(CONTROLLERS))}


def test_every_field_can_be_lifted_and_has_its_controller():
    assert set(LIFTED) == set(CONTROLLERS)
    found = changes(Resources(), tuple(LIFTED), FACTS, scope=False)
    assert {one.controller for one in found} == set(CONTROLLERS.values())
    assert ("cpuset.cpus", "0-3") in files(found)  # one with processes cannot be empty again
    assert ("memory.swap.max", "max") in files(found)


def test_in_a_scope_weights_are_told_to_systemd():
    found = changes(Resources(cpu_weight=7, pids_max=3), ("io_weight",), FACTS, scope=True)
    assert {(one.unit_property, one.weight) for one in found if one.unit_property} == {
        ("CPUWeight", 7),
        ("IOWeight", 100),
    }
    assert {one.key for one in found if not one.unit_property} == {"pids_max"}


@pytest.mark.parametrize(
    ("wanted", "control", "message"),
    [
        (Resources(cpu_set=(0, 8, 9)), PLAIN, "no core 8-9"),
        (Resources(io_weight=5), replace(PLAIN, io_weight=""), "nothing on this machine acts on I/O weights"),
    ],
)
def test_what_this_machine_has_not_is_refused(wanted, control, message):
    with pytest.raises(VoltError, match=message):
        changes(wanted, (), at(control), scope=False)


HELD = {"memory_limit": str(512 << 20), "memory_soft": str(256 << 20), "pids_max": "5"}


@pytest.mark.parametrize(
    ("wanted", "lifted", "wrong"),
    [
        (Resources(memory_soft=Size(511 << 20)), (), None),
        (Resources(memory_soft=Size(512 << 20)), (), "memory_soft"),
        (Resources(memory_soft=Size(None, 50)), (), "memory_soft"),
        (Resources(memory_limit=Size(256 << 20)), (), "memory_limit"),
        (Resources(memory_limit=Size(256 << 20)), ("memory_soft",), None),
        (Resources(memory_limit=Size(2 << 30), memory_soft=Size(1 << 30)), (), None),
        (Resources(memory_soft=Size(1 << 30)), ("memory_limit",), None),
    ],
)
def test_a_new_limit_has_to_go_with_the_other_as_it_is(wanted, lifted, wrong):
    found = changes(wanted, lifted, FACTS, scope=False)
    if wrong is None:
        check_memory(found, HELD)
        return
    with pytest.raises(ManifestError) as refused:
        check_memory(found, HELD)
    assert [(one.code, one.key) for one in refused.value.findings] == [("soft-above-limit", f"resources.{wrong}")]


def test_limits_without_the_other_go_with_anything():
    check_memory(changes(Resources(memory_soft=Size(1 << 30)), (), FACTS, scope=False), {"memory_limit": "max"})
    check_memory(changes(Resources(memory_limit=Size(1)), (), FACTS, scope=False), {})


def test_other_changes_ask_nothing_of_memory():
    equal = {"memory_limit": "4096", "memory_soft": "4096"}
    check_memory(changes(Resources(pids_max=9), (), FACTS, scope=False), equal)


def resolved(**given):
    document, lifted = parts("web", given)
    return api.resolve(document), lifted


def test_values_are_those_of_a_manifest():
    found, lifted = resolved(memory_limit="512M", pids_max="40", cpu_set="0-2")
    assert found.workload.resources == Resources(memory_limit=EVERYTHING.memory_limit, pids_max=40, cpu_set=(0, 1, 2))
    assert lifted == ()


@pytest.mark.parametrize("none", ["none", "0"])
def test_none_lifts(none):
    found, lifted = resolved(memory_limit=none, pids_max="5")
    assert found.workload.resources == Resources(pids_max=5)
    assert lifted == ("memory_limit",)


@pytest.mark.parametrize(
    ("key", "value"),
    [("memory_limit", "12Q"), ("cpu_weight", "10001"), ("pids_max", "-1"), ("cpu_set", "1-"), ("pids_max", "9" * 30)],
)
def test_a_bad_value_is_a_finding_of_its_field(key, value):
    found, _ = resolved(**{key: value})
    assert found.workload is None
    assert [finding.key for finding in found.findings] == [f"resources.{key}"]
