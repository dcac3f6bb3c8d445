"""A launch under strace: every call that changes something belongs to a printed step, and every step occurs."""

import json
import os
import re
import sys

import pytest

from tests.host import trace
from volt.model.steps import OPERATIONS

CALLS = {one.name: tuple(trace.SAME.get(call, call) for call in one.calls) for one in OPERATIONS}
SECTIONS = ("supervisor", "guard", "init", "payload")
# What the supervisor does once the payload runs: the printed undo and release of its steps, and the status.
RELEASES = ("unlinkat", "write", "pidfd_send_signal", "renameat2")


@pytest.fixture(scope="module")
def launch(tmp_path_factory, busybox):
    """One launch with everything in it: its plan, and what each role called."""
    from tests.host.conftest import Volt

    folder = tmp_path_factory.mktemp("trace")
    share = folder / "share"
    share.mkdir()
    os.chown(share, 1000, 1000)
    (folder / "values").write_text("A=1\n")
    volt = Volt(folder)
    volt.environment["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    manifest = volt.manifest(
        workload={"name": "traced", "env_file": str(folder / "values"), "user": "user"},
        storage={
            "rootfs": str(busybox),
            "writable_layer": "overlay",
            "tmpfs": ["/cache"],
            "volumes": [{"host": str(share), "container": "/data"}],
        },
        limits={"nofile": "64:128"},
    )
    arguments = (manifest, "--fresh", "--", "true")
    outcome = ("--outcome", folder / "outcome")
    plan = json.loads(volt("plan", "--json", *outcome, *arguments).stdout)
    done = trace.strace(volt, folder / "trace", "run", *outcome, *arguments)
    assert done.returncode == 0, done.stderr
    calls = trace.read(folder / "trace")
    return plan, trace.roles(calls)


def steps_of(plan, section):
    return plan["sections"][SECTIONS.index(section)]["steps"]


def changing(calls):
    """What changes something outside the static program: memory files, pipes and sockets of its own do not."""
    return [call for call in trace.outward(calls) if call.changes()]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_changing_call_belongs_to_a_step_in_its_order(launch, section):
    plan, roles = launch
    steps = steps_of(plan, section)
    position, strays = 0, []
    for call in changing(roles[section]):
        first = position + (call.kind == "clone3")  # no step forks twice
        ahead = [n for n in range(first, len(steps)) if call.kind in CALLS[steps[n]["operation"]]]
        if ahead:
            position = ahead[0]
        elif not (position == len(steps) - 1 and call.kind in RELEASES):
            strays.append((call.name, call.arguments[:120]))
    assert strays == []


def pattern(shown):
    """A text of the plan as a regular expression: a slot stands for what it may become."""
    written = re.escape(shown.replace("{{", "{").replace("}}", "}"))
    return re.sub(r"\\\{(run|uids|pid|started|clock)(\\\+\d+)?\\\}", "[0-9a-f]+", written)


def evidence(step):
    """What some call of the role must have had among its arguments for the step to have occurred."""
    place = next((step[key] for key in ("path", "folder") if step.get(key)), None)
    if place is None and step["operation"] == "make-filesystem":
        place = step["type"]
    return place and re.compile(f'"{pattern(place)}[/"]')


def test_who_covers_what_lies_below_the_root_mounts_and_nothing_else(launch):
    _, roles = launch
    assert {call.kind for call in changing(roles["cover"])} <= {"setns", "mount"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_step_that_changes_something_occurs(launch, section):
    plan, roles = launch
    calls = roles[section]
    steps = [step for step in steps_of(plan, section) if CALLS[step["operation"]]]
    for step in steps:
        wanted = evidence(step)
        if wanted:
            assert any(wanted.search(call.arguments) for call in calls), step
    for kind in ("clone3", "execve"):
        planned = [step for step in steps if kind in CALLS[step["operation"]]]
        assert len([call for call in changing(calls) if call.kind == kind]) == len(planned)


def test_a_step_that_does_not_occur_would_be_noticed(launch):
    _, roles = launch
    wanted = evidence({"operation": "attach-inside", "path": "/never"})
    assert not any(wanted.search(call.arguments) for call in roles["init"])
    assert pattern("/run/{run}/{{x}}-{uids+5}") == r"/run/[0-9a-f]+/\{x\}\-[0-9a-f]+"


def test_the_paths_that_are_touched_are_the_printed_ones(launch):
    plan, roles = launch
    printed = json.dumps(plan)
    for call in changing(roles["supervisor"]):
        if call.kind not in ("mkdirat", "linkat"):
            continue
        path = call.arguments.split('"')[-2]
        folder = os.path.dirname(path)
        assert folder in printed or folder.rsplit("/", 1)[0] in printed, call


def test_no_python_and_no_tool_but_nspawn_runs_after_the_hand_over(launch):
    _, roles = launch
    started = [call.arguments.split('"')[1] for role in roles.values() for call in role if call.name == "execve"]
    assert started.count("/usr/bin/systemd-nspawn") == 1
    assert not [program for program in started if "python" in program]
