"""A machine that lost its power while workloads ran, and was started again: nothing runs, nothing is lost, all is told.

Simulated as far as a process can see it: everything of the runs dies at once, their cgroups are gone, and another boot
id lies over the kernel's in the mount namespace of what comes after. Where a run's folder lies in /run that is empty
then; below a VOLT_ROOT on a disk it is as the power left it.
"""

import json
import os
import shutil
import signal
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.host.conftest import Volt, cgroups, left_empty
from tests.host.living import until
from tests.host.test_kill import descendants, gone, start_time
from volt import api
from volt.model.run import RESTARTED

AS_ANOTHER_BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class Machine(Volt):
    """A volt whose machine can be started anew."""

    boot = None

    def command(self, arguments):
        again = ["unshare", "--mount", "sh", "-c", AS_ANOTHER_BOOT, self.boot] if self.boot else []
        return [*again, *super().command(arguments)]

    def restart(self, *, in_memory):
        """`in_memory`: /run is, as it should be."""
        runs = api.ps().runs
        family = [(pid, start_time(pid)) for state in runs for pid in descendants(state.pid)]
        for pid, _ in family:
            with suppress(ProcessLookupError):  # it has died with the one before
                os.kill(pid, signal.SIGKILL)
        assert gone(family) == []
        for state in runs:
            until(lambda cgroup=state.cgroup: removed(cgroup), f"the end of {state.cgroup}")
        if in_memory:
            shutil.rmtree(self.state / "run")
        self.boot = self.folder / "boot_id"
        self.boot.write_text(f"{uuid.uuid4()}\n")

    def told(self):
        """Of each run that `ps -a` knows: its name, state and message."""
        done = self("ps", "-a", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["problems"] == []
        return {run["name"]: (run["state"], run["message"]) for run in document["runs"]}


def removed(cgroup):
    try:
        Path(cgroup).rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # what was killed has not left it yet
        return False
    return True


@pytest.fixture
def machine(tmp_path, busybox, monkeypatch):
    """One on which a workload runs, one is paused, one keeps nothing, and one has ended; all have written."""
    one, before = Machine(tmp_path), set(cgroups())
    monkeypatch.setenv("VOLT_ROOT", str(one.state))
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    one.files = {}
    for name, options in {"web": (), "paused": (), "brief": ("--rm",), "old": ()}.items():
        script = "echo kept >> /srv/kept; echo up; exit 3" if name == "old" else "echo kept >> /srv/kept; exec sleep 60"
        command = ["sh", "-c", script]
        one.files[name] = one.manifest(workload={"name": name, "command": command}, storage=storage)
        done = one("run", "-d", *options, one.files[name])
        assert done.returncode == 0, done.stderr
    api.wait("old")
    api.pause("paused")
    yield one
    one("rm", "--all", "--force", "--timeout", "0")
    assert one("gc", "--older-than", "0").returncode == 0
    assert one.left() == []
    assert left_empty(before) == set()


def launched_again(machine):
    """Each name is free, and finds its layer as it was."""
    for name in ("web", "paused", "old"):
        done = machine("run", machine.files[name], "--", "cat", "/srv/kept")
        assert (done.returncode, done.stdout) == (0, b"kept\n"), done.stderr
    layers = {path.name for path in (machine.state / "state/layers").iterdir()}
    assert layers == {"web", "paused", "old"}


def test_with_an_empty_run_folder_nothing_runs_and_every_name_and_layer_is_there(machine):
    machine.restart(in_memory=True)
    assert machine.told() == {}
    for verb in ("stop", "logs", "inspect"):
        assert b"no workload called 'web'" in machine(verb, "web").stderr
    launched_again(machine)


def test_logs_without_a_record_stay_as_long_as_finished_runs_do(machine):
    logs = sorted(path.name for path in (machine.state / "log").iterdir())
    machine.restart(in_memory=True)
    assert machine("gc").returncode == 0
    assert sorted(path.name for path in (machine.state / "log").iterdir()) == logs
    assert machine("gc", "--older-than", "0").returncode == 0
    assert list((machine.state / "log").iterdir()) == []


def test_what_ran_is_told_to_have_ended_with_the_machine(machine):
    machine.restart(in_memory=False)
    lost = ("lost", RESTARTED)
    assert machine.told() == {"web": lost, "paused": lost, "old": ("exited", "")}
    assert machine("logs", "old").stdout == b"up\n"
    done = machine("wait", "web")
    assert (done.returncode, RESTARTED in done.stderr.decode()) == (125, False)
    launched_again(machine)
    assert machine("restart", "paused").returncode == 0
    assert machine.told()["paused"][0] in ("running", "lost")


def test_a_process_that_got_the_number_of_a_supervisor_is_left_alone(machine):
    (web,) = api.ps(filters=["name=web"]).runs
    record = machine.state / f"run/runs/{web.id}/record.json"
    machine.restart(in_memory=False)
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": os.getpid()}))
    for verb in ("stop", "kill", "pause"):
        machine(verb, "web")
    assert machine.told()["web"] == ("lost", RESTARTED)
