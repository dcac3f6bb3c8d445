"""`service.ready`: who waits for which sign and how long, what is told of it, and that no payload holds anybody up."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.host import front
from tests.host.living import until
from tests.host.test_detached import Detached
from volt import api

# Each sign, and a payload that gives it after a while.
LATER = "sleep 0.4; "
SERVER = "exec python3 -m http.server 8080"
SIGNS = {
    "notify": f"{LATER}systemd-notify --ready --status='taking orders'; exec sleep 60",
    "tcp:8080": LATER + SERVER,
    "http:8080/etc/hostname": LATER + SERVER,
    "file:/run/app.ready": f"{LATER}touch /run/app.ready; exec sleep 60",
    "log:ready to [serve]": f"{LATER}printf 'ready\\nto [serve], now ready to '; sleep 0.1; echo '[serve]'; sleep 60",
}
# What the payloads of the hostile cases share.
HOSTILE = """
import os, socket, struct, time
def notice(*parts):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
    one.connect(os.environ["NOTIFY_SOCKET"])
    return one
"""


class Ready(Detached):
    """Runs with a sign of readiness, through either face."""

    def manifest(self, ready, timeout="20s", **sections):
        service = {"ready": ready, "ready_timeout": timeout, "stop_timeout": "1s", **sections.pop("service", {})}
        return self.volt.manifest(service=service, **sections)

    def launch(self, manifest, script, face="command line", rm=False):
        """(status, the run's id, what was said): as the command line has them."""
        if face == "python":
            try:
                return 0, api.detach(manifest, command=("sh", "-c", script), rm=rm), ""
            except api.LaunchError as error:
                return error.outcome.status, "", error.message
        done = self.volt("run", "-d", *(["--rm"] if rm else []), manifest, "--", "sh", "-c", script)
        return done.returncode, done.stdout.decode().strip(), done.stderr.decode()

    def python(self, ready, program, **options):
        """Likewise, of a hostile program in Python."""
        manifest = self.manifest(ready, **options)
        done = self.volt("run", "-d", manifest, "--", "python3", "-c", HOSTILE + program)
        return done.returncode, done.stdout.decode().strip(), done.stderr.decode()

    def end_all(self):
        """Other volts of the machine are left alone."""
        api.stop(every=True, timeout=0)
        until(lambda: not api.sweep(), "the sweep")
        for path in (self.run / "ended").glob("*"):
            shutil.rmtree(path)

    def state(self, run):
        return next(one for one in api.ps(ended=True).runs if one.id == run)


@pytest.fixture
def ready(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    one = Ready(volt)
    yield one
    one.end_all()


# ── the signs


@pytest.mark.parametrize("face", ["command line", "python"])
@pytest.mark.parametrize(
    "sign", [pytest.param(one, marks=pytest.mark.kernel if ":8080/" in one else ()) for one in SIGNS]
)
def test_a_launch_returns_when_its_payload_is_ready_and_not_before(ready, sign, face):
    begun = time.time()
    status, run, said = ready.launch(ready.manifest(sign), SIGNS[sign], face)
    assert (status, said) == (0, "")
    state = ready.state(run)
    assert (state.state, state.ready, state.waiting) == ("running", sign, "")
    assert begun + 0.4 <= time.time()
    assert int(begun) <= state.ready_since <= time.time()
    assert state.reports == ("taking orders" if sign == "notify" else "")


@pytest.mark.kernel
def test_a_notice_is_heard_of_a_payload_of_any_user_behind_the_strictest_walls(ready):
    workload = {"user": "1000:1000"}
    walls = {"storage": {"writable_layer": "none"}, "security": {"landlock_profile": "strict", "capabilities": []}}
    status, run, said = ready.launch(ready.manifest("notify", workload=workload, **walls), SIGNS["notify"])
    assert (status, said) == (0, "")
    assert "(ready): taking orders" in ready.volt("ps").stdout.decode()
    # Nothing else of the folder is the payload's to change, and all that looks inside works as ever.
    tried = "touch /run/volt-notify/x || rm -f /run/volt-notify/socket; ls /run/volt-notify; test $NOTIFY_SOCKET"
    found = ready.volt("exec", run, "sh", "-c", tried)
    assert (found.returncode, found.stdout) == (0, b"socket\n"), found.stderr
    points = api.audit(ready.state(run).name).points
    assert {one.name for one in points if not one.holds} <= {"descriptors"}  # /dev/null is its standard input


def test_a_port_is_reached_where_the_payload_itself_may_connect_to_none(ready):
    sections = {"network": {"mode": "host", "ports": ["8090"]}, "security": {"landlock_profile": "strict"}}
    program = (
        "import socket; one = socket.create_server(('::1', 8090), family=socket.AF_INET6); one.accept(); one.accept()"
    )
    status, _, said = ready.launch(ready.manifest("tcp:8090", **sections), f'exec python3 -c "{program}"')
    assert (status, said) == (0, "")


def test_while_it_is_not_ready_it_starts_and_says_what_it_waits_for(ready):
    manifest = ready.manifest("tcp:8080")
    asker = ready.volt.start("run", "-d", manifest, "--", "sleep", "60", stdout=-1, stderr=-1)
    until(lambda: any(one.waiting for one in api.ps().runs), "a reason")
    (state,) = api.ps(filters=["state=starting"]).runs
    assert (state.state, state.ready_since) == ("starting", None)
    assert state.waiting == "nothing listens on port 8080 yet"
    assert " starting " in ready.volt("ps").stdout.decode()
    assert json.loads(ready.volt("inspect", "--json", state.name).stdout)["runs"][0]["waiting"] == state.waiting
    # Stopped from elsewhere it is no success.
    api.stop(state.name)
    assert asker.communicate(timeout=20) == (b"", b"volt: it ended with status 143 before it was ready\n")
    assert asker.returncode == 143


def test_a_file_that_an_earlier_run_has_left_shows_nothing(ready, busybox):
    storage = {"rootfs": str(busybox), "writable_layer": "overlay"}
    manifest = ready.manifest("file:/srv/app.ready", timeout="5s", storage=storage)
    status, run, _ = ready.launch(manifest, "touch /srv/app.ready; exec sleep 60")
    assert status == 0
    api.stop(run)
    status, _, said = ready.launch(manifest, "exec sleep 60")
    assert status == 125
    assert "/srv/app.ready was there before the start, and has not been written since" in said
    assert ready.launch(manifest, "echo anew > /srv/app.ready; exec sleep 60")[0] == 0


@pytest.mark.parametrize("sign", ["notify", "log:up"])
def test_one_that_is_ready_and_ends_at_once_was_ready(ready, sign):
    script = "systemd-notify --ready" if sign == "notify" else "echo up"
    status, run, said = ready.launch(ready.manifest(sign), script)
    assert (status, said) == (0, "")
    assert ready.ended(run)["status"] == 0
    assert ready.state(run).ready_since


@pytest.mark.alone
def test_a_launch_that_is_answered_from_the_cache_waits_as_well_and_starts_no_python(tmp_path, monkeypatch):
    volt = front.Front(tmp_path, front.Installation(tmp_path))
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    one = Ready(volt)
    words = ("run", "-d", "--rm", one.manifest("log:up"), "--", "sh", "-c", f"{LATER}echo up; exec sleep 60")
    front.let_age()
    volt(*words)
    api.stop(every=True)
    begun = time.monotonic()
    run = volt.cached(*words).stdout.decode().strip()
    assert time.monotonic() - begun > 0.4
    assert one.state(run).ready_since
    one.end_all()


# ── the time is over, or the payload


@pytest.mark.parametrize("face", ["command line", "python"])
@pytest.mark.parametrize(
    ("sign", "why"),
    [
        ("tcp:8080", "nothing listens on port 8080 yet"),
        ("notify", "it has not sent READY=1 yet"),
        ("file:/run/app.ready", "/run/app.ready does not exist yet"),
        ("log:up", "no line that it wrote has that in it"),
    ],
)
def test_when_the_time_is_over_it_is_asked_to_end_and_the_reason_is_told(ready, sign, why, face):
    asked = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done"
    status, _, said = ready.launch(ready.manifest(sign, timeout="500ms"), asked, face)
    assert status == 125
    assert f"(service.ready = {sign}): not ready in 500 ms: {why}" in said
    (state,) = api.ps(ended=True).runs
    assert (state.state, state.status, state.outcome.ended) == ("failed", 125, "not-ready")
    assert " stdout F asked\n" in ready.log(state.id)


def test_one_that_does_not_end_then_is_killed_and_with_rm_nothing_stays(ready):
    begun = time.monotonic()
    status, _, said = ready.launch(
        ready.manifest("notify", timeout="500ms"), "trap '' TERM; while :; do sleep 1; done", rm=True
    )
    assert (status, time.monotonic() - begun < 10) == (125, True)
    assert "not ready in 500 ms" in said
    assert list(ready.run.glob("*/*")) == []
    assert list(ready.volt.state.glob("log/*")) == []


@pytest.mark.parametrize("face", ["command line", "python"])
@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("exit 0", 125), ("kill -9 $$", 137)])
def test_one_that_ends_before_it_is_ready_has_failed(ready, script, status, face):
    found, _, said = ready.launch(ready.manifest("notify"), script, face)
    assert found == status
    assert f"it ended with status {0 if status == 125 else status} before it was ready" in said


