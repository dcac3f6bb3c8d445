"""Workloads whose unit of systemd volt writes: started, limited, required, watched, started again and stopped."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.vm.limited import eventually
from tests.vm.machines import machine, parent
from tests.vm.test_boot import ROOT
from volt import api

UNITS = Path("/etc/systemd/system")
PAYLOAD = ["sh", "-c", "echo at work; systemd-notify --ready; exec sleep 600"]
ENDED = ("ActiveState", "SubState", "Result", "ExecMainStatus")
STOPPED = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "ExecMainStatus": "143"}


def systemctl(*words, check=True):
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout


def journal(*words):
    return subprocess.run(["journalctl", "--output=cat", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def here(volt, monkeypatch):
    """This process sees the state of the test's own volt too: asking it is quicker than asking another."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


def written(volt, **sections):
    """A manifest, and the name in it."""
    workload = {"command": PAYLOAD, **sections.pop("workload", {})}
    manifest = volt.manifest(workload=workload, service={"ready": "notify", **sections.pop("service", {})}, **sections)
    return manifest, manifest.read_text().split('name = "')[1].partition('"')[0]


class Unit:
    """A workload with its unit, enabled so that systemd remembers how it ended; it goes at the end."""

    def __init__(self, volt, **sections):
        self.manifest, self.workload = written(volt, **sections)
        self.name = f"volt@{self.workload}.service"
        self.file = UNITS / self.name

    def __enter__(self):
        self.file.write_text(api.systemd_unit(self.manifest))
        systemctl("enable", self.name)
        return self

    def __exit__(self, *_):
        systemctl("disable", "--now", self.name, check=False)
        self.file.unlink(missing_ok=True)
        systemctl("reset-failed", self.name, check=False)

    def shown(self, *names):
        """Properties of the unit, as systemd has them."""
        lines = systemctl("show", self.name, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def run(self):
        (found,) = api.inspect(self.workload)
        return found

    def ended(self):
        return self.shown(*ENDED)

    def journal(self):
        return journal(f"VOLT_WORKLOAD={self.workload}")


def test_an_enabled_unit_is_active_when_its_workload_is_ready_and_holds_what_it_may_take(volt):
    odd = volt.folder / "a %n $HOME \"b\" 'c' \\d"
    odd.mkdir()
    os.chown(odd, 1000, 1000)
    volumes = {"volumes": [{"host": str(odd), "container": "/data"}]}
    limits = {"memory_limit": "64M", "cpu_weight": 300}
    with (
        Unit(volt) as needed,
        Unit(volt, storage=volumes, resources=limits, service={"requires": [needed.workload]}) as unit,
    ):
        mounts = unit.shown("RequiresMountsFor")["RequiresMountsFor"]
        assert re.sub(r'([\\"$])', r"\\\1", str(odd)) in mounts
        systemctl("start", unit.name)
        assert unit.name in systemctl("show", "--property=Wants", "multi-user.target")
        run = unit.run
        assert (run.unit, run.state, run.ready_since is not None) == (unit.name, "running", True)
        assert run.cgroup.endswith(f"/{unit.name}/volt-{run.id}")
        assert Path(run.cgroup, "memory.max").read_text() == f"{64 << 20}\n"
        assert Path(run.cgroup).with_name("cpu.weight").read_text() == "300\n"
        assert eventually(lambda: "at work\n" in unit.journal())
        assert needed.run.ready_since <= run.started
        systemctl("stop", needed.name)
        assert (unit.ended(), needed.ended()) == (STOPPED, STOPPED)


def test_stopped_by_volt_it_has_its_time_from_when_what_requires_it_has_ended(volt):
    slow = "trap 'sleep 4; exit 0' TERM; systemd-notify --ready; while :; do sleep 0.1; done"
    with (
        Unit(volt, service={"stop_timeout": "1s"}) as needed,
        Unit(volt, workload={"command": ["sh", "-c", slow]}, service={"requires": [needed.workload]}) as unit,
    ):
        systemctl("start", unit.name)
        assert volt("stop", needed.workload).returncode == 0
        assert needed.ended() == STOPPED, "not killed"
        assert unit.ended() == STOPPED | {"ExecMainStatus": "0"}


def test_what_is_killed_is_started_again_and_what_volt_stops_ends_as_what_systemd_stops(volt):
    with Unit(volt, service={"restart": "always", "restart_sec": "100ms"}, resources={"pids_max": 50}) as unit:
        systemctl("start", unit.name)
        first = unit.run
        os.kill(first.payload, signal.SIGKILL)
        assert eventually(lambda: unit.shown("NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"})
        second = unit.run
        listed = {"Leader": parent(second.payload), "Unit": unit.name}
        assert eventually(lambda: machine(unit.workload) == listed)
        os.kill(second.pid, signal.SIGKILL)  # which gives no name back
        assert eventually(lambda: unit.shown("NRestarts", "ActiveState") == {"NRestarts": "2", "ActiveState": "active"})
        assert eventually(lambda: machine(unit.workload) == {**listed, "Leader": parent(unit.run.payload)})
        second = unit.run
        (third,) = api.restart(unit.workload)
        assert len({first.id, second.id, third.id}) == 3
        (stopped,) = api.stop(unit.workload)
        assert (stopped.id, stopped.signal, unit.ended()) == (third.id, signal.SIGTERM, STOPPED)


def test_a_payload_that_is_silent_for_too_long_is_ended_in_time_whether_it_hears_that_or_not(volt):
    """Its signs of life are passed on: with none it would have been ended before it says that it will be silent."""
    signs = "for i in 1 2 3 4; do systemd-notify WATCHDOG=1; sleep 1; done"
    deaf = f"trap '' QUIT; systemd-notify --ready; {signs}; echo silent; while :; do sleep 1; done"
    service = {"watchdog": "6s", "stop_signal": "SIGQUIT", "stop_timeout": "500ms"}
    with Unit(volt, workload={"command": ["sh", "-c", deaf]}, service=service) as unit:
        systemctl("start", unit.name)
        assert eventually(lambda: unit.ended()["ActiveState"] == "failed")
        assert unit.ended() == {
            **STOPPED,
            "ActiveState": "failed",
            "SubState": "failed",
            "Result": "watchdog",
            "ExecMainStatus": "137",
        }
        assert eventually(lambda: "silent\n" in unit.journal())


def test_a_booted_image_starts_again_when_it_asks_for_that_and_ends_by_systemd_as_by_volt(volt):
    ended = {**STOPPED, "ExecMainStatus": "0"}  # it has shut down
    booted = {"mode": "hybrid-native", "command": []}
    sections = {"kernel": {"cmdline": "systemd.unit=sysinit.target"}, "storage": {"rootfs": str(ROOT)}}
    with Unit(volt, workload=booted, service={"ready_timeout": "2m"}, **sections) as unit:
        systemctl("start", unit.name)
        first = unit.run
        assert (first.unit, first.ready_since is not None) == (unit.name, True)
        assert Path(f"/proc/{first.payload}/comm").read_text() == "systemd\n"
        volt("exec", first.id, "--", "systemctl", "reboot")
        again = {"NRestarts": "1", "ActiveState": "active"}
        assert eventually(lambda: unit.shown("NRestarts", "ActiveState") == again)
        assert unit.run.id != first.id
        systemctl("stop", unit.name)
        assert unit.ended() == ended
        systemctl("start", unit.name)
        (stopped,) = api.stop(unit.workload)
        assert (stopped.status, unit.ended()) == (0, ended)


@pytest.fixture
def template(volt):
    file, folder = UNITS / "volt@.service", Path("/etc/volt/workloads")
    folder.mkdir(parents=True, exist_ok=True)
    before = file.read_bytes() if file.exists() else None  # of test_reboot
    file.write_text(api.systemd_template())
    systemctl("daemon-reload")
    yield folder
    if before is None:
        file.unlink()
    else:
        file.write_bytes(before)
    systemctl("daemon-reload")


def test_the_template_launches_what_lies_in_its_folder_under_its_own_name_and_not_what_volt_has_killed(volt, template):
    manifest, name = written(volt, service={"restart": "on-failure"})
    other = f"{name}-other"
    files = [template / f"{one}.toml" for one in (name, other)]
    for file in files:
        file.write_text(manifest.read_text())

    def state():
        return systemctl("is-active", f"volt@{name}.service", check=False).strip()

    try:
        systemctl("start", f"volt@{name}.service")
        assert api.inspect(name)[0].unit == f"volt@{name}.service"
        api.kill(name)
        assert eventually(lambda: state() in ("inactive", "failed"))
        systemctl("start", f"volt@{other}.service", check=False)
        told = f"volt@{other}.service launches the workload {name}"
        assert eventually(lambda: told in journal(f"--unit=volt@{other}.service"))
    finally:
        systemctl("stop", f"volt@{other}.service", f"volt@{name}.service", check=False)
        systemctl("reset-failed", check=False)
        for file in files:
            file.unlink()
