"""A detached workload that ends is started anew by its supervisor, as service.restart says, and by nobody else."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import mode

import pytest

from tests.host.living import until
from tests.host.networks import asked_here, own_network
from tests.host.test_kill import descendants, gone, start_time
from volt import api
from volt.api import planning
from volt.api.detaching import detached_call
from volt.errors import StateError, VoltError
from volt.launch import handover
from volt.model.steps import RegisterMachine, RestartBy, StartGuard
from volt.model.text import text
from volt.model.values import replace
from volt.plan.bus import registration

__all__ = ["asked_here", "own_network"]  # fixtures


pytestmark = pytest.mark.usefixtures("own_runs")


@pytest.fixture
def written(volt):
    """A manifest whose payload is a shell script."""

    def write(script, restart="on-failure", pause="1ms", **sections):
        sections["workload"] = {"name": "web", "command": ["sh", "-c", script], **sections.get("workload", {})}
        sections["service"] = {"restart": restart, "restart_sec": pause, **sections.get("service", {})}
        return volt.manifest(**sections)

    return write


@pytest.fixture
def detached(volt, written):
    """Starts one; the run's id."""

    def start(script, *words, **sections):
        done = volt("run", "-d", written(script, *words, **sections))
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    return start


def web():
    return api.inspect("web")[0]


def launched(manifest, *more, **changes):
    """Detached, by a plan whose restart-by has been changed, and which has `more` steps before the guard."""
    plan, facts = planning.planned(manifest, None, None, detached_call())
    steps = [replace(step, **changes) if isinstance(step, RestartBy) else step for step in plan.host]
    assert tuple(steps) != plan.host
    guard = next(number for number, step in enumerate(steps) if isinstance(step, StartGuard))
    steps[guard:guard] = more
    process = handover.spawn(facts.program, replace(plan, host=tuple(steps)), (api.DEVNULL, -1, -1), ())
    assert process.communicate(timeout=20)[1] == b""


def waits(restarts=0):
    """Until it waits for a start."""
    return until(lambda: (one := web()).state == "restarting" and one.restarts >= restarts and one, "the pause")


# ── which ends


ENDS = [
    ("on-failure", "exit 3", True),
    ("on-failure", "exit 0", False),
    ("on-failure", "kill -TERM $$$$", False),
    ("always", "exit 0", True),
    ("no", "exit 3", False),
]


@pytest.mark.parametrize(("restart", "script", "again"), ENDS)
def test_it_is_started_anew_after_the_ends_that_the_policy_names(detached, restart, script, again):
    detached(script, restart, "1h")
    if again:
        assert waits().restart == restart
    else:
        (ended,) = api.wait("web", timeout=30)
        assert (ended.state, ended.restarts, ended.message) == ("exited", 0, "")


def test_one_that_never_lasts_is_given_up_and_its_log_tells_all_of_it(volt, detached):
    """Ten pauses are a row; each start has a part in the one log, and what was not ended of a line is no other's."""
    run = detached("printf 'a line'; exit 3")
    (ended,) = api.wait("web", timeout=30)
    assert (ended.id, ended.state, ended.status, ended.restarts) == (run, "exited", 3, 10)
    assert ended.message == "it is not started anew: 11 times in a row it did not last 10 s"
    told = volt("logs", "web")
    assert told.stdout == b"a line" + b"\na line" * 10 or told.stdout == b"a line\n" * 11
    lines = told.stderr.decode().splitlines()
    assert lines[0] == "volt: it ended with status 3; it is started anew in 0.001 s"
    assert lines[9] == "volt: it ended with status 3; it is started anew in 0.512 s"
    assert lines[10:] == [f"volt: it ended with status 3; {ended.message}"]
    assert volt("rm", "web").returncode == 0
    assert list(volt.state.glob("log/*")) == []


@pytest.mark.parametrize(("lasted", "ends"), [(10, False), (10_000, True)])
def test_one_that_lasts_begins_a_new_row(written, lasted, ends):
    """By a plan with one pause and another time; the counter-proof is the time that it does not last."""
    launched(written("sleep 0.2; exit 3"), pauses=(text("1"),), lasted=lasted)
    until(lambda: (one := web()).restarts >= 1 + 3 * (not ends) or not one.lives, "its starts")
    if ends:
        assert api.wait("web", timeout=20)[0].restarts == 1
    else:
        assert web().lives


# ── what asks for an end


VERBS = {
    "stop": lambda: api.stop("web"),
    "kill": lambda: api.kill("web"),
    "rm": lambda: api.rm("web", force=True),
    "signal": lambda: api.kill("web", signal="TERM"),
}


RUNS, WAITS = "trap 'exit 9' TERM; sleep 60 & wait", "exit 3"
ASKED = [("stop", RUNS), ("stop", WAITS), ("kill", RUNS), ("kill", WAITS), ("rm", WAITS), ("signal", RUNS)]


