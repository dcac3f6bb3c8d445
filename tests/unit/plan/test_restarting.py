"""Starting anew without a unit: for which launches, after which ends, with which pauses."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.test_check import GOOD
from tests.unit.plan.test_explain import planned
from tests.unit.plan.test_unit import UNIT
from volt.model.facts import Call
from volt.model.sizes import Duration
from volt.model.steps import OPERATIONS, RestartBy
from volt.model.text import show
from volt.model.values import replace
from volt.model.workload import Service
from volt.plan.restarting import LONGEST, MOST, clean_statuses, pauses, restarted
from volt.plan.unit_file import Launch, unit_file

DETACHED = Call(detach=True, keep=True)


def with_service(**service):
    return replace(GOOD, service=Service(**service))


def step_of(**service):
    (step,) = (one for one in planned(with_service(**service), call=DETACHED).host if isinstance(one, RestartBy))
    return step


@given(st.integers(1, 10 * LONGEST))
def test_pauses_begin_with_the_one_that_was_asked_for_and_double_up_to_a_bound(first):
    found = pauses(first)
    assert (found[0], len(found), max(found)) == (first, MOST, min(first << (MOST - 1), max(first, LONGEST)))
    for one, following in pairwise(found):
        assert following == 2 * one or following == found[-1] <= 2 * one


def test_a_second_is_the_first_pause_where_none_is_asked_for_and_all_of_them_are_five_minutes():
    assert [show(one) for one in step_of(restart="always").pauses][:3] == ["1000", "2000", "4000"]
    assert sum(pauses(1000)) == 303_000


@pytest.mark.parametrize(("restart", "always"), [("on-failure", False), ("always", True)])
def test_the_plan_of_a_detached_run_has_the_policy(restart, always):
    step = step_of(restart=restart, restart_sec=Duration(5), stop_signal="SIGQUIT")
    assert (step.always, show(step.pauses[0]), [show(one) for one in step.clean]) == (always, "5", ["0", "131", "143"])


@pytest.mark.parametrize(("restart", "call"), [
    ("no", DETACHED), (None, DETACHED), ("always", Call()), ("always", Call(unit=UNIT)),
])  # fmt: skip
def test_of_no_other_launch_is_it_kept(restart, call):
    assert restarted(with_service(restart=restart), call) == ""


@pytest.mark.parametrize("signal", [None, "SIGTERM", "SIGINT", "SIGRTMIN+3"])
def test_a_unit_takes_the_same_ends_for_clean(signal):
    workload = with_service(restart="on-failure", stop_signal=signal)
    text = unit_file(workload, Launch(("/usr/bin/volt",), "/srv/web.toml"))
    (line,) = (line for line in text.splitlines() if line.startswith("SuccessExitStatus="))
    assert (0, *map(int, line.partition("=")[2].split())) == clean_statuses(workload)


# What is taken back at the end of each start, and done again: all else that is taken back is so at the end of the run.
EACH = {
    "start-guard",
    "register-machine",
    "make-cgroup",
    "prepare-ports",
    "relay-loopback",
    "forget-connections",
    "take-terminal",
}
# What has nothing to take back, and may be done but once.
ONCE = {"detach", "restart-by"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_the_run_takes_back_at_its_end_is_done_once(operation):
    """A new operation is told apart here, or a second start does it twice."""
    held = bool(operation.undo or operation.release) and operation.name not in EACH
    assert operation.once == (held or operation.name in ONCE)
