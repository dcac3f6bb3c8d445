"""Killed before any of its changing calls, in any process, a run leaves nothing; a call that fails is a clean error.

An ordinary run takes one point of each kind: a role, a call, what that is about. Every call of every process, and in
the static program each with every errno, is

    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest -rP [-n 2] tests/host/test_points.py      half an hour
    VOLT_POINT=1.5:30 .venv/bin/python -m pytest -rP tests/host/test_points.py -k run      one, as a failure names it

-rP shows how many points there were. What a verb is, and how one is added: tests/host/points.py.
"""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import cycle
from pathlib import Path

import pytest

from tests.host import points
from tests.host.networks import own_machine
from tests.host.points import ERRORS, FRESH, READY, RUN, STATIC, VERBS, Stage
from tests.host.test_kill import gone, start_time

EXHAUSTIVE = bool(os.environ.get("VOLT_EXHAUSTIVE"))
ONLY = os.environ.get("VOLT_POINT", "")
# What namespaces, mounts and walls are made with: what dies with a process, and how, kernels have changed.
OF_KERNELS = {"clone", "clone3", "execve", "mount", "mount_setattr", "move_mount", "open_tree", "setns"}
OF_KERNELS |= {"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "pidfd_send_signal", "seccomp"}
MISSED = 0.03  # of the points, since systemd-nspawn need not do the same each time
# What earlier verbs of the same program have covered in an ordinary run.
SEEN_KILLS, SEEN_FAILURES = defaultdict(set), defaultdict(set)


@pytest.fixture(scope="module")
def injector(tmp_path_factory):
    return points.compile_injector(tmp_path_factory.mktemp("inject"))


@pytest.fixture
def stage(tmp_path, busybox, injector, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "volt"))
    with own_machine():
        one = Stage(tmp_path, busybox, injector)
        yield one
        assert one.left(one.runs_here()) == []


def judge(verb, tried):
    """`tried`: (the point, what was hit, what was wrong, None where it was not reached)."""
    missed = [text for _, text, wrong in tried if wrong is None]
    broken = [f"{text}: {wrong}" for _, text, wrong in tried if wrong]
    counts = f"{verb.name}: {len(tried)} points, {len(missed)} not reached, {len(broken)} broken"
    sys.stdout.write("\n  ".join([counts, *missed]) + "\n")
    assert tried or ONLY
    assert broken == []
    ours = [text for point, text, wrong in tried if wrong is None and not ending(point)]
    assert len(ours) <= max(1, MISSED * len(tried)), ours


def ending(point):
    """Whether it is a call of systemd-nspawn's at its end, where it races with the supervisor, who kills it; or of a
    keeper's, who asks until it is answered, more often or less."""
    return (point.role.startswith("nspawn") and point.begun) or point.role == "keeper"


def wanted(verb, point):
    if ONLY:
        return f"{point.process}:{point.number}" == ONLY
    return EXHAUSTIVE or bool(re.search(verb.briefly, point.about))


