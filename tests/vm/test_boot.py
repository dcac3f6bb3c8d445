"""hybrid-native where cgroup v2 has its controllers: the guest's own Debian, booted inside it."""

import subprocess
from pathlib import Path

from guest.image import INNER
from tests.booting import PATIENCE, failed, got_through, inside, manifest, serving, settled, state_of
from tests.host.test_modules import boot, with_init
from tests.host.test_policy import Machine
from tests.vm.limited import eventually
from tests.vm.machines import machine, machinectl

ROOT = Path("/", INNER)
OWN = "/sys/fs/cgroup"
MODULE = "dummy"  # of the kernel: it makes an interface that nobody uses


def test_a_debian_boots_within_its_limits_and_stays_inside(volt):
    limits = {"pids_max": 300, "memory_limit": "512M"}
    with serving(volt, manifest(volt, ROOT, resources=limits)) as run:
        assert settled(volt, run) == "running"
        assert failed(volt, run) == ""
        assert {"memory", "pids"} <= set(inside(volt, run, "cat", f"{OWN}/cgroup.controllers").split())
        assert "system.slice" in inside(volt, run, "ls", OWN), "no cgroups of its own"
        assert got_through(volt, run) == []
        assert volt("exec", run, "--", "sh", "-c", f"echo max > {OWN}/pids.max").returncode != 0
        forked = "import os, time\nfor n in range(400):\n  if not os.fork(): os.closerange(0, 3); time.sleep(60)"
        assert volt("exec", run, "--", "python3", "-c", forked).returncode != 0, "more than pids_max"


def test_a_command_is_a_unit_whose_status_comes_back(volt):
    path = volt.manifest(workload={"mode": "hybrid-native"}, storage={"rootfs": str(ROOT)})
    done = volt("run", path, "--", "sh", "-c", "echo from a unit; exit 7", timeout=120)
    assert (done.returncode, done.stdout) == (7, b"from a unit\n"), done.stderr


def test_a_module_of_the_kernel_is_loaded_before_the_boot_where_the_policy_lists_it(tmp_path, busybox):
    machine, there = Machine(tmp_path, busybox), Path("/sys/module", MODULE)
    with_init(machine, f"grep -o '^{MODULE} ' /proc/modules")
    assert not there.exists()
    try:
        machine.says('[kernel]\nmodules = ["loop"]\n')
        refused = machine(*boot(machine, MODULE), timeout=PATIENCE)
        assert refused.returncode == 125
        assert b"[beyond-policy]" in refused.stderr
        assert not there.exists()
        machine.says(f'[kernel]\nmodules = ["{MODULE}"]\n')
        done = machine(*boot(machine, MODULE), timeout=PATIENCE)
        assert (done.returncode, done.stdout.decode()) == (0, f"{MODULE} \n"), done.stderr
        assert there.exists(), "it stays"
    finally:
        machine.close()
        subprocess.run(["modprobe", "--remove", MODULE], check=True)
    assert machine.front.left() == []


def test_a_reboot_inside_starts_it_anew_in_the_same_scope(volt):
    path = manifest(volt, ROOT, service={"restart": "on-failure", "restart_sec": "100ms"})
    with serving(volt, path) as run:
        before = state_of(volt, run)
        name = before["name"]
        assert eventually(lambda: machine(name) == {"Leader": str(before["payload"]), "Unit": before["scope"]})
        volt("exec", run, "--", "systemctl", "reboot", timeout=PATIENCE)
        assert eventually(lambda: (one := state_of(volt, run))["restarts"] == 1 and one["state"] == "running", PATIENCE)
        after = state_of(volt, run)
        assert [after[key] for key in ("pid", "cgroup", "scope")] == [before[key] for key in ("pid", "cgroup", "scope")]
        assert before["scope"].endswith(".scope")
        assert before["payload"] != after["payload"]
        assert eventually(lambda: machine(name) == {"Leader": str(after["payload"]), "Unit": before["scope"]})
        shown = machinectl("status", name)
        assert "Service: volt; class container" in shown
        assert "OS: Debian GNU/Linux" in shown
        assert "systemd-journald.service" in shown
        assert settled(volt, run) == "running"
        assert "it ended with status 133; it is started anew" in volt("logs", run).stderr.decode()
        assert volt("stop", run, timeout=PATIENCE).returncode == 0
        assert eventually(lambda: machine(name) == {})
