"""Modules of the host's kernel for a booted image: by the host's modprobe(8) and where the policy lists them.

No module is loaded here: modprobe.d(5) says what becomes of each name, and tests/vm loads one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.host import front
from tests.host.living import until
from tests.host.test_policy import Machine

SLEEPS = f"61.{os.getpid()}"  # seconds, which nobody else does
# A module's name → what modprobe(8) does for it.
INSTALLS = {
    "volt_forbidden": "/bin/true",
    "volt_broken": "echo it is broken >&2; exit 3",
    "volt_slow": f"sleep {SLEEPS}",
}
PARTS = [name for name in sorted(os.listdir("/sys/module")) if not Path("/sys/module", name, "initstate").exists()]
LOADED = next((name for name in PARTS if name.replace("_", "").isalpha()), "")
LAID_OVER = 'mount -t overlay -o "lowerdir=$1:/usr/lib" modules /usr/lib && mount --bind "$1/modules" /usr/lib/modules'


@pytest.fixture(scope="module")
def shared(tmp_path_factory, busybox):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "etc/modprobe.d").mkdir(parents=True)
    lines = [f"install {name} {does}\n" for name, does in {**INSTALLS, LOADED: "false"}.items()]
    (folder / "etc/modprobe.d/volt-test.conf").write_text("".join(lines))
    lists = folder / "lib/modules" / os.uname().release
    (lists / "kernel").mkdir(parents=True)
    (lists / "modules.builtin").touch()
    names = (*INSTALLS, LOADED, "volt_absent", "volt_gone")
    (lists / "modules.dep").write_text("".join(f"kernel/{name}.ko:\n" for name in names))
    for name in names[:-1]:
        (lists / f"kernel/{name}.ko").touch()
    machine = Machine(folder, busybox)
    subprocess.run([*machine.within, "sh", "-ec", LAID_OVER, "sh", folder / "lib"], check=True)
    with_init(machine, "echo booted")
    machine.lists = lists
    yield machine
    machine.close()


def with_init(machine, script):
    """In the machine's small root an init that does this, and ends."""
    init = machine.root / "sbin/init"
    init.parent.mkdir(exist_ok=True)
    init.unlink(missing_ok=True)
    init.write_text(f"#!/bin/sh\n{script}\n")
    init.chmod(0o755)


@pytest.fixture
def machine(shared):
    names = ", ".join(f'"{name}"' for name in (*INSTALLS, LOADED, "volt-absent", "volt_gone", "volt_none"))
    shared.says(f"[kernel]\nmodules = [{names}]\n")
    yield shared
    assert shared.front.left() == []


def boot(machine, *names):
    """The words that boot an image which asks for these modules."""
    kernel = {"modules": list(names)}
    storage = {"writable_layer": "tmpfs"}
    path = machine.manifest(workload={"mode": "hybrid-native", "command": []}, kernel=kernel, storage=storage)
    return "run", path


def failed(machine, *names):
    """The words with which a launch has failed, without a boot."""
    done = machine(*boot(machine, *names))
    assert done.returncode == 125
    assert b"booted" not in done.stdout
    return done.stderr.decode()


def test_a_module_that_is_loaded_needs_nothing_and_the_boot_begins(machine):
    done = machine(*boot(machine, LOADED))
    assert (done.returncode, done.stdout) == (0, b"booted\n"), done.stderr


def test_a_container_has_none_loaded_and_needs_no_policy(machine):
    machine.says("")
    path = machine.manifest(kernel={"modules": ["volt_broken"]})
    assert machine("run", path).stdout.startswith(b"started\n")


def test_one_that_has_not_begun_to_work_yet_is_not_taken_for_loaded(machine):
    """Its folder is there from the first moment of a load; here modprobe.d(5) has it loaded by nobody."""
    state = f"/sys/module/{LOADED}"
    within(machine, "mount", "-t", "tmpfs", "none", state)
    try:
        within(machine, "sh", "-c", f"echo coming > {state}/initstate")
        assert "load-modules" in failed(machine, LOADED)
        within(machine, "sh", "-c", f"echo live > {state}/initstate")
        # Behind the step systemd-nspawn stops at this test's mount: it may show no /sys that shows more.
        assert "Failed to mount sysfs" in failed(machine, LOADED)
    finally:
        within(machine, "umount", state)


