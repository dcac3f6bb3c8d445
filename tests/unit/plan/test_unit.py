"""What a unit of systemd keeps of a workload, and which launch it owns."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import GOOD, codes
from tests.unit.plan.test_explain import NEW, planned
from tests.unit.plan.test_limits import ALL, BOOTED, at, written
from volt.errors import HostUnfit
from volt.model.facts import Call, Cgroup
from volt.model.sizes import Duration
from volt.model.steps import AwaitNotice, JoinCgroup, StartScope, StopBy
from volt.model.text import show
from volt.model.workload import Ready, Resources, Service
from volt.plan.cgroup import place
from volt.plan.ready import variables
from volt.plan.unit import kept, owned

UNIT = "volt@web.service"
OWN = Cgroup(f"/system.slice/system-volt.slice/{UNIT}", ALL)
CONTROL = replace(BOOTED, own=OWN, delegated=OWN)
IN_UNIT = replace(NEW, control=CONTROL)
SERVICE = Service(restart="always", restart_sec=Duration(2000), after=("db", "cache"), requires=("db",))
SERVED = replace(GOOD, service=SERVICE)


def launched(workload, *, unit=UNIT, **changes):
    """The call of a unit that keeps all, but for the changes; None for nothing of it."""
    keeps = {**kept(workload), **{f"service.{key}": value for key, value in changes.items()}}
    return Call(unit=unit, keeps=tuple((key, value) for key, value in keeps.items() if value is not None))


def test_by_hand_each_key_that_a_unit_keeps_is_refused_by_name():
    keys = ("service.restart", "service.restart_sec", "service.after", "service.requires")
    assert codes(SERVED) == [("no-unit", key) for key in keys]
    assert codes(replace(GOOD, service=Service(restart="no"))) == []


def test_a_detached_run_keeps_its_restarts_and_no_more():
    assert codes(SERVED, call=Call(detach=True)) == [("no-unit", key) for key in ("service.after", "service.requires")]


def test_a_unit_that_keeps_them_launches():
    assert codes(SERVED, call=launched(SERVED)) == []


@pytest.mark.parametrize("changed", [{"restart": "on-failure"}, {"restart": None}, {"after": "db"}, {"requires": None}])
def test_one_that_keeps_something_else_is_told_by_key(changed):
    (key,) = changed
    assert codes(SERVED, call=launched(SERVED, **changed)) == [("no-unit", f"service.{key}")]


def test_what_a_unit_does_of_its_own_needs_no_manifest_to_ask_for_it():
    assert codes(GOOD, call=launched(GOOD, restart="on-failure")) == []


@pytest.mark.parametrize("key", ["watchdog", "requires", "after", "restart_sec", "stop_signal"])
def test_what_the_manifest_asks_for_no_more_the_unit_has_to_forget(key):
    assert codes(GOOD, call=launched(GOOD, **{key: "5s"})) == [("no-unit", f"service.{key}")]


def test_a_unit_waits_for_the_start_as_long_as_image_and_readiness_may_take():
    ready = Service(ready=Ready("notify"), ready_timeout=Duration(60_000))
    quick = replace(GOOD, service=ready)
    slow = replace(quick, service=replace(ready, ready_timeout=Duration(1_800_000)))
    pulled = replace(quick, image="web:1", storage=replace(GOOD.storage, rootfs=None))
    unit = launched(quick)
    for one in (slow, pulled):
        assert ("no-unit", "service.ready_timeout") in codes(one, call=unit)
        assert ("no-unit", "service.ready_timeout") not in codes(one, call=launched(one))
    assert codes(quick, call=launched(slow)) == []


def test_a_time_that_somebody_has_written_wrong_is_none_that_is_kept():
    assert codes(GOOD, call=launched(GOOD, stop_timeout="soon")) == [("no-unit", "service.stop_timeout")]


NOTIFIES, SECOND = Ready("notify"), Duration(1000)


def watched(watchdog=SECOND, ready=NOTIFIES):
    return replace(GOOD, service=Service(ready=ready, watchdog=watchdog))


def test_a_watchdog_is_a_units_and_of_a_payload_that_notifies_often_enough_to_be_heard():
    assert codes(watched(), call=launched(watched())) == []
    assert codes(watched()) == [("no-unit", "service.watchdog")]
    for deaf in (watched(ready=None), watched(ready=Ready("tcp", 80)), watched(Duration(999))):
        assert codes(deaf, call=launched(deaf)) == [("no-notify", "service.watchdog")]


def test_the_payload_is_told_how_often():
    assert variables(watched(Duration(2500)))["WATCHDOG_USEC"] == "2500000"
    assert "WATCHDOG_USEC" not in variables(watched(None))


def test_a_unit_has_to_wait_for_the_end_as_long_as_it_may_take():
    slow = replace(GOOD, service=Service(stop_timeout=Duration(60_000)))
    assert codes(slow, call=launched(slow, stop_timeout="2m")) == []
    assert codes(slow, call=launched(slow, stop_timeout="59s")) == [("no-unit", "service.stop_timeout")]


def test_weights_are_the_units_as_it_is_that_which_has_siblings():
    workload = replace(GOOD, resources=Resources(cpu_weight=300))
    assert codes(workload, at(CONTROL), Call()) == []
    assert codes(workload, at(CONTROL), Call(unit=UNIT, keeps=(("service.stop_timeout", "10s"),))) == [
        ("no-unit", "resources.cpu_weight")
    ]


@pytest.mark.parametrize(
    ("unit", "control", "message"),
    [
        ("volt@shop.service", CONTROL, "launches the workload web, whose unit has to be volt@web.service"),
        (UNIT, BOOTED, "does not launch this"),
        (UNIT, replace(CONTROL, delegated=None), "has no cgroup that it may divide"),
        (UNIT, replace(CONTROL, delegated=BOOTED.top), "has no cgroup that it may divide"),
    ],
)
def test_whoever_says_that_it_is_a_unit_has_to_be_it(unit, control, message):
    with pytest.raises(HostUnfit, match=message):
        planned(facts=replace(IN_UNIT, control=control), call=launched(GOOD, unit=unit))


def test_a_line_of_output_is_no_sign_where_the_journal_has_the_output():
    workload = replace(GOOD, service=Service(ready=Ready("log", text="up")))
    with pytest.raises(HostUnfit, match="log:up cannot be seen"):
        planned(workload, IN_UNIT, launched(workload))


def found(plan, kind):
    return [step for step in plan.host if isinstance(step, kind)]


def test_sigterm_to_the_supervisor_asks_for_the_stop_signal_and_readiness_has_a_limit():
    workload = replace(GOOD, service=Service(ready=Ready("notify"), stop_signal="QUIT"))
    (stop,) = found(planned(workload, IN_UNIT, launched(workload)), StopBy)
    assert (stop.signal, stop.milliseconds, stop.asked) == (3, 10_000, True)
    (wait,) = found(planned(workload, IN_UNIT, launched(workload)), AwaitNotice)
    assert wait.milliseconds == 60_000
    (by_hand,) = found(planned(workload), StopBy)
    (unlimited,) = found(planned(workload), AwaitNotice)
    assert (by_hand.asked, unlimited.milliseconds) == (False, 0)


def placed(control, resources):
    workload = replace(GOOD, resources=resources)
    facts = owned(workload, replace(IN_UNIT, control=control), launched(workload))
    return place(workload, facts, ())


def test_its_cgroup_lies_in_the_units_and_the_supervisor_makes_way():
    lies = placed(CONTROL, Resources(pids_max=9, cpu_weight=300))
    assert show(lies.path) == f"{OWN.path}/volt-{{run}}"
    assert show(lies.unit) == UNIT
    assert not [step for step in lies.before if isinstance(step, StartScope)]
    assert isinstance(lies.before[0], JoinCgroup)
    assert written(lies.before) == [(f"/sys/fs/cgroup{OWN.path}/cgroup.subtree_control", "+pids")]
    assert [path.rpartition("/")[2] for path, _ in written(lies.after)] == ["pids.max"]


def test_a_leaf_that_systemd_has_made_is_as_good():
    """DelegateSubgroup=, since systemd 254."""
    lies = placed(replace(CONTROL, own=Cgroup(f"{OWN.path}/main"), delegated=OWN), Resources())
    assert show(lies.path) == f"{OWN.path}/volt-{{run}}"
    assert lies.before == ()
