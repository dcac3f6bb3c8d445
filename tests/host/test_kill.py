"""After SIGKILL of any of its processes at any instant nothing of a run lives on, and the next one works."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.host.living import until
from volt import api
from volt.api import planning
from volt.launch import handover

pytestmark = pytest.mark.alone  # every mount of the machine is compared

ROUNDS = 100
WHOLE = 4  # supervisor, systemd-nspawn, init, payload


def descendants(pid):
    """The process and all below it, by /proc/PID/task/*/children."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue
    return found


def start_time(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def gone(known, seconds=10):
    """The known (pid, start time) that still live when the time is up."""
    deadline = time.monotonic() + seconds
    alive = known
    while alive and time.monotonic() < deadline:
        alive = [(pid, began) for pid, began in alive if start_time(pid) == began and not zombie(pid)]
        time.sleep(0.002)
    return alive


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def prepared(volt, busybox, monkeypatch):
    """A plan for a workload with a kept layer, and the static program's path."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    workload = {"name": "victim", "command": ["sleep", "60"]}
    manifest = volt.manifest(workload=workload, storage=storage)
    assert volt("run", manifest, "--", "true").returncode == 0
    plan, facts = planning.planned(manifest, None, None, api.Call())
    return manifest, plan, facts


def settle(process):
    """Wait for the run's end; a run that is whole had not been hit: the victim had ended by itself before."""
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] for pid in descendants(process.pid)]
        assert [b"sleep", b"60"] in commands
        assert len(commands) == WHOLE
        process.kill()
        process.wait(timeout=20)


def launch_and_kill(plan, facts, chance):
    process = handover.spawn(facts.program, plan, (api.DEVNULL, api.DEVNULL, api.DEVNULL), ())
    time.sleep(chance.uniform(0, 0.04))
    family = [(pid, start_time(pid)) for pid in descendants(process.pid)]
    victim = chance.choice(family)[0]
    if zombie(victim):  # it has ended since it was seen
        victim = process.pid
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    family += [(pid, start_time(pid)) for pid in descendants(process.pid)]
    settle(process)
    return [(pid, began) for pid, began in set(family) if began is not None]


def test_killed_at_random_instants_no_process_and_no_mount_survives(volt, prepared):
    manifest, plan, facts = prepared
    chance = random.Random(20260101)
    mounts = Path("/proc/self/mountinfo").read_text()
    for _ in range(ROUNDS):
        family = launch_and_kill(plan, facts, chance)
        assert gone(family) == []
        assert Path("/proc/self/mountinfo").read_text() == mounts
        if chance.random() < 0.1:
            assert volt("run", manifest, "--", "true").returncode == 0
            assert volt.left() == []
    done = volt("run", manifest, "--", "true")
    assert done.returncode == 0, done.stderr
    assert volt.left() == []


@pytest.mark.kernel
def test_a_killed_supervisor_leaves_what_the_next_command_removes(volt, prepared):
    """The counter-proof: without the sweep something is left to see."""
    manifest, plan, facts = prepared
    process = handover.spawn(facts.program, plan, (api.DEVNULL, api.DEVNULL, api.DEVNULL), ())
    deadline = time.monotonic() + 20
    while len(descendants(process.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    family = [(pid, start_time(pid)) for pid in descendants(process.pid)]
    process.kill()
    process.wait()
    assert gone(family) == []
    assert list(volt.state.glob("run/runs/*/record.json"))
    assert volt("run", manifest, "--", "true").returncode == 0
    assert volt.left() == []


def test_of_two_starts_of_one_name_one_wins_and_the_other_says_who_holds_it(volt):
    manifest = volt.manifest(workload={"name": "only-one"})
    first = volt.start("run", manifest, "--", "sh", "-c", "echo up; read x", stdin=-1, stdout=-1)
    first.stdout.readline()
    second = volt("run", manifest, "--", "true")
    first.communicate(b"\n", timeout=20)
    assert first.returncode == 0
    assert second.returncode == 125
    assert b"only-one" in second.stderr
    assert str(first.pid).encode() in second.stderr
    assert volt("run", manifest, "--", "true").returncode == 0


def test_many_starts_of_one_name_at_once_have_one_winner(volt):
    manifest = volt.manifest(workload={"name": "crowd"})
    words, pipes = ("sh", "-c", "echo ran; read x"), {"stdin": -1, "stdout": -1, "stderr": subprocess.DEVNULL}
    crowd = [volt.start("run", manifest, "--", *words, **pipes) for _ in range(6)]
    until(lambda: sum(one.poll() is not None for one in crowd) == 5, "an end of the others")
    outputs = [one.communicate(b"\n", timeout=60)[0] for one in crowd]
    assert outputs.count(b"ran\n") == 1
    assert sorted(one.returncode for one in crowd) == [0] + [125] * 5
