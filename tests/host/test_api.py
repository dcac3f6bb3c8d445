"""The Python interface: launching from inside any program, which stays as it was."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from volt import api


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


def manifest(name="api", **sections):
    """A manifest as a Python value."""
    return {
        "workload": {"name": name, "mode": "container", "command": ["true"]},
        "network": {"mode": "none"},
        "storage": {"rootfs": "host", "writable_layer": "tmpfs"},
        **sections,
    }


def test_run_returns_the_outcome():
    outcome = api.run(manifest(), command=["sh", "-c", "exit 7"])
    assert (outcome.by, outcome.status, outcome.signal) == ("payload", 7, None)


def test_pipes():
    with api.launch(manifest(), command=["cat"], stdin=api.PIPE, stdout=api.PIPE) as run:
        out, _, outcome = run.communicate(b"through\n", timeout=30)
    assert (out, outcome.status) == (b"through\n", 0)


def test_descriptors():
    read, write = os.pipe()
    with api.launch(manifest(), command=["echo", "hi"], stdout=write) as run:
        os.close(write)
        run.wait(30)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"hi\n"


def test_findings_are_raised_all_at_once_with_their_codes():
    bad = manifest(workload={"name": "Bad Name", "mode": "container", "comand": ["true"]})
    with pytest.raises(api.ManifestError) as caught:
        api.run(bad)
    assert {"bad-name", "unknown-key"} <= {finding.code for finding in caught.value.findings}


def test_a_failed_step_is_raised_with_its_name():
    bad = manifest(workload={"name": "api", "mode": "container", "command": ["true"], "workdir": "/no/such"})
    with pytest.raises(api.LaunchError) as caught:
        api.run(bad)
    assert caught.value.outcome.step == "change-folder"


@pytest.mark.kernel
def test_a_time_limit_ends_the_run():
    began = time.monotonic()
    outcome = api.run(manifest(), command=["sleep", "60"], timeout=0.5)
    assert (outcome.status, outcome.signal, outcome.ended) == (143, 15, "time-limit")
    assert time.monotonic() - began < 20


def test_cancelling_from_another_thread_ends_the_run():
    run = api.launch(manifest(), command=["sleep", "60"])
    threading.Timer(0.5, run.cancel).start()
    outcome = run.wait(30)
    assert (outcome.status, outcome.ended) == (143, "cancelled")


def test_waiting_has_a_limit_of_its_own_and_the_run_goes_on():
    with api.launch(manifest(), command=["sleep", "60"]) as run:
        with pytest.raises(TimeoutError):
            run.wait(0.3)
        assert os.path.exists(f"/proc/{run.pid}")


@pytest.mark.kernel
def test_a_run_ends_with_the_program_that_started_it(volt):
    program = (
        "from volt import api; import sys; r = api.launch(sys.argv[1], command=['sh', '-c', 'echo up; sleep 60'],"
        " stdout=api.PIPE); r.stdout.readline(); print(r.pid, flush=True); import time; time.sleep(60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", program, str(volt.manifest())], env=volt.environment, stdout=-1)
    pid = int(caller.stdout.readline())
    caller.kill()
    caller.wait()
    caller.stdout.close()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def lines_of(name):
    return Path("/proc/self", name).read_text().splitlines()


def state_of_this_process():
    return {
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "folder": os.getcwd(),
        "masks": [line for line in lines_of("status") if line.startswith(("Umask", "Shd", "SigB", "SigI", "Cap"))],
        "handlers": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "children": lines_of(f"task/{os.getpid()}/children"),
        "environment": dict(os.environ),
    }


@pytest.mark.kernel
def test_launching_changes_nothing_in_the_calling_process():
    api.run(manifest())
    before = state_of_this_process()
    api.run(manifest(), command=["sh", "-c", "exit 3"], stdin=api.DEVNULL)
    assert state_of_this_process() == before


def test_a_caller_that_ignores_its_children_gets_the_outcome():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert api.run(manifest(), command=["sh", "-c", "exit 9"]).status == 9
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_many_threads_launch_at_once():
    statuses = {}

    def one(number):
        statuses[number] = api.run(manifest(f"thread-{number}"), command=["sh", "-c", f"exit {number}"]).status

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == {number: number for number in range(8)}