def within(machine, *words):
    subprocess.run([*machine.within, *words], check=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("volt_broken", "volt_broken: it is broken"),
        ("volt_forbidden", "volt_forbidden: /usr/sbin/modprobe has ended well and not loaded it"),
        ("volt-absent", "volt_absent: modprobe: FATAL: Module volt_absent not found"),
    ],
)
def test_a_module_that_cannot_be_loaded_stops_the_launch_by_its_name_and_the_cause(machine, name, said):
    text = failed(machine, LOADED, name)
    assert "load-modules" in text
    assert "kernel.modules" in text
    assert said in text
    assert "hint: " in text


def test_one_that_takes_too_long_stops_the_launch_and_all_that_was_started_for_it(machine):
    begun = time.monotonic()
    assert "volt_slow: /usr/sbin/modprobe has not ended within 10 seconds" in failed(machine, "volt_slow")
    assert time.monotonic() - begun >= 10
    until(lambda: not running("sleep", SLEEPS), "its end")


def test_whoever_wants_the_launch_to_end_does_not_wait_for_modprobe(machine):
    command = [*machine.within, *machine.front.argv, *boot(machine, "volt_slow")]
    launch = subprocess.Popen(command, env=machine.front.environment, cwd=machine.folder, stderr=subprocess.PIPE)
    until(lambda: running("sleep", SLEEPS), "modprobe")
    launch.terminate()
    assert b"volt_slow: /usr/sbin/modprobe is not waited for" in launch.communicate(timeout=60)[1]
    assert launch.returncode == 125
    until(lambda: not running("sleep", SLEEPS), "its end")


def test_killed_meanwhile_a_launch_takes_modprobe_along(machine):
    command = [*machine.within, *machine.front.argv, *boot(machine, "volt_slow")]
    launch = subprocess.Popen(command, env=machine.front.environment, cwd=machine.folder)
    words = ("modprobe", "--", "volt_slow")
    until(lambda: running(*words), "modprobe")
    launch.kill()
    launch.wait(timeout=20)
    until(lambda: not running(*words), "its end")
    # What modprobe.d(5) has it start is nobody's.
    for path in running("sleep", SLEEPS):
        os.kill(int(path.parent.name), signal.SIGKILL)
    assert machine("gc").returncode == 0


def running(*words):
    """Every process with this command line."""
    line = b"".join(word.encode() + b"\0" for word in words)
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if said_in(path) == line]


def said_in(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("name", ["volt_none", "volt_gone"])
def test_one_that_is_not_listed_or_whose_file_is_gone_is_found_while_planning(machine, name):
    text = failed(machine, name)
    assert "[no-module]" in text
    assert f"has no module {name}" in text
    assert "apt install linux-image-" in text


def test_without_a_line_of_the_policy_none_is_loaded_and_without_a_policy_neither(machine):
    for policy in ('[kernel]\nmodules = ["other"]\n', '[network]\nmode = ["none"]\n', None):
        machine.says(policy or "")
        if policy is None:
            machine.policy.unlink()
        text = failed(machine, LOADED)
        assert "[beyond-policy]" in text
        assert "m1.toml:" in text
        assert f'"{LOADED}"]' in text
        assert ("/etc/volt/policy.toml:2:11: the policy of this machine: kernel.modules" in text) == (
            policy is not None and "kernel" in policy
        )


@pytest.mark.alone
def test_a_plan_that_was_kept_is_gone_by_until_the_policy_or_the_module_changes(machine):
    words = boot(machine, LOADED)
    front.let_age()
    said = machine.front.planned(*words, prefix=machine.within)
    assert (said.returncode, said.stdout) == (0, b"booted\n"), said.stderr
    assert machine.front.cached(*words, prefix=machine.within).stdout == b"booted\n"
    lies = machine.lists / f"kernel/{LOADED}.ko"
    lies.rename(machine.lists / "aside")
    assert not machine.front.hits(*words, prefix=machine.within)
    (machine.lists / "aside").rename(lies)
    front.let_age()
    assert machine(*words).stdout == b"booted\n"
    assert machine.front.hits(*words, prefix=machine.within)
    machine.policy.unlink()
    assert "[beyond-policy]" in machine(*words).stderr.decode()