def test_whoever_does_not_want_to_wait_ends_it(ready):
    words = (ready.manifest("notify"), "--", "sh", "-c", "trap '' INT; echo up; while :; do sleep 0.05; done")
    asker = ready.volt.start("run", "-d", *words, stdout=-1, stderr=-1)
    until(lambda: any(one.waiting for one in api.ps().runs), "its start")
    asker.send_signal(signal.SIGINT)
    asker.communicate(timeout=20)
    assert asker.returncode == 143
    (state,) = api.ps(ended=True).runs
    assert state.outcome.ended == "cancelled"


# ── in the foreground


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told_when_it_is_ready(ready, tmp_path, abstract):
    path = f"@volt-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path.replace("@", "\0", 1) if abstract else path)
        manager.settimeout(20)
        environment = {**ready.volt.environment, "NOTIFY_SOCKET": path}
        # Without a sign when it has started; and the payload sees nothing of it.
        done = ready.volt("run", ready.volt.manifest(), "--", "sh", "-c", "test -z $NOTIFY_SOCKET", env=environment)
        assert (done.returncode, manager.recv(99)) == (0, b"READY=1")
        script = "sleep 0.4; date +%s.%N; touch /run/app.ready; exec sleep 60"
        words = (ready.manifest("file:/run/app.ready", timeout="100ms"), "--", "sh", "-c", script)
        process = ready.volt.start("run", *words, env=environment, stdout=subprocess.PIPE)
        assert manager.recv(99) == b"READY=1"
        assert float(process.stdout.readline()) <= time.time()
        (state,) = api.ps().runs
        assert (state.state, state.detached) == ("running", False)
        assert state.ready_since
        process.terminate()
        process.communicate(timeout=20)


