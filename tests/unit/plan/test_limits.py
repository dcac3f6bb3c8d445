"""[resources] as files of cgroup v2: what is written, where the run's cgroup lies, and what is refused."""

from dataclasses import fields, replace

import pytest

from tests.unit.plan.test_check import FACTS, GOOD
from volt import api
from volt.model.facts import Cgroup, Control
from volt.model.limits import MOST_TASKS, OWN_TASKS
from volt.model.sizes import Size
from volt.model.steps import JoinCgroup, MakeFolder, SetControl, StartScope, WatchLimits
from volt.model.text import show
from volt.model.workload import Resources
from volt.plan.cgroup import place
from volt.plan.limits import (
    CONTROLLERS,
    check_limits,
    enforced,
    home,
    io_weight,
    limits,
    needs,
    ranges,
    unenforced,
)

ALL = ("cpu", "cpuset", "io", "memory", "pids")
TOP = Cgroup("/", ALL, free=True)
SESSION = Cgroup("/user.slice/session-1.scope", ("memory", "pids"))
CORES = (0, 1, 2, 3)
PLAIN = Control(own=SESSION, top=TOP, io_weight="io.weight", cores=CORES)
BOOTED = replace(PLAIN, manager="", bus="/run/dbus/system_bus_socket")
EVERYTHING = Resources(
    memory_limit=Size(512 << 20),
    memory_soft=Size(None, 25),
    cpu_weight=300,
    cpu_set=(0, 1, 3),
    io_weight=50,
    pids_max=64,
)


def at(control):
    return replace(FACTS, control=control, memory=1 << 30)


def placed(control, resources=EVERYTHING, waived=()):
    return place(replace(GOOD, resources=resources), at(control), waived)


def written(steps):
    return [(show(step.path), show(step.value)) for step in steps if isinstance(step, SetControl)]


def findings(control, resources=EVERYTHING, waived=()):
    return [(one.code, one.key) for one in check_limits(resources, at(control), waived)]


def test_every_field_has_its_controller():
    assert set(CONTROLLERS) == {field.name for field in fields(Resources)}
    assert set(CONTROLLERS.values()) == set(ALL)


def test_each_field_is_a_file_of_the_runs_cgroup():
    run = "/sys/fs/cgroup/volt/volt-{run}"
    assert written(placed(PLAIN).after) == [
        (f"{run}/memory.swap.max", "0"),
        (f"{run}/memory.max", "536870912"),
        (f"{run}/memory.high", "268435456"),
        (f"{run}/cpu.weight", "300"),
        (f"{run}/cpuset.cpus", "0-1,3"),
        (f"{run}/io.weight", "50"),
        (f"{run}/pids.max", str(64 + OWN_TASKS)),
    ]
    assert isinstance(placed(PLAIN).after[-1], WatchLimits)


def test_without_limits_nothing_is_written_and_nothing_watched():
    assert placed(PLAIN, Resources()).after == ()


def test_a_kernel_that_cannot_swap_has_no_file_for_it():
    only = Resources(memory_limit=Size(1 << 20))
    assert [path.rpartition("/")[2] for path, _ in written(placed(replace(PLAIN, swap=False), only).after)] == [
        "memory.max"
    ]


@pytest.mark.parametrize(
    ("cores", "text"), [((0,), "0"), ((0, 1, 2), "0-2"), ((5, 0, 1), "0-1,5"), ((1, 3, 5), "1,3,5"), ((), "")]
)
def test_cores_are_written_as_ranges(cores, text):
    assert ranges(cores) == text


@pytest.mark.parametrize(
    ("most", "text"),
    [
        (1, 1 + OWN_TASKS),
        (MOST_TASKS - OWN_TASKS, MOST_TASKS),
        (MOST_TASKS - OWN_TASKS + 1, MOST_TASKS),
        (MOST_TASKS, MOST_TASKS),
    ],
)
def test_as_many_tasks_as_a_manifest_may_ask_for_are_no_more_than_the_kernel_takes(most, text):
    (limit,) = limits(Resources(pids_max=most), at(PLAIN), ("pids_max",))
    assert (limit.file, limit.value) == ("pids.max", str(text))
    assert api.validate([f'[workload]\nname = "a"\nmode = "container"\n[resources]\npids_max = {most}'.encode()]) == ()


