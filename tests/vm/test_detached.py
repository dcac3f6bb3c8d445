"""A detached workload on a machine with systemd: it lives in a unit of its own, and outlives the unit of its caller."""

import json
import subprocess
import sys

import pytest


def systemd(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("delegate", ["no", "yes"])
def test_it_outlives_the_unit_of_its_caller(volt, delegate):
    caller = f"volt-caller-{delegate}.service"
    words = (sys.executable, "-m", "volt", "run", "-d", str(volt.manifest()), "--", "sleep", "600")
    given = (f"--setenv=VOLT_ROOT={volt.state}", f"--property=Delegate={delegate}", f"--unit={caller}")
    started = systemd(
        "systemd-run", "--wait", "--pipe", "--collect", "--property=KillMode=control-group", *given, *words
    )
    assert started.returncode == 0, started.stderr
    (path,) = (volt.state / "run/runs").glob("*/record.json")
    record = json.loads(path.read_text())
    try:
        assert systemd("systemctl", "is-active", caller).stdout.strip() != "active"
        assert systemd("systemctl", "is-active", record["scope"]).stdout == "active\n"
        assert systemd("systemctl", "show", "--value", "--property=Slice", record["scope"]).stdout == "volt.slice\n"
        (run,) = json.loads(volt("ps", "--json").stdout)["runs"]
        assert (run["id"], run["state"]) == (record["id"], "running")
    finally:
        stopped = volt("stop", "-t", "0", record["id"])
    assert stopped.returncode == 0, stopped.stderr
    assert volt("rm", record["id"]).returncode == 0