@pytest.mark.kernel
def test_killed_at_the_first_call_of_each_kind_of_step_nothing_lives_on_and_the_next_run_works(stage):
    """What is asked of every kernel; the tests below try all kinds of calls, and more verbs."""
    own = [kill for kill in points.kills(stage.points(RUN)) if kill.point.outward and kill.role in STATIC]
    asked = [kill for kill in own if kill.process == kill.point.process and kill.point.name in OF_KERNELS]
    first = {kill.point.name: kill for kill in reversed(asked)}
    assert {"open_tree", "mount_setattr", "move_mount", "mount", "clone3", "seccomp", "execve"} <= first.keys()
    SEEN_KILLS[RUN.program].update(kill.kind for kill in first.values())
    judge(RUN, [(kill.point, str(kill), stage.try_point(stage.kill, RUN, kill)) for kill in first.values()])


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_killed_at_a_changing_call_nothing_lives_on_and_the_next_run_works(stage, verb):
    outward = [point for point in stage.points(verb) if point.outward]
    kills = [kill for kill in points.kills(outward) if wanted(verb, kill.point)]
    if not (EXHAUSTIVE or ONLY):
        kills = points.one_of_each(kills, SEEN_KILLS[verb.program])
    judge(verb, [(kill.point, str(kill), stage.try_point(stage.kill, verb, kill)) for kill in kills])


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.roles != ("launcher",)], ids=lambda verb: verb.name)
def test_a_call_that_fails_is_a_clean_error_with_all_undone(stage, verb):
    found = [point for point in stage.points(verb) if point.role in STATIC and wanted(verb, point)]
    if EXHAUSTIVE or ONLY:
        pairs = [(point, error) for point in found for error in ERRORS]
    else:  # with one errno each, in turn
        pairs = list(zip(points.one_of_each(found, SEEN_FAILURES[verb.program]), cycle(ERRORS), strict=False))
    tried = [
        (point, f"{point}, {os.strerror(error)}", stage.try_point(stage.fail, verb, point, error))
        for point, error in pairs
    ]
    judge(verb, tried)


# ── the harness itself


def test_the_roles_are_all_found_and_their_calls_counted_alike_in_each_run(stage):
    first, second = stage.points(RUN), stage.points(RUN)
    assert {point.role for point in first} >= {"launcher", "nspawn", "nspawn-outer", "nspawn-inner", *STATIC} - {
        "watcher"
    }
    assert "watcher" in {point.role for point in stage.points(READY)}
    # Without the claims of others that are swept on the way, which are as many as there are.
    alike = [
        Counter((point.process, *point.kind) for point in found if "/run/volt/uids/" not in point.about)
        for found in (first, second)
    ]
    apart = (alike[0] - alike[1]) + (alike[1] - alike[0])
    assert apart.total() <= MISSED * len(first), apart


def test_a_process_that_survives_is_noticed_and_ended(injector, tmp_path):
    script = "sleep 100 & /bin/sleep 1; exec true"
    log = tmp_path / "log"
    subprocess.run([injector, log, "2", "1:3:kill", "sh", "-c", script], check=True, timeout=60)
    found = points.read_log(log)
    assert (found.hit.name, found.status) == ("execve", 128 + 9)
    assert found.left == ["helper 1.1"]
    pid = int(next(line.split()[2] for line in log.read_text().splitlines() if line.startswith("left")))
    assert gone([(pid, start_time(pid))]) == []


def test_what_a_kill_leaves_is_seen_before_the_next_run_sweeps_it(stage):
    points.crash(stage)
    runs = stage.runs_here()
    left = "\n".join(stage.left(runs))
    for part in ("run/names/", "run/runs/", "/volt-", "state/layers/.old-"):  # the uids any volt may have swept
        assert part in left
    assert stage.run_again(FRESH) == []
    assert stage.left(runs) == []


def test_a_layer_that_is_not_whole_is_noticed(stage):
    mark = next(Path(stage.volt.state).glob("state/layers/*/upper/mark"))
    mark.unlink()
    assert "found in its layer" in stage.run_again(FRESH)[0]


def test_what_is_not_undone_and_what_is_no_clean_error_is_noticed(stage):
    found = stage.points(RUN)
    rename = next(point for point in found if point.role == "supervisor" and point.name == "rename")
    assert stage.try_point(stage.fail, RUN, rename, ERRORS[0]) == []
    before = points.tree(stage.volt.state)
    (stage.volt.state / "state/stray").write_text("")
    assert points.changed(before, points.tree(stage.volt.state)) == [f"not undone: {stage.volt.state}/state/stray"]
    (stage.volt.state / "state/stray").unlink()
    execve = next(point for point in found if point.role == "launcher" and point.name == "execve")
    assert "status" in stage.try_point(stage.fail, RUN, execve, ERRORS[0])[0]  # Python's own message names no step