def test_weights_of_bfq_end_at_a_thousand_and_keep_their_middle():
    assert [io_weight("io.bfq.weight", weight) for weight in (1, 100, 10000)] == [1, 100, 1000]
    assert [io_weight("io.weight", weight) for weight in (1, 100, 10000)] == [1, 100, 10000]
    rising = [io_weight("io.bfq.weight", weight) for weight in range(1, 10001)]
    assert rising == sorted(rising)


# Where the run's cgroup lies.


def test_without_limits_it_is_below_the_callers():
    assert show(placed(PLAIN, Resources()).path) == "/user.slice/session-1.scope/volt-{run}"
    assert placed(PLAIN, Resources()).before == ()


def test_what_the_callers_children_have_already_is_taken_from_there():
    ready = replace(PLAIN, own=replace(SESSION, enabled=ALL))
    assert show(placed(ready).path) == "/user.slice/session-1.scope/volt-{run}"
    assert placed(ready).before == ()


def test_elsewhere_limits_lie_in_volts_own_folder_at_the_top():
    found = placed(PLAIN, Resources(pids_max=1, memory_limit=Size(1)))
    assert show(found.path) == "/volt/volt-{run}"
    assert written(found.before) == [
        ("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids"),
        ("/sys/fs/cgroup/volt/cgroup.subtree_control", "+memory +pids"),
    ]
    (folder,) = [step for step in found.before if isinstance(step, MakeFolder)]
    assert (show(folder.path), folder.keep, folder.shared) == ("/sys/fs/cgroup/volt", True, True)


def test_what_the_top_gives_already_is_not_asked_for_again():
    given = replace(PLAIN, top=replace(TOP, enabled=("memory",)))
    assert written(placed(given, Resources(pids_max=1, memory_limit=Size(1))).before)[0][1] == "+pids"
    assert len(written(placed(given, Resources(memory_limit=Size(1))).before)) == 1


def test_systemd_makes_a_scope_in_its_slice():
    found = placed(BOOTED)
    assert show(found.unit) == "volt-{run}.scope"
    assert show(found.path) == "/volt.slice/volt-{run}.scope/volt-{run}"
    scope, leaf, enable = found.before
    assert isinstance(scope, StartScope)
    assert isinstance(leaf, JoinCgroup)
    assert show(leaf.path) == "/sys/fs/cgroup/volt.slice/volt-{run}.scope/supervisor"
    assert written([enable]) == [
        ("/sys/fs/cgroup/volt.slice/volt-{run}.scope/cgroup.subtree_control", "+cpuset +memory +pids")
    ]


def test_weights_are_the_scopes_own_since_they_compare_siblings():
    """Below the scope there is nobody to compare with."""
    names = {path.rpartition("/")[2] for path, _ in written(placed(BOOTED).after)}
    assert names == {"memory.swap.max", "memory.max", "memory.high", "cpuset.cpus", "pids.max"}
    request = placed(BOOTED).before[0].request
    assert b"CPUWeight\0\1t\0" in request
    assert b"IOWeight\0\1t\0" in request
    assert placed(BOOTED).before[0].note == "Slice=volt.slice Delegate=yes CPUWeight=300 IOWeight=50"


def test_a_scope_without_limits_needs_no_leaf():
    found = placed(BOOTED, Resources(cpu_weight=10))
    assert [type(step) for step in found.before] == [StartScope]
    assert [type(step) for step in found.after] == [WatchLimits]  # a limit may come later


def test_a_manager_that_is_not_at_the_top_has_its_slice_below_itself():
    """systemd in a container that shares the hierarchy."""
    inside = replace(BOOTED, manager="/machine.slice/guest")
    assert show(placed(inside).path) == "/machine.slice/guest/volt.slice/volt-{run}.scope/volt-{run}"


def test_what_systemd_has_delegated_is_used_as_it_is():
    unit = Cgroup("/system.slice/ci.service", ALL, free=True)
    leaf = Cgroup("/system.slice/ci.service/runner", ())
    found = placed(replace(BOOTED, own=leaf, delegated=unit))
    assert show(found.path) == "/system.slice/ci.service/volt-{run}"
    assert not found.unit
    assert written(found.before) == [
        ("/sys/fs/cgroup/system.slice/ci.service/cgroup.subtree_control", "+cpu +cpuset +io +memory +pids")
    ]