def test_a_service_manager_that_has_no_room_for_it_is_told_when_it_has(ready, tmp_path):
    """Its queue is short, net.unix.max_dgram_qlen, and there are others that it starts."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"of another", path)
        environment = {**ready.volt.environment, "NOTIFY_SOCKET": path}
        words = ("run", ready.volt.manifest(), "--", "sh", "-c", "echo up; read word")
        with ready.volt.start(*words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
            assert run.stdout.readline() == b"up\n"
            time.sleep(0.3)  # it has been tried
            manager.settimeout(20)
            heard = ""
            while heard != b"READY=1":
                heard = manager.recv(99)
                assert heard in (b"of another", b"READY=1")
            run.communicate(b"word\n", timeout=20)


def test_one_that_is_being_stopped_is_not_late(ready):
    """It takes its time to end, and that of its readiness passes meanwhile."""
    script = "trap 'sleep 4; exit 0' TERM; echo up >&2; while :; do sleep 0.05; done"
    manifest = ready.manifest("notify", timeout="3s", service={"stop_timeout": "20s"})
    with ready.volt.start("run", "-d", manifest, "--", "sh", "-c", script, stderr=subprocess.PIPE) as starter:
        (run,) = until(lambda: api.ps().runs, "the run")
        until(lambda: "up" in ready.log(run.id), "its start")
        starter.terminate()
        assert b"not ready in" not in starter.communicate(timeout=20)[1]
    assert ready.ended(run.id)["ended"] == "cancelled"


def test_what_was_told_in_time_counts_although_the_supervisor_is_late(ready):
    script = "sleep 1; systemd-notify --status=soon --ready; exec sleep 60"
    with ready.volt.start("run", "-d", ready.manifest("notify", timeout="3s"), "--", "sh", "-c", script) as starter:
        (run,) = until(lambda: api.ps().runs, "the run")
        pid = until(lambda: api.inspect(run.id)[0].pid, "its supervisor")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(pid, signal.SIGCONT)
        assert starter.wait(20) == 0


def test_a_service_manager_hears_each_second_of_a_payload_that_lives_and_no_more_of_one_that_floods(ready, tmp_path):
    flood = f"""{HOSTILE}
