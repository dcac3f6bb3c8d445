"""The machine that the other tests here need, and a first launch on it, from the places that a launch comes from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm.conftest import CGROUP, CONTROLLERS, unfit

HELLO = Path(__file__).parents[2] / "examples/hello.toml"
RUN = (sys.executable, "-m", "volt", "run", str(HELLO))
FROM = {
    "a service": ("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
    "a service that may divide its cgroup": (
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes"),
    ),
    "a scope": ("systemd-run", "--quiet", "--scope", "--collect"),
}


def test_systemd_is_pid_1_and_cgroup_v2_is_alone():
    assert unfit() == ""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    assert [words[1] for words in mounts if words[2] in {"cgroup", "cgroup2"}] == [str(CGROUP)]


def test_the_system_bus_answers():
    words = ("busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1")
    done = subprocess.run([*words, "org.freedesktop.systemd1.Manager", "GetUnit", "s", "init.scope"], check=False)
    assert done.returncode == 0


def test_every_controller_can_be_handed_down():
    handed = CGROUP / "cgroup.subtree_control"
    assert set(handed.read_text().split()) <= set((CGROUP / "cgroup.controllers").read_text().split())
    group = CGROUP / "volt-vm-test"
    group.mkdir()
    try:
        handed.write_text(" ".join(f"+{name}" for name in CONTROLLERS))
        assert set((group / "cgroup.controllers").read_text().split()) >= CONTROLLERS
    finally:
        group.rmdir()


def test_doctor_misses_nothing(volt):
    done = volt("doctor", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0, document


@pytest.mark.parametrize("launcher", FROM.values(), ids=FROM)
def test_the_hello_example_runs_from(launcher, volt_root):
    environment = f"VOLT_ROOT={volt_root}"
    done = subprocess.run(
        [*launcher, "env", environment, *RUN], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello from volt\n", "")