@pytest.mark.parametrize(("verb", "script"), ASKED, ids=[f"{verb}-{script[:4]}" for verb, script in ASKED])
def test_an_end_that_is_asked_for_stays_one(detached, verb, script):
    detached(script, "always", "1h" if script == WAITS else "1ms")
    if script == WAITS:
        waits()
    pid = web().pid
    VERBS[verb]()
    until(lambda: start_time(pid) is None, "its end")
    assert [(one.state, one.restarts) for one in api.ps(ended=True).runs] == [("exited", 0)] * (verb != "rm")


@pytest.mark.parametrize("verb", ["stop", "kill", "rm"])
def test_an_end_can_be_asked_for_where_no_file_can_be_made(volt, detached, tmp_path, verb):
    """Told by SIGTERM then; the injected error is a full disk's."""
    script = WAITS if verb == "stop" else "sleep 60"
    run = detached(script, "always", "1h" if script == WAITS else "1ms")
    pid = web().pid
    if script == WAITS:
        waits()
    trace = tmp_path / "trace"
    path = volt.state / f"run/runs/{run}/ending"
    options = ["-f", "-qq", "-o", trace, "-P", path, "-e", "inject=openat:error=ENOSPC"]
    words = [verb, *(["--force"] if verb == "rm" else []), "web"]
    done = subprocess.run(
        ["strace", *options, *volt.command(words)], env=volt.environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "(INJECTED)" in trace.read_text()
    until(lambda: start_time(pid) is None, "its end")
    assert [(one.state, one.restarts) for one in api.ps(ended=True).runs] == [("exited", 0)] * (verb != "rm")


def test_an_end_that_nobody_asked_volt_for_does_not(detached):
    """The counter-proof: the same signal, from another hand."""
    detached(RUNS, "always", "1ms")
    run = web()
    os.kill(run.payload, signal.SIGTERM)
    after = until(lambda: (one := web()).restarts == 1 and one.payload and one, "the next start")
    assert (after.id, after.pid, after.state) == (run.id, run.pid, "running")


def test_a_time_limit_is_for_all_of_it(volt, written):
    done = volt("run", "-d", "--timeout", "2s", written("exit 3", "always", "1h"))
    assert done.returncode == 0, done.stderr
    (ended,) = api.wait("web", timeout=20)
    assert ended.outcome.ended == "time-limit"


# ── what it has, and what it is between two starts


PUBLISHED = {"mode": "bridge", "ports": ["18080:80"]}


@pytest.mark.parametrize("port", ["18080:80", "80"], ids=["named", "free"])
def test_in_the_pause_a_published_port_is_taken_and_refuses(volt, machine, detached, port):
    """Nobody hangs in the queue of what is not there; and the next start serves at the same number."""
    network = {**PUBLISHED, "ports": [port]}
    detached("exec python3 -m http.server 80", "always", "3s", network=network)
    number = int(web().ports[0].split("->")[0].rsplit(":", 1)[1])
    assert until(lambda: served(number), "its port").startswith(b"HTTP/1.")
    os.kill(web().payload, signal.SIGKILL)
    waits()
    for address in ("127.0.0.1", "::1"):
        refused = until(lambda address=address: connected(address, number), "an answer")
        assert refused == "ECONNREFUSED"
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("0.0.0.0", number))
    assert web().state == "restarting"
    assert until(lambda: served(number), "its port again").startswith(b"HTTP/1.")
    assert web().restarts == 1


def test_what_is_sent_to_a_port_in_the_pause_is_for_no_start(volt, machine, detached):
    """What has come starts a relay, beside the guard: there is none until something comes that is for this start."""
    detached("exec sleep 60", "always", "1s", network={**PUBLISHED, "ports": ["18080:80/udp"]})
    pid = web().pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    os.kill(web().payload, signal.SIGKILL)
    waits()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"stale", ("::1", 18080))
        assert web().state == "restarting"
        until(lambda: (one := web()).restarts == 1 and one.payload, "the next start")
        assert volt("ps").returncode == 0  # which takes longer than a relay to start
        assert len(children.read_text().split()) == 1
        sender.sendto(b"new", ("::1", 18080))
        until(lambda: len(children.read_text().split()) == 2, "its relay")