one = notice()
one.send(b"READY=1\\nWATCHDOG=12")
for _ in range(4000):
    one.send(b"WATCHDOG=1\\n")
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path := str(tmp_path / "notify"))
        manager.settimeout(20)
        environment = {**ready.volt.environment, "NOTIFY_SOCKET": path}
        words = (ready.manifest("notify"), "--", "python3", "-c", flood)
        done = ready.volt("run", *words, env=environment)
        assert done.returncode == 0, done.stderr
        assert manager.recv(99) == b"READY=1"
        manager.settimeout(0)
        heard = []
        with suppress(BlockingIOError):
            while len(heard) < 4000:
                heard.append(manager.recv(99))
    assert set(heard) == {b"WATCHDOG=1"}
    assert len(heard) < 400


def test_a_line_is_not_looked_for_where_there_is_no_log(ready):
    manifest = ready.manifest("log:up")
    assert ready.volt("run", manifest, "--", "echo", "up").stdout == b"up\n"
    assert b"a line is looked for in the log of a detached run" in ready.volt("plan", manifest, "--", "echo").stdout


# ── hostile payloads


def test_a_flood_of_notices_holds_nobody_up(ready):
    """Large ones, empty ones, descriptors whose closing takes time, and news of what is nobody's business."""
    program = """
one = notice()
while True:
    server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
    client.setblocking(False)
    try: client.send(bytes(1 << 22))
    except OSError: pass
    socket.send_fds(one, [b"FDSTORE=1"], [client.fileno()])
    client.close()
    for message in (b"", b"\\0", b"READY=1" * 20000, b"MAINPID=1\\nREADY=10\\nXREADY=1", b"STATUS=" + os.urandom(3000)):
        for _ in range(50): one.send(message)
"""
    begun = time.monotonic()
    status, _, said = ready.python("notify", program, timeout="1500ms")
    assert (status, time.monotonic() - begun < 15) == (125, True)
    assert "not ready in 1500 ms" in said
    (state,) = api.ps(ended=True).runs
    assert (state.state, state.ready_since) == ("failed", None)


