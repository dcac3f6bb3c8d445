"""Workloads that systemd-machined knows, so that machinectl(1) shows them; and where it does not answer, or refuses."""

import json
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from tests.booting import state_of
from tests.vm.limited import eventually
from tests.vm.machines import machine, machinectl, parent

CALL = ("busctl", "call", "org.freedesktop.machine1", "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager")


@contextmanager
def sleeping(volt, path):
    started = volt("run", "-d", path, "--", "sleep", "600")
    assert started.returncode == 0, started.stderr
    run = started.stdout.decode().strip()
    try:
        yield state_of(volt, run)
    finally:
        volt("stop", run)
        volt("rm", run)


def test_a_container_in_the_background_is_a_machine_with_its_link_until_it_ends(volt):
    with sleeping(volt, volt.manifest(network={"mode": "bridge"})) as run:
        name = run["name"]
        assert eventually(lambda: machine(name) == {"Leader": parent(run["payload"]), "Unit": run["scope"]})
        assert f"{name} container volt" in " ".join(machinectl("list").split())
        shown = machinectl("status", name)
        (link,) = re.findall(r"Iface: (\S+)", shown)
        links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
        assert [one["master"] for one in links if one["ifname"] == link] == ["volt0"]
        assert run["address"] in shown
        machinectl("terminate", name)
        assert eventually(lambda: state_of(volt, run["id"])["state"] != "running")
        assert eventually(lambda: machine(name) == {})
    # The guest's own network is as it was: other tests make theirs from it.
    assert volt("net", "rm", "bridge").returncode == 0


def test_a_name_that_somebody_else_has_stays_his(volt):
    """The refusal is told in the log, and is all that comes of it."""
    path = volt.manifest()
    name = path.read_text().split('name = "')[1].partition('"')[0]
    with subprocess.Popen(["systemd-run", "--quiet", "--scope", "sleep", "600"]) as other:
        try:
            assert eventually(lambda: "/run-" in Path(f"/proc/{other.pid}/cgroup").read_text())
            words = ("RegisterMachine", "sayssus", name, "0", "another", "container", str(other.pid), "")
            subprocess.run([*CALL, *words], check=True, stdout=subprocess.DEVNULL)
            with sleeping(volt, path) as run:
                told = f"systemd-machined does not list it: Machine '{name}' already exists"
                assert eventually(lambda: told in volt("logs", run["id"]).stderr.decode())
            assert machine(name)["Leader"] == str(other.pid)
        finally:
            other.kill()
    assert eventually(lambda: machine(name) == {})


def test_a_machined_that_hangs_holds_up_no_start_and_no_end_for_long(volt):
    machinectl("list")  # starts it
    signal_machined("STOP")
    try:
        with sleeping(volt, volt.manifest()) as run:
            assert volt("exec", run["id"], "--", "true").returncode == 0
            begun = time.monotonic()
            (ended,) = json.loads(volt("stop", run["id"], "--json").stdout)["runs"]
            assert time.monotonic() - begun < 20  # a second of it for the answer, and an emulated machine's own
            assert (ended["state"], ended["status"]) == ("exited", 143)
    finally:
        signal_machined("CONT")
    assert eventually(lambda: machine(run["name"]) == {})


def signal_machined(name):
    subprocess.run(["systemctl", "kill", f"--signal={name}", "systemd-machined"], check=True)
