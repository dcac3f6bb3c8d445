"""[resources]: every limit is read back from the kernel and felt by a payload, under both drivers."""

import subprocess

import pytest

from tests.vm.limited import DRIVERS, Limited, eventually
from volt.model.limits import OWN_TASKS

IDLE = "import sys; print('up')\nfor line in sys.stdin: print(eval(line))"
HOG = "a = bytearray({} << 20); print('lives')"
FORKER = """
import os, signal
children = []
try:
    while len(children) < 500:
        pid = os.fork()
        if pid == 0: signal.pause()
        children.append(pid)
except OSError as error:
    print(len(children), error.strerror)
for pid in children: os.kill(pid, signal.SIGKILL)
"""
SPIN = "print('up')\nwhile True: pass"


@pytest.fixture(params=DRIVERS)
def limited(request, volt):
    return Limited(volt, request.param)


@pytest.fixture(scope="session")
def bfq():
    """A scheduler that acts on weights, as an administrator loads it."""
    subprocess.run(["modprobe", "bfq"], check=True)


def test_every_limit_is_what_the_kernel_holds(limited, bfq):
    asked = {
        "memory_limit": "256M",
        "memory_soft": "128M",
        "cpu_weight": 300,
        "cpu_set": "1",
        "io_weight": 200,
        "pids_max": 40,
    }
    with limited.start(asked, IDLE) as run:
        assert run.control("memory.max") == str(256 << 20)
        assert run.control("memory.swap.max") == "0"
        assert run.control("memory.high") == str(128 << 20)
        assert run.control("cpu.weight") == "300"
        assert run.control("cpuset.cpus") == run.control("cpuset.cpus.effective") == "1"
        assert run.control("pids.max") == str(40 + OWN_TASKS)
        weight = "io.weight" if (run.cgroup / "io.weight").exists() else "io.bfq.weight"
        assert run.control(weight) not in ("100", "default 100")


def test_the_cgroup_lies_where_its_driver_puts_it(limited):
    with limited.start({"pids_max": 9}, IDLE) as run:
        run_id = run.record["id"]
        if limited.driver == "systemd":
            assert str(run.cgroup) == f"/sys/fs/cgroup/volt.slice/volt-{run_id}.scope/volt-{run_id}"
            assert (run.cgroup.parent / "supervisor/cgroup.procs").read_text().split() == [str(run.record["pid"])]
            shown = subprocess.run(
                ["systemctl", "show", f"volt-{run_id}.scope", "--property=Slice,Delegate,TasksMax"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert set(shown.stdout.split()) == {"Slice=volt.slice", "Delegate=yes", "TasksMax=infinity"}
        else:
            assert str(run.cgroup) == f"/sys/fs/cgroup/volt/volt-{run_id}"


def test_a_workload_without_limits_has_a_cgroup_of_its_own_too(limited):
    with limited.start({}, IDLE) as run:
        assert run.cgroup.name == f"volt-{run.record['id']}"
        assert run.control("cgroup.procs")


def test_a_memory_hog_dies_at_its_limit_and_is_told_so(limited):
    done = limited.run({"memory_limit": "64M"}, "python3", "-c", HOG.format(256))
    assert (done.returncode, done.stdout) == (137, "")
    assert done.stderr == "volt: killed: out of memory at 64 MiB\n"
    assert done.outcome["message"] == "killed: out of memory at 64 MiB"
    assert done.outcome["events"]["oom_kills"] >= 1


def test_what_stays_below_its_limit_lives(limited):
    done = limited.run({"memory_limit": "512M"}, "python3", "-c", HOG.format(256))
    assert (done.returncode, done.stdout, done.stderr) == (0, "lives\n", "")
    assert done.outcome["events"]["oom_kills"] == 0


def test_a_child_that_dies_for_memory_is_told_and_the_payload_goes_on(limited):
    script = f"python3 -c '{HOG.format(256)}'; echo $?"
    done = limited.run({"memory_limit": "64M"}, "sh", "-c", script)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "137")
    assert "volt: 1 of its processes was killed: out of memory at 64 MiB\n" in done.stderr


def test_above_its_soft_limit_a_workload_is_slowed_down(limited):
    done = limited.run({"memory_soft": "48M"}, "python3", "-c", HOG.format(48))
    assert (done.returncode, done.stdout) == (0, "lives\n")
    assert done.outcome["events"]["memory_throttled"] > 0
    assert done.outcome["events"]["memory_stall"] > 0
    free = limited.run({"memory_soft": "512M"}, "python3", "-c", HOG.format(64))
    assert free.outcome["events"]["memory_throttled"] == 0


def test_a_fork_bomb_stops_at_pids_max(limited):
    """The payload and its children: volt's own processes do not count."""
    done = limited.run({"pids_max": 30}, "python3", "-c", FORKER)
    assert done.stdout == "29 Resource temporarily unavailable\n"
    assert done.outcome["events"]["pids_refused"] == 1
    assert done.stderr == "volt: pids_max was hit: 1 times no process or thread was started\n"
    assert limited.run({"pids_max": 600}, "python3", "-c", FORKER).stdout == ""


def test_one_process_is_the_least_that_a_workload_can_have(limited):
    done = limited.run({"pids_max": 1}, "python3", "-c", FORKER)
    assert done.stdout == "0 Resource temporarily unavailable\n"


def test_a_core_that_is_pinned_is_the_only_one(limited):
    with limited.start({"cpu_set": "1"}, IDLE) as run:
        assert run.ask("__import__('os').sched_getaffinity(0)") == "{1}"
        assert run.ask("__import__('os').sched_setaffinity(0, {0})") == ""
    script = "import os; print(len(os.sched_getaffinity(0)))"
    assert limited.run({}, "python3", "-c", script).stdout == "2\n"


def test_weights_share_a_core_as_they_say(limited):
    """Two that spin on one core, 100 and 300: processor time 1 to 3. A stall of the machine is charged to one of them,
    and weighs less the longer they have spun."""
    sections = {"cpu_set": "0"}
    with (
        limited.start({**sections, "cpu_weight": 100}, SPIN) as light,
        limited.start({**sections, "cpu_weight": 300}, SPIN) as heavy,
    ):
        before = light.used(), heavy.used()

        def ratio():
            return (heavy.used() - before[1]) / (light.used() - before[0])

        assert eventually(lambda: heavy.used() - before[1] > 6_000_000)
        assert eventually(lambda: ratio() == pytest.approx(3, rel=0.1)), ratio()


def test_what_was_limited_leaves_nothing(limited):
    with limited.start({"pids_max": 9, "cpu_weight": 7}, IDLE) as run:
        above = run.cgroup.parent
    assert not run.cgroup.exists()
    if limited.driver == "systemd":
        assert eventually(lambda: not above.exists())
    else:
        assert not list(above.glob("volt-*"))


def test_volts_own_share_of_a_memory_limit_is_small(limited):
    """systemd-nspawn and the init lie in the workload's cgroup: what they take is the workload's too."""
    done = limited.run({"memory_limit": "10M"}, "true")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_limit_that_is_too_small_to_start_is_told_as_that(limited):
    done = limited.run({"memory_limit": "512K"}, "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert "hint: memory_limit is too small" in done.stderr