def test_a_notice_in_a_flood_is_heard_and_what_it_says_is_obeyed_by_no_terminal(ready):
    program = r"""
one = notice()
for n in range(3000): one.send(b"STATUS=%d" % n)
one.send(b"WATCHDOG=1\nREADY=1\nSTATUS=\x1b]0;evil\x07\xff\xc2\x9b31m" + "ü".encode() * 200)
while True: time.sleep(1)
"""
    status, run, said = ready.python("notify", program)
    assert (status, said) == (0, "")
    until(lambda: "evil" in ready.state(run).reports, "what it says")
    assert len(ready.state(run).reports.encode()) < 600
    for words in (("ps",), ("ps", "--json"), ("inspect", "--json", run)):
        shown = ready.volt(*words).stdout
        assert b"evil" in shown
        assert not {*shown.decode()} & {*map(chr, [*range(10), *range(11, 32), 127, *range(128, 160)])}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("ln -s /etc/hosts.not /run/app.ready", "does not exist yet"),
        ("ln -s /proc/1/root/etc/passwd /run/app.ready", "is no regular file"),
        ("mkfifo /run/app.ready", "is no regular file"),
        ("ln -s app.ready /run/app.ready", "is no regular file"),
        (f"ln -s {'../' * 40}{Path(__file__)} /run/app.ready", "does not exist yet"),
    ],
    ids=["nowhere", "magic", "fifo", "itself", "outside"],
)
def test_what_is_no_file_of_its_own_root_is_no_sign(ready, made, why):
    status, _, said = ready.launch(ready.manifest("file:/run/app.ready", timeout="3s"), f"{made}; exec sleep 60")
    assert status == 125
    assert f"/run/app.ready {why}" in said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("time.sleep(60)", "gives no answer of HTTP within 5 s"),
        ("[(peer.send(b'H'), time.sleep(0.2)) for _ in range(1000)]", ""),
        ("peer.send(b'HTTP/1.1 503 Busy')", "answers with 503"),
        ("peer.send(b'220 smtp.example ESMTP ready')", "answers is no HTTP"),
        ("peer.send(b'HTTP/1.1 2000 OK')", "answers is no HTTP"),
        ("peer.close()", "gives no answer of HTTP"),
    ],
    ids=["silent", "slow", "busy", "other", "odd", "closed"],
)
def test_a_server_that_answers_otherwise_is_not_ready_and_the_time_passes(ready, answer, why):
    program = f"""
server = socket.create_server(("127.0.0.1", 8080))
while True:
    peer, _ = server.accept()
    try: {answer}; peer.recv(4096)
    except OSError: pass
"""
    begun = time.monotonic()
    timeout = "12s" if "5 s" in why else "5s"  # its server has to be up first
    status, _, said = ready.python("http:8080/", program, timeout=timeout, service={"stop_timeout": "200ms"})
    assert (status, time.monotonic() - begun < 30) == (125, True)
    assert f"not ready in {timeout[:-1]} s" in said
    assert why in said


def test_a_flood_of_what_it_writes_hides_no_line_and_takes_no_memory(ready):
    program = """
for _ in range(300): os.write(1, b"r" * 65536)
os.write(1, b"\\nready\\n")
for _ in range(1000): os.write(2, b"x" * 65536)
time.sleep(60)
"""
    status, run, said = ready.python("log:ready", program, log={"rate": "64K"})
    assert (status, said) == (0, "")
    supervisor = Path(f"/proc/{ready.record(run)['pid']}/status").read_text()
    peak = int(next(line.split()[1] for line in supervisor.splitlines() if line.startswith("VmHWM:")))
    assert peak < 4096  # KiB


def test_a_killed_supervisor_takes_its_watcher_along(ready):
    _, run, _ = ready.launch(ready.manifest("notify"), SIGNS["notify"])
    pid = ready.record(run)["pid"]
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    (watcher,) = [one for one in children if len(status_of(one)["NSpid"].split()) == 1]
    assert int(status_of(watcher)["CapEff"], 16) == 0
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{watcher}").exists(), "its end")


@pytest.mark.parametrize(("sign", "kept"), [("file:/run/app.ready", 1 << 2), ("tcp:8080", 0), ("http:8080/", 0)])
def test_a_watcher_keeps_no_capability_but_to_look_for_a_file(ready, sign, kept):
    """CAP_DAC_READ_SEARCH is the third: capabilities(7)."""
    asker = ready.volt.start("run", "-d", ready.manifest(sign), "--", "sleep", "60", stdout=subprocess.PIPE)
    until(lambda: any(one.waiting for one in api.ps().runs), "a reason")
    (run,) = api.ps().runs
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    (watcher,) = [one for one in children if len(status_of(one)["NSpid"].split()) == 1]
    assert [int(status_of(watcher)[one], 16) for one in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [kept, kept, 0, 0]
    api.stop(every=True, timeout=0)
    asker.communicate(timeout=20)


def status_of(pid):
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
