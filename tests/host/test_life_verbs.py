"""Each verb on a workload that runs: through the command line and through the Python interface, with one result."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.host.faces import KINDS, Face
from tests.host.living import until
from volt import api

DEAF = "trap '' TERM; echo up; while :; do sleep 1; done"  # a payload that ignores SIGTERM


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


class Running:
    """A foreground run of its own, whose payload has said that it is up."""

    def __init__(self, volt, name, script="echo up; exec sleep 60", **sections):
        workload = {"name": name, **sections.pop("workload", {})}
        manifest = volt.manifest(workload=workload, **sections)
        self.process = volt.start("run", manifest, "--", "sh", "-c", script, stdin=-3, stdout=-1, stderr=-1)
        assert self.process.stdout.readline() == b"up\n"
        self.name = name

    def end(self, timeout=30):
        """The status of `volt run`."""
        self.process.communicate(timeout=timeout)
        return self.process.returncode


@pytest.fixture
def started(volt):
    """Starts workloads; those that still run at the end are killed."""
    begun = []

    def start(name="web", *arguments, **sections):
        begun.append(Running(volt, name, *arguments, **sections))
        return begun[-1]

    yield start
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
        one.end()
    api.sweep()


@pytest.fixture(params=KINDS)
def face(volt, request):
    return Face(volt, request.param, lambda one: (one["name"], one["state"], one["status"]))


# ── ps and inspect


def test_ps_lists_what_runs_through_both_faces_alike(volt, started):
    started("web", workload={"labels": {"app": "shop"}})
    started("db")
    document = json.loads(volt("ps", "--json").stdout)
    found = api.ps().runs
    assert [one["name"] for one in document["runs"]] == [one.name for one in found] == ["web", "db"]
    assert document["problems"] == []
    assert [one["id"] for one in document["runs"]] == [one.id for one in found]
    assert found[0].labels == document["runs"][0]["labels"] == {"app": "shop"}
    assert volt("ps", "-q", "--filter", "label=app").stdout.decode().split() == [found[0].id]
    assert [one.name for one in api.ps(filters=["label=app=shop"]).runs] == ["web"]


@pytest.mark.kernel
def test_ps_shows_a_table_and_nothing_when_nothing_runs(volt, started):
    assert volt("ps").stdout.decode().split() == ["NAME", "ID", "MODE", "STATE", "PORTS", "COMMAND"]
    started("web")
    head, line = volt("ps").stdout.decode().splitlines()
    assert line.split()[:4] == ["web", api.ps().runs[0].id, "container", "running"]
    assert head.index("STATE") == line.index("running")


def test_watching_shows_them_again_until_a_signal(volt, started):
    started("web")
    watch = volt.start("ps", "--watch", "-q", stdout=-1)
    lines = {watch.stdout.readline() for _ in range(2)}
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=20)
    assert watch.returncode == 130
    assert lines == {f"{api.ps().runs[0].id}\n".encode()}


def test_inspect_knows_the_payload(face, volt, started):
    run = started("web")
    assert face("inspect", "web") == [("web", "running", None)]
    (found,) = api.inspect("web")
    assert found.pid == run.process.pid
    assert Path(f"/proc/{found.payload}/cmdline").read_bytes() == b"sleep\x0060\x00"
    assert f"payload = {found.payload}\n" in volt("inspect", found.id[:5]).stdout.decode()


def test_nothing_is_called_so(face):
    for verb in ("inspect", "wait", "stop", "kill", "pause", "unpause"):
        assert face(verb, "web").startswith("no workload called 'web' is running")


def test_escape_sequences_of_a_manifest_never_reach_the_terminal(volt, started):
    evil = "\x1b]0;owned\x07\x1b[2J"
    started("web", f"echo up; sleep 60; : '{evil}'", workload={"labels": {"app": evil}, "description": evil})
    for words in (
        ("ps",),
        ("ps", "--json"),
        ("inspect", "web"),
        ("inspect", "web", "--json"),
        ("ps", "--filter", evil),
    ):
        done = volt(*words)
        assert not {b"\x1b", b"\x07"} & {bytes([byte]) for byte in done.stdout + done.stderr}


# ── wait


def test_waiting_from_another_process_gives_the_status(face, started):
    run = started("web", "echo up; read x; sleep 5; exit 7")
    assert face("wait", "web") == [("web", "exited", 7)]
    assert run.end() == 7


def test_wait_ends_with_the_status(volt, started):
    started("web", "echo up; sleep 5; exit 9")
    done = volt("wait", "web")
    assert (done.returncode, done.stdout) == (9, b"9\n")


def test_waiting_for_a_signal_s_end(face, started):
    run = started("web")
    threading.Timer(5, run.process.send_signal, [signal.SIGTERM]).start()
    assert face("wait", "web") == [("web", "exited", 143)]


def test_a_wait_has_a_limit_and_the_run_goes_on(face, started):
    started("web")
    began = time.monotonic()
    assert face("wait", "web", timeout=0.3) == "web still runs after 0.3 seconds"
    assert time.monotonic() - began < 10
    assert api.ps().runs[0].state == "running"


def test_a_run_whose_supervisor_is_killed_meanwhile_is_lost(face, started):
    run = started("web")
    threading.Timer(5, run.process.kill).start()
    assert face("wait", "web") == [("web", "lost", 125)]


# ── stop


def test_stop_ends_a_run_and_says_how(face, started):
    run = started("web")
    assert face("stop", "web") == [("web", "exited", 143)]
    assert run.end() == 143
    assert api.ps().runs == ()


@pytest.mark.kernel
def test_a_payload_that_ignores_sigterm_is_killed_in_time(face, started):
    """Outcome: killed by signal 9, status 137, at the time given and not at the run's own."""
    run = started("web", DEAF, service={"stop_timeout": "50s"})
    began = time.monotonic()
    assert face("stop", "web", timeout=1) == [("web", "exited", 137)]
    assert 1 <= time.monotonic() - began < 30
    assert run.end() == 137


