"""volt update: the limits of a workload that runs, changed in the kernel and felt inside."""

import json
import subprocess

import pytest

from tests.vm.limited import DRIVERS, Limited
from tests.vm.test_limits import IDLE

FORK = "len([__import__('os').posix_spawn('/bin/sleep', ['sleep', '100'], {}) for n in range(20)])"
TAKE = "len(bytearray(200 << 20))"

NOBODY = "volt: no workload called 'nobody' is running, and no run of it is kept\nhint: volt ps -a lists them\n"


@pytest.fixture(params=DRIVERS)
def limited(request, volt):
    return Limited(volt, request.param)


def test_a_raised_limit_is_room_and_a_lowered_one_is_none(limited):
    with limited.start({"memory_limit": "100M"}, IDLE) as run:
        done = limited("update", run.name, "--memory-limit", "400M")
        assert (done.returncode, done.stderr) == (0, "")
        assert "memory_limit = 400M\n" in done.stdout
        assert run.control("memory.max") == str(400 << 20)
        assert run.ask(TAKE) == str(200 << 20)
        assert limited("update", run.name, "--memory-limit", "100M").returncode == 0
        assert run.ask(TAKE) == ""  # it was killed
        assert run.process.wait(30) == 137
        assert run.process.stderr.read() == "volt: killed: out of memory at 100 MiB\n"


def test_every_field_can_be_changed_and_lifted(limited):
    start = {"memory_limit": "64M", "memory_soft": "32M", "cpu_weight": 50, "cpu_set": "0", "pids_max": 20}
    words = {"memory-limit": "128M", "memory-soft": "96M", "cpu-weight": "250", "cpu-set": "0-1", "pids-max": "33"}
    with limited.start(start, IDLE) as run:
        given = [part for option, value in words.items() for part in (f"--{option}", value)]
        done = limited("update", run.name, *given, "--json")
        assert done.returncode == 0, done.stderr
        held = json.loads(done.stdout)["resources"]
        assert {key: held[key] for key in start} == {
            "memory_limit": str(128 << 20),
            "memory_soft": str(96 << 20),
            "cpu_weight": "250",
            "cpu_set": "0-1",
            "pids_max": "33",
        }
        assert run.control("cpu.weight") == "250"
        assert run.ask("__import__('os').sched_getaffinity(0)") == "{0, 1}"
        lifted = [part for option in words for part in (f"--{option}", "none")]
        assert limited("update", run.name, *lifted).returncode == 0
        names = ("memory.max", "memory.high", "cpu.weight", "cpuset.cpus", "pids.max")
        assert [run.control(name) for name in names] == ["max", "max", "100", "0-1", "max"]


def test_a_process_limit_that_comes_later_is_felt(limited):
    with limited.start({"pids_max": 100}, IDLE) as run:
        assert run.ask(FORK) == "20"
        assert limited("update", run.name, "--pids-max", "22").returncode == 0
        assert run.ask(FORK) == ""


def test_all_are_changed_or_none(limited):
    """A core that the machine has, but a weight that is none."""
    with limited.start({"memory_limit": "64M", "cpu_set": "0"}, IDLE) as run:
        done = limited("update", run.name, "--memory-limit", "128M", "--cpu-weight", "10001")
        assert done.returncode == 1
        assert "volt: --cpu-weight: " in done.stderr
        assert limited("update", run.name, "--memory-limit", "128M", "--cpu-set", "77").returncode == 1
        assert run.control("memory.max") == str(64 << 20)


def test_a_soft_limit_above_what_is_held_is_refused(limited):
    with limited.start({"memory_limit": "64M", "memory_soft": "32M"}, IDLE) as run:
        for option, size in (("--memory-soft", "64M"), ("--memory-limit", "16M")):
            done = limited("update", run.name, option, size)
            assert done.returncode == 1
            assert done.stderr.startswith(f"volt: {option}: memory_soft is ")
        assert [run.control(name) for name in ("memory.max", "memory.high")] == [str(64 << 20), str(32 << 20)]


def test_a_weight_under_systemd_is_the_units_own(volt):
    limited = Limited(volt, "systemd")
    with limited.start({"cpu_weight": 50}, IDLE) as run:
        assert limited("update", run.name, "--cpu-weight", "70").returncode == 0
        show = ["systemctl", "show", "--value", "--property=CPUWeight", run.record["scope"]]
        assert subprocess.run(show, capture_output=True, text=True, check=True).stdout == "70\n"
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert run.control("cpu.weight") == "70"


def test_when_systemd_cannot_be_reached_nothing_is_changed(volt, monkeypatch):
    limited = Limited(volt, "systemd from a scope")
    with limited.start({"memory_limit": "64M", "cpu_weight": 50}, IDLE) as run:
        monkeypatch.setitem(volt.environment, "DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={volt.folder}/no-bus")
        words = ("--memory-limit", "128M", "--cpu-set", "0", "--pids-max", "50", "--cpu-weight", "70")
        done = limited("update", run.name, *words)
        assert (done.returncode, "systemd cannot be reached" in done.stderr) == (1, True)
        names = ("memory.max", "cpuset.cpus.effective", "pids.max", "cpu.weight")
        every = (run.cgroup.parent / "cpuset.cpus.effective").read_text().strip()
        assert [run.control(name) for name in names] == [str(64 << 20), every, "max", "50"]


def test_a_workload_without_limits_gets_its_first_ones_in_a_scope(volt):
    limited = Limited(volt, "systemd from a scope")
    with limited.start({}, IDLE) as run:
        assert run.record["scope"]
        assert not (run.cgroup / "memory.max").exists()
        done = limited("update", run.name, "--memory-limit", "64M", "--pids-max", "50")
        assert (done.returncode, done.stderr) == (0, "")
        assert run.control("memory.max") == str(64 << 20)
        assert run.ask(TAKE) == ""
        assert run.process.wait(30) == 137
        assert run.process.stderr.read() == "volt: killed: out of memory at 64 MiB\n"


def test_where_the_caller_holds_processes_a_first_limit_is_refused_with_the_reason(volt):
    """This test itself lies in a unit that is delegated and not divided."""
    limited = Limited(volt, "systemd")
    with limited.start({}, IDLE) as run:
        assert not run.record["scope"]
        done = limited("update", run.name, "--memory-limit", "64M")
        assert done.returncode == 1
        assert "was started where no such limit can be held" in done.stderr
        assert "start it again with the limit in its manifest" in done.stderr


def test_who_does_not_run_is_named(limited):
    done = limited("update", "nobody", "--pids-max", "5")
    assert (done.returncode, done.stderr) == (1, NOBODY)
