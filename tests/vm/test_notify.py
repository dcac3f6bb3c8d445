"""A unit of systemd with Type=notify is active once its workload is ready, and not before."""

import subprocess
import sys
import time

UNIT = "volt-notify.service"


def systemd(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


def started(volt, script, **sections):
    """How long systemd-run took, which waits until the unit is active; what that was then."""
    words = (sys.executable, "-m", "volt", "run", str(volt.manifest(**sections)), "--", "sh", "-c", script)
    given = ("--property=Type=notify", "--property=TimeoutStartSec=120", f"--unit={UNIT}", "--collect")
    begun = time.monotonic()
    done = systemd("systemd-run", *given, f"--setenv=VOLT_ROOT={volt.state}", *words)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begun, systemd("systemctl", "is-active", UNIT).stdout.strip()


def test_a_unit_is_active_when_its_workload_is_ready(volt):
    service = {"ready": "notify"}
    took, state = started(volt, "sleep 3; systemd-notify --ready; exec sleep 600", service=service)
    try:
        assert (took > 3, state) == (True, "active")
        assert " (ready)" in volt("ps").stdout.decode()
    finally:
        systemd("systemctl", "stop", UNIT)
    assert systemd("systemctl", "is-active", UNIT).stdout.strip() != "active"


def test_without_a_sign_it_is_active_when_its_command_has_started(volt):
    _, state = started(volt, "exec sleep 600")
    systemd("systemctl", "stop", UNIT)
    assert state == "active"