def test_a_paused_payload_is_stopped(face, started):
    started("web")
    api.pause("web")
    assert face("stop", "web") == [("web", "exited", 143)]


def test_a_supervisor_that_does_not_answer_is_ended_with_all_of_the_run(face, volt, started, monkeypatch):
    monkeypatch.setattr("volt.runs.stopping.KILLED", 0.5)
    run = started("web", DEAF)
    os.kill(run.process.pid, signal.SIGSTOP)
    assert face("stop", "web", timeout=0) == [("web", "lost", 125)]
    assert volt.left() == []


def test_a_stop_timeout_that_poll_does_not_take(face, started):
    started("web", service={"stop_timeout": "600h"})
    assert face("stop", "web") == [("web", "exited", 143)]


def test_stop_ends_all_at_once(face, started):
    for number in range(3):
        started(f"t{number}", DEAF)
    began = time.monotonic()
    found = face("stop", every=True, timeout=2)
    assert found == [(f"t{number}", "exited", 137) for number in range(3)]
    assert time.monotonic() - began < 6, "one after the other"
    assert face("stop", every=True) == []


def test_of_several_names_each_is_told_and_the_rest_goes_on(face, started):
    started("web")
    assert face("stop", "nothing", "web").startswith("nothing: no workload called 'nothing'")
    assert api.ps().runs == ()


def test_ignoring_makes_stop_idempotent(face, started):
    started("web")
    assert face("stop", "web", ignore=True) == [("web", "exited", 143)]
    assert face("stop", "web", ignore=True) == []


def test_a_stop_says_whether_names_or_all_are_meant(face):
    assert face("stop") == "no workload is named"
    assert face("stop", "web", every=True) == "both names and --all are given"


def test_the_table_of_a_stop_is_its_name(volt, started):
    started("web")
    done = volt("stop", "nothing", "web")
    assert (done.returncode, done.stdout) == (1, b"web\n")
    assert b"volt: no workload called 'nothing'" in done.stderr


# ── kill


@pytest.mark.parametrize("word", ["USR1", "sigusr1", "10"])
def test_kill_sends_a_signal_by_name_or_number(face, started, word):
    run = started("web", "trap 'exit 5' USR1; echo up; while :; do sleep 0.1; done")
    assert face("kill", "web", signal=word) == [("web", "running", None)]
    assert run.end() == 5