def connected(address, port):
    """What a connect comes to."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError as error:
        return errno.errorcode.get(error.errno, "a hang")
    return "a connection"


def test_in_the_pause_name_and_port_are_nobody_elses_and_there_is_no_inside(volt, machine, written, detached):
    detached("exit 3", "on-failure", "1h", network=PUBLISHED)
    waits()
    assert b"'web' is already running" in volt("run", "-d", written("sleep 60")).stderr
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("0.0.0.0", 18080))
    with pytest.raises(VoltError, match="between two starts"):
        api.execute("web", ["true"])
    for verb in ("pause", "unpause"):
        with pytest.raises(StateError, match="between two starts"):
            getattr(api, verb)("web")
    for words in (["update", "web", "--pids-max", "50"], ["top", "web"], ["audit", "web"], ["diff", "web"]):
        told = volt(*words).stderr
        assert b"web is between two starts" in told, (words, told)
    assert b"restarting in" in volt("ps").stdout


# A process of this name sends SIGTERM: NAME PROCESS.
SENDER = "import os, sys; open('/proc/self/comm', 'w').write(sys.argv[1]); os.kill(int(sys.argv[2]), 15)"


@pytest.mark.parametrize(("name", "starts"), [("systemd-machine", 1), ("another", 0)])
def test_systemd_machined_asks_for_no_end_when_it_has_seen_one(written, tmp_path, name, starts):
    """From 258 on it sends SIGTERM to who has registered a machine whose leader is gone."""
    made = registration("web", linked=False)
    known = RegisterMachine(
        bus=text(str(tmp_path / "none")),
        request=made.data,
        leader_at=made.leader_at,
        link_at=made.link_at,
        farewell=made.farewell,
    )
    launched(written("exit 3", "always"), known, pauses=(text("1500"), text("3600000")))
    supervisor = waits().pid
    subprocess.run([sys.executable, "-c", SENDER, name, str(supervisor)], check=True)
    if starts:
        waits(starts)
        api.kill("web", signal="TERM")
    (ended,) = api.wait("web", timeout=20)
    assert (ended.state, ended.restarts) == ("exited", starts)


def test_in_the_pause_it_takes_no_signal_but_those_that_end_it(detached):
    """It would be dropped; and SIGTERM, which ends its supervisor, is not the stop signal of this one."""
    detached(WAITS, "always", "1h", service={"stop_signal": "QUIT"})
    waits()
    for name in ("HUP", "USR1", "TERM", "RTMIN+1"):
        with pytest.raises(StateError, match="between two starts"):
            api.kill("web", signal=name)
    assert web().state == "restarting"
    api.kill("web", signal="QUIT")
    (ended,) = api.wait("web", timeout=20)
    assert (ended.state, ended.status) == ("exited", 3)


def test_who_attaches_in_the_pause_hears_the_next_start_and_has_nothing_to_type_to(volt, written):
    manifest = written("read line; exit 3", "always", "1h")
    assert volt("run", "-d", "-i", manifest).returncode == 0
    os.kill(web().payload, signal.SIGKILL)
    waits()
    with api.attach("web") as attached:
        assert attached.input is None


def test_what_cannot_be_written_at_a_start_is_no_pause_for_ever(volt, detached):
    run = detached("sleep 1; exit 3", "always", "1s")
    waits()
    obstacle = volt.state / f"run/runs/{run}/restarts.json.new"
    obstacle.mkdir()
    assert until(lambda: (one := web()).payload and one, "the next start").state == "running"
    obstacle.rmdir()


def test_each_start_has_the_address_the_port_and_what_was_written_before(volt, machine, detached):
    count = "echo x >> /var/starts; wc -l < /var/starts"
    script = f"{count}; test $(wc -l < /var/starts) = 2 && exec python3 -m http.server 80; exit 3"
    detached(script, network=PUBLISHED, storage={"rootfs": "host", "writable_layer": "overlay"})
    before = web()
    after = until(lambda: (one := web()).restarts == 1 and one, "the second start")
    assert (after.address, after.ports, after.restarts) == (before.address, before.ports, 1)
    assert until(lambda: served(18080), "its port").startswith(b"HTTP/1.")
    assert volt("logs", "web").stdout.startswith(b"1\n2\n")
    assert volt("exec", "web", "cat", "/var/starts").stdout == b"x\nx\n"


def served(port):
    """What is answered at a published port, b"" for nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
            one.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            return one.recv(7)
    except OSError:
        return b""


def test_each_start_has_its_own_readiness(volt):
    manifest = volt.manifest(
        workload={"name": "web", "command": ["sh", "-c", "echo up; sleep 0.5; exit 3"]},
        service={"restart": "always", "restart_sec": "2s", "ready": "log:up"},
    )
    assert volt("run", "-d", manifest).returncode == 0
    first = web().ready_since
    assert first
    assert waits().ready_since is None
    file = volt.state / f"run/runs/{web().id}/ready.json"
    until(lambda: json.loads(file.read_text())["since"] is None, "that it forgets the one before")
    assert web().state == "restarting"  # before the next start, which would read as ready by it
    until(lambda: (one := web()).restarts >= 1 and (one.ready_since or 0) > first, "its readiness")


# ── starts that fail