def test_a_delegated_cgroup_that_holds_its_processes_itself_has_no_limits_to_give():
    unit = Cgroup("/system.slice/ci.service", ALL, free=False)
    held = replace(BOOTED, own=unit, delegated=unit)
    assert show(placed(held, Resources()).path) == "/system.slice/ci.service/volt-{run}"
    assert show(placed(held).path) == "/volt.slice/volt-{run}.scope/volt-{run}"


# What is refused.


def test_what_has_its_controller_is_accepted():
    assert findings(PLAIN) == []
    assert findings(BOOTED) == []


@pytest.mark.parametrize("key", CONTROLLERS)
def test_a_limit_without_its_controller_is_refused_by_name(key):
    controller = CONTROLLERS[key]
    lacking = replace(PLAIN, own=Cgroup("/"), top=replace(TOP, controllers=tuple(set(ALL) - {controller})))
    only = Resources(**{key: getattr(EVERYTHING, key)})
    assert findings(lacking, only) == [("no-controller", f"resources.{key}")]
    assert findings(PLAIN, only) == []


@pytest.mark.parametrize(
    ("control", "message", "hint"),
    [
        (Control(legacy=ALL, cores=CORES), "bound to cgroup v1", "unified_cgroup_hierarchy"),
        (Control(top=Cgroup("/", ALL), cores=CORES), "holds processes", "below it"),
        (Control(cores=CORES), "has no memory controller", "--allow-unenforced resources"),
        (replace(BOOTED, bus=""), "its bus cannot be reached", "apt install dbus"),
    ],
)
def test_the_reason_is_told_with_what_mends_it(control, message, hint):
    (finding,) = check_limits(Resources(memory_limit=Size(1)), at(control), ())
    assert message in finding.message
    assert hint in finding.hint
    assert "--allow-unenforced resources" in finding.hint


def test_a_weight_that_nothing_would_act_on_is_refused():
    assert findings(replace(PLAIN, io_weight=""), Resources(io_weight=5)) == [("no-controller", "resources.io_weight")]


def test_a_core_that_is_not_there_is_refused_and_cannot_be_waived():
    missing = Resources(cpu_set=(0, 9))
    assert findings(PLAIN, missing) == [("no-core", "resources.cpu_set")]
    assert findings(PLAIN, missing, ("resources",)) == [("no-core", "resources.cpu_set")]


@pytest.mark.parametrize(
    ("soft", "limit", "wrong"),
    [
        (Size(None, 25), Size(512 << 20), False),
        (Size(None, 50), Size(512 << 20), True),
        (Size(512 << 20), Size(None, 50), True),
        (Size(511 << 20), Size(None, 50), False),
        (Size(None, 25), None, False),
        (None, Size(1), False),
    ],
)
def test_a_share_of_memory_is_compared_with_a_size_by_what_it_is_here(soft, limit, wrong):
    found = findings(PLAIN, Resources(memory_soft=soft, memory_limit=limit))
    assert found == ([("soft-above-limit", "resources.memory_soft")] if wrong else [])


def test_sizes_in_the_wrong_order_are_told_as_they_are_here():
    (found,) = check_limits(Resources(memory_soft=Size(None, 75), memory_limit=Size(512 << 20)), at(PLAIN), ())
    assert found.message == "memory_soft is 768M here, which is not below memory_limit, 512M"
    assert found.hint == "write a smaller memory_soft"


def test_what_is_waived_is_left_out_and_the_rest_is_enforced():
    partly = replace(PLAIN, own=Cgroup("/"), top=Cgroup("/", ("pids",), free=True))
    assert findings(partly, waived=("resources",)) == []
    assert enforced(EVERYTHING, at(partly), ("resources",)) == ("pids_max",)
    assert set(unenforced(EVERYTHING, at(partly), ("resources",))) == set(CONTROLLERS) - {"pids_max"}
    assert [path for path, _ in written(placed(partly, waived=("resources",)).after)] == [
        "/sys/fs/cgroup/volt/volt-{run}/pids.max"
    ]


def test_a_waiver_takes_nothing_away_where_all_can_be_held():
    assert placed(PLAIN, waived=("resources",)) == placed(PLAIN)
    assert unenforced(EVERYTHING, at(PLAIN), ("resources",)) == {}


def test_a_home_can_give_what_is_needed_or_it_is_not_the_home():
    for control in (PLAIN, BOOTED):
        assert needs(tuple(CONTROLLERS)) <= home(at(control), needs(tuple(CONTROLLERS))).reachable
