"""Restarting, removing and clearing away: detached workloads at and after their end, through both faces."""

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host.conftest import CGROUPS
from tests.host.faces import KINDS, Face
from tests.host.living import until
from volt import api

pytestmark = pytest.mark.usefixtures("own_runs")


@pytest.fixture
def detached(volt):
    """Starts a workload that outlives its caller; the run's id."""

    def start(name="web", script="echo out; exec sleep 60", *options, **sections):
        workload = {"name": name, "command": ["sh", "-c", script]}
        manifest = volt.manifest(workload=workload, **sections)
        done = volt("run", "-d", manifest, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    return start


def short(one):
    return (one["name"], one["state"]) if "state" in one else (one["name"], list(one["runs"]), one["layer"])


@pytest.fixture(params=KINDS)
def face(volt, request):
    return Face(volt, request.param, short)


def kept(volt):
    """The ids of the records and of the logs that are there."""
    return [sorted(path.name for path in (volt.state / place).glob("*")) for place in ("run/ended", "log")]


def of(cleared):
    """What is this test's, and cgroups."""
    return sorted((one.kind, one.run) for one in cleared.rubbish if one.kind == "cgroup" or is_own(one.path))


def is_own(path):
    """Ids and addresses are claimed for all of the machine, where others may have been killed."""
    return path.startswith(os.environ["VOLT_ROOT"])


# ── after the end


def test_what_has_ended_is_known_by_name_and_id(volt, detached):
    first = detached(script="exit 3")
    assert [state.status for state in api.wait("web")] == [3]
    second = detached()
    assert [(one.id, one.state, one.status) for one in api.ps(ended=True).runs] == [
        (first, "exited", 3),
        (second, "running", None),
    ]
    assert api.inspect("web")[0].id == second
    (ended,) = api.inspect(first[:8])
    assert (ended.id, ended.status, ended.log) == (first, 3, f"{volt.state}/log/{first}/0.log")
    assert api.stop(first)[0].status == 3
    assert b"exited (3)" in volt("ps", "-a").stdout


@pytest.mark.kernel
def test_a_killed_supervisor_s_run_is_lost_and_stays_so(volt, detached):
    run = detached()
    os.kill(api.ps().runs[0].pid, signal.SIGKILL)
    assert api.wait("web")[0].state == "lost"
    assert [(one.id, one.state) for one in api.ps(ended=True).runs] == [(run, "lost")]


@contextmanager
def slow_to_write(pid, seconds):
    """A supervisor whose disk takes so long for its outcome."""
    argv = ["strace", "-qq", "-p", str(pid), "-o", "/dev/null", "-e", "trace=fsync"]
    with subprocess.Popen([*argv, "-e", f"inject=fsync:delay_enter={seconds}s"]) as tracer:
        until(lambda: f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text(), "the tracer")
        yield
        assert tracer.wait(20) == 0


@pytest.mark.kernel
def test_a_supervisor_that_only_puts_things_in_order_is_not_killed_when_its_payload_would_be(detached, monkeypatch):
    monkeypatch.setattr("volt.runs.stopping.KILLED", 1)
    detached()
    with slow_to_write(api.ps().runs[0].pid, 3):
        (ended,) = api.stop("web", timeout=0)
    assert (ended.state, ended.status) == ("exited", 137)


@pytest.mark.kernel
def test_nor_is_it_waited_for_without_end(detached, monkeypatch):
    monkeypatch.setattr("volt.runs.stopping.UNDOES", 0.5)
    monkeypatch.setattr("volt.runs.stopping.is_guarded", lambda _: False)
    detached()
    os.kill(api.ps().runs[0].pid, signal.SIGSTOP)
    (ended,) = api.stop("web", timeout=0)
    assert (ended.state, ended.status) == ("lost", 125)


# ── restart


def test_restart_launches_the_same_again(face, volt, detached):
    old = detached("web", "echo out; exec sleep 60", "--label", "app=shop", "--name", "other")
    assert face("restart", "other") == [("other", "running")]
    (now,) = api.ps().runs
    assert (now.name, now.labels, now.command) == ("other", {"app": "shop"}, ("sh", "-c", "echo out; exec sleep 60"))
    assert now.id != old
    assert [(one.id, one.status) for one in api.inspect(old)] == [(old, 143)]


def test_what_has_ended_is_launched_again(face, detached):
    detached(script="sleep 1; exit 3")
    api.wait("web")
    assert face("restart", "web") == [("web", "running")]


def test_what_cannot_be_launched_again_is_not_stopped(face, volt, detached):
    detached()
    path = Path(api.ps().runs[0].source["file"])
    path.write_text(path.read_text().replace("container", "conteiner"))
    assert face("restart", "web") == "1 problem found"
    assert api.ps().runs[0].state == "running"


def test_what_is_its_callers_or_came_from_no_file_is_refused(face):
    document = {
        "workload": {"name": "web", "mode": "container"},
        "network": {"mode": "none"},
        "storage": {"rootfs": "host", "writable_layer": "tmpfs"},
    }
    with api.launch(document, command=["sleep", "60"], stdin=api.DEVNULL) as run:
        while not api.ps().runs:
            time.sleep(0.01)
        assert face("restart", "web").startswith("web runs in the foreground of its caller")
        run.cancel()
        run.wait(20)
    api.detach(document, command=["sleep", "60"])
    assert face("restart", "web").startswith("web was launched from no file")
    assert api.ps().runs[0].state == "running"


# ── rm


def test_rm_by_name_removes_every_finished_run_with_its_log_and_the_layer(face, volt, detached, busybox):
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    runs = []
    for _ in range(2):
        runs.append(detached(script="echo out > /srv/kept", storage=storage))
        api.wait("web")
    layer = volt.state / "state/layers/web"
    assert (layer / "upper/srv/kept").exists()
    assert kept(volt) == [sorted(runs)] * 2
    assert face("rm", "web") == [("web", runs, True)]
    assert kept(volt) == [[], []]
    assert not layer.exists()
    assert face("rm", "web").startswith("no workload called 'web'")
    assert face("rm", "web", ignore=True) == []


def test_rm_by_id_removes_that_run_alone(face, volt, detached, busybox):
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    first = detached(script="exit 0", storage=storage)
    api.wait("web")
    second = detached(script="exit 0", storage=storage)
    api.wait("web")
    assert face("rm", first) == [("web", [first], False)]
    assert kept(volt) == [[second]] * 2
    assert (volt.state / "state/layers/web").exists()


def test_what_runs_is_removed_by_force_alone(face, volt, detached):
    run = detached()
    assert face("rm", "web") == "web is running"
    assert api.ps().runs[0].state == "running"
    assert face("rm", "web", force=True) == [("web", [run], False)]
    assert kept(volt) == [[], []]


def test_rm_all_removes_what_does_not_run(face, volt, detached):
    ended = detached("old", "exit 0")
    api.wait("old")
    living = detached("web")
    assert face("rm", every=True) == [("old", [ended], False)]
    assert kept(volt) == [[], [living]]


def test_a_name_that_leads_elsewhere_removes_nothing(face, volt):
    outside = volt.state / "state/precious"
    outside.mkdir(parents=True)
    for word in ("../precious", "..", ".", "", "/"):
        assert face("rm", word).startswith("no workload called")
    assert outside.exists()


# ── gc


def test_gc_removes_what_has_ended_long_ago(volt, detached):
    run = detached(script="exit 0")
    api.wait("web")
    assert of(api.gc()) == []
    week = time.time() - 8 * 86400
    os.utime(volt.state / f"run/ended/{run}/outcome.json", (week, week))
    assert of(api.gc(dry_run=True)) == [("ended", run)]
    assert kept(volt) == [[run], [run]]
    document = json.loads(volt("gc", "--json").stdout)
    assert [(one["kind"], one["run"]) for one in document["rubbish"] if is_own(one["path"])] == [("ended", run)]
    assert kept(volt) == [[], []]


@pytest.mark.kernel
def test_gc_removes_what_crashes_and_reboots_left(volt, detached):
    """A log without a record, a layer that was set aside, a removal that was not finished, a claim, a killed run."""
    log, aside, half = "aaaaaaaaaaa1", "aaaaaaaaaaa2", "aaaaaaaaaaa3"
    detached(script="exit 0")
    api.wait("web")
    for folder in (f"log/{log}", f"state/layers/.old-{aside}/upper", f"run/ended/.old-{half}"):
        (volt.state / folder).mkdir(parents=True)
    (volt.state / "run/names/dead").write_text("{}")
    dry = of(api.gc(dry_run=True))
    assert {("layer", aside), ("aside", half), ("claim", "")} <= set(dry)
    assert ("log", log) not in dry
    assert volt("gc", "--older-than", "0").returncode == 0
    assert of(api.gc(dry_run=True, older_than=0)) == []
    assert kept(volt) == [[], []]
    assert not (volt.state / "run/names/dead").exists()


def test_gc_leaves_alone_what_runs(volt, detached):
    run = detached()
    assert of(api.gc(older_than=0)) == []
    assert [state.id for state in api.ps().runs] == [run]
    assert kept(volt)[1] == [run]


@pytest.mark.alone
def test_gc_removes_an_empty_cgroup_whose_run_is_gone_and_no_new_one(volt, monkeypatch):
    run = "aaaaaaaaaaa4"
    path = CGROUPS[0] / f"volt-{run}"
    path.mkdir()
    try:
        assert ("cgroup", run) not in of(api.gc())
        assert path.exists()
        monkeypatch.setattr("volt.runs.rubbish.SETTLED", 0)
        assert ("cgroup", run) in of(api.gc())
        assert not path.exists()
    finally:
        if path.exists():
            path.rmdir()


def test_gc_s_age_is_a_duration(volt):
    done = volt("gc", "--older-than", "soon")
    assert done.returncode == 1
    assert b"'soon' is not a duration" in done.stderr


def test_ten_commands_that_remove_the_same_do_it_once(volt, detached):
    run = detached(script="exit 0")
    api.wait("web")
    crowd = [volt.start("rm", "web", stdout=-1, stderr=-3) for _ in range(6)]
    statuses = [(one.communicate(timeout=60), one.returncode)[1] for one in crowd]
    assert statuses.count(0) >= 1
    assert kept(volt) == [[], []]
    assert run not in volt("ps", "-a").stdout.decode()