def test_a_start_that_fails_counts_and_takes_nothing_away(volt, written, busybox, tmp_path):
    """What it has kept so far is there when it is given up."""
    volume = tmp_path / "volume"
    volume.mkdir()
    storage = {
        "rootfs": str(busybox),
        "writable_layer": "overlay",
        "volumes": [{"host": str(volume), "container": "/data", "readonly": True}],
    }
    launched(written("echo kept > /srv/kept; sleep 60", storage=storage), pauses=(text("1"), text("1")))
    kept = volt.state / "state/layers/web/upper/srv/kept"
    until(kept.exists, "what it writes")
    volume.rmdir()
    os.kill(web().payload, signal.SIGKILL)
    (ended,) = api.wait("web", timeout=20)
    assert (ended.state, ended.status, ended.restarts) == ("failed", 125, 2)
    assert str(volume) in ended.message
    assert "not started anew" in ended.message
    assert kept.read_text() == "kept\n"
    assert b"open (volume /data)" in volt("logs", "web").stderr


def test_a_pause_after_a_command_that_is_gone_ends_as_that_start_did(volt, written, busybox, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    command = volume / "command"
    command.write_text("#!/bin/sh\nsleep 60\n")
    command.chmod(0o755)
    volumes = [{"host": str(volume), "container": "/data", "readonly": True}]
    storage = {"rootfs": str(busybox), "writable_layer": "tmpfs", "volumes": volumes}
    launched(written("", storage=storage, workload={"command": ["/data/command"]}), pauses=(text("1"), text("3600000")))
    command.unlink()
    os.kill(web().payload, signal.SIGKILL)
    last = waits(1).last
    assert (last.status, last.message) == (127, "cannot run '/data/command': No such file or directory")
    api.stop("web")
    (ended,) = api.ps(ended=True).runs
    assert (ended.outcome.status, ended.outcome.message, ended.outcome.step) == (127, last.message, last.step)


def test_a_first_start_that_fails_is_told_and_not_tried_again(volt, written):
    done = volt("run", "-d", written("true"), "--", "no-such-command")
    assert done.returncode == 127
    assert api.ps(ended=True).runs == ()


@pytest.mark.parametrize("changed", [True, False])
def test_another_policy_is_not_started_under(written, tmp_path, changed):
    """A plan was held against the policy when it was made: under another one it would have to be made anew."""
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    launched(written("sleep 60", "always"), policy=text(str(policy)))
    if changed:
        policy.write_text("[resources]\npids_max = 5\n")
    os.kill(web().payload, signal.SIGKILL)
    until(lambda: (one := web()).restarts >= 1 or not one.lives, "what comes of it")
    assert web().restarts == int(not changed)
    assert ("the machine's policy has changed" in web().message) == changed


# ── kills


def in_the_pause():
    waits(1)


def while_it_starts():
    until(lambda: web().restarts >= 2, "a start")


def while_it_runs():
    until(lambda: (one := web()).restarts >= 1 and one.payload, "a payload")


@pytest.mark.kernel
@pytest.mark.parametrize("moment", [in_the_pause, while_it_starts, while_it_runs])
def test_killed_at_any_moment_nothing_of_it_lives_and_the_next_command_clears_up(volt, detached, busybox, moment):
    """The fixture looks for what is left: mounts, claims, cgroups, folders of runs."""
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    script = {in_the_pause: "exit 3", while_it_starts: "exit 3"}.get(moment, "sleep 0.3; exit 3")
    run = detached(script, "always", "100ms", storage=storage)
    moment()
    pid = web().pid
    family = [(one, start_time(one)) for one in descendants(pid)]
    os.kill(pid, signal.SIGKILL)
    assert gone([(one, began) for one, began in family if began]) == []
    assert [(one.id, one.state) for one in api.ps(ended=True).runs] == [(run, "lost")]
    assert volt.left() == [str(volt.state / f"run/ended/{run}")]
    assert volt("run", "-d", volt.manifest(workload={"name": "web", "command": ["true"]})).returncode == 0


def test_at_rest_it_costs_what_it_cost_before(detached):
    """Neither descriptors nor memory grow with the starts."""

    def costs(pid):
        (memory,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "RssAnon" in line)
        return len(os.listdir(f"/proc/{pid}/fd")), int(memory.split()[1])

    detached("sleep 0.5; exit 3", "always", "1ms")
    seen = {}
    deadline = time.monotonic() + 30
    while len(seen) < 5 and time.monotonic() < deadline:
        one = web()
        if one.state == "running" and one.payload:
            seen.setdefault(one.restarts, []).append(costs(one.pid))
    assert len(seen) == 5
    # What it has most of the time: at a start and at an end it has some more or less.
    at_rest = [mode(seen[number]) for number in sorted(seen)[:4]]
    files, memory = zip(*at_rest, strict=True)
    assert len(set(files)) == 1
    assert max(memory) <= memory[0] + 16  # kB: four pages
    assert web().lives