def test_kill_kills(face, started):
    run = started("web", DEAF)
    face("kill", "web")
    assert run.end() == 137


@pytest.mark.kernel
def test_a_paused_payload_is_killed_at_once(face, started):
    run = started("web")
    api.pause("web")
    face("kill", "web")
    assert run.end() == 137


def test_a_signal_reaches_a_paused_payload_when_it_goes_on(face, started):
    run = started("web", "trap 'exit 5' USR1; echo up; while :; do sleep 0.1; done")
    api.pause("web")
    face("kill", "web", signal="USR1")
    api.unpause("web")
    assert run.end() == 5


def test_there_is_no_such_signal(face, started):
    started("web")
    assert face("kill", "web", signal="NONE") == "there is no signal NONE"


# ── pause


@pytest.mark.kernel
def test_what_is_paused_stands_still_until_it_goes_on(face, started):
    run = started("web", "echo up; while :; do echo; sleep 0.01; done")
    assert face("pause", "web") == [("web", "paused", None)]
    assert api.ps().runs[0].state == "paused"
    os.set_blocking(run.process.stdout.fileno(), False)
    while run.process.stdout.read(1 << 16):
        pass
    time.sleep(0.2)
    assert run.process.stdout.read(1) is None
    assert face("unpause", "web") == [("web", "running", None)]
    until(lambda: run.process.stdout.read(1) == b"\n", "a line")


def test_pausing_twice_and_going_on_twice_are_refused(face, started):
    started("web")
    assert face("unpause", "web") == "web is not paused"
    api.pause("web")
    assert face("pause", "web") == "web is paused already"
    assert face("unpause", every=True) == [("web", "running", None)]
    assert face("unpause", every=True) == []


# ── many at once


def test_many_threads_launch_and_stop_at_once(volt):
    """32 threads of one program; each workload ends as its own thread stopped it."""
    ended = {}

    def one(number):
        name = f"t{number}"
        manifest = {
            "workload": {"name": name, "mode": "container"},
            "network": {"mode": "none"},
            "storage": {"rootfs": "host", "writable_layer": "tmpfs"},
        }
        with api.launch(manifest, command=["sleep", "60"], stdin=api.DEVNULL) as run:
            while not api.ps(filters=[f"name={name}"]).runs:
                time.sleep(0.01)
            (state,) = api.stop(name)
            ended[name] = (state.status, run.wait(30).status)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert ended == {f"t{number}": (143, 143) for number in range(32)}
    assert api.ps().runs == ()


def test_ps_tells_the_truth_while_runs_come_and_go(volt):
    """What it says to run has been started and not been waited for; nothing that it reads is a problem."""
    stop = threading.Event()
    seen, problems = set(), []

    def watch():
        while not stop.is_set():
            found = api.ps()
            seen.update(state.name for state in found.runs)
            problems.extend(found.problems)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(10):
        manifest = volt.manifest(workload={"name": f"brief-{number}"})
        assert api.run(manifest, command=["sleep", "0.1"]).status == 0
    stop.set()
    watcher.join(30)
    assert problems == []
    assert len(seen) >= 8


def test_a_reboot_that_is_simulated_leaves_nothing_running(volt, started):
    """Another boot's record, and no lock held: what ran then does not run now, whoever has its numbers."""
    started("web")
    (record,) = api.ps().runs
    run = "feedfacefeed"
    folder = volt.state / "run/runs" / run
    folder.mkdir()
    values = json.loads((volt.state / f"run/runs/{record.id}/record.json").read_text())
    values |= {
        "id": run,
        "name": "old",
        "boot_id": "0" * 36,
        "cgroup": f"{record.cgroup.rpartition('/')[0]}/volt-{run}",
    }
    (folder / "record.json").write_text(json.dumps(values))
    (volt.state / f"run/runs/{run}.lock").touch()
    assert [state.name for state in api.ps(ended=True).runs] == ["web"]
    assert not folder.exists()
    assert subprocess.run(["kill", "-0", str(record.pid)], check=False).returncode == 0
