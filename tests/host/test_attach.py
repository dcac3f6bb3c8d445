"""volt attach: at the input and output of a detached workload, by the command line and from Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from io import BytesIO
from pathlib import Path

import pytest

from tests.host.faces import KINDS
from tests.host.living import SECONDS, until
from tests.host.test_terminal import Terminal
from volt import api

ANSWERS = "while read x; do echo [$x]; echo err $x >&2; case $x in end) exit 5;; esac; done; exit 9"


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


class Detached:
    """The detached runs of a test."""

    def __init__(self, volt):
        self.volt = volt
        self.runs = []

    def start(self, *command, options=(), **sections):
        """The run's id."""
        done = self.volt("run", "-d", *options, self.volt.manifest(**sections), "--", *command)
        assert done.returncode == 0, done.stderr.decode()
        self.runs.append(done.stdout.decode().strip())
        return self.runs[-1]

    def log(self, run):
        return (self.volt.state / "log" / run / "0.log").read_text()

    def end(self):
        for run in self.runs:
            api.stop(run, timeout=0, ignore=True)
            api.rm(run, ignore=True)


@pytest.fixture
def detached(volt):
    one = Detached(volt)
    yield one
    one.end()


class Python:
    """One who is attached from Python: what it has seen so far, and its end."""

    def __init__(self, _, run, **options):
        self.attached = api.attach(run, **options)
        self.out, self.err = BytesIO(), BytesIO()
        self.thread = threading.Thread(target=self.attached.copy, args=(self.out, self.err))
        self.thread.start()

    def write(self, data):
        os.write(self.attached.input, data)

    def seen(self):
        return self.out.getvalue(), self.err.getvalue()

    def end(self):
        self.thread.join(SECONDS)
        state = self.attached.wait(SECONDS)
        self.attached.close()
        return state.status


class Line:
    """The same by the command line."""

    def __init__(self, volt, run, *, stdin=True, **kinds):
        self.files = [volt.folder / f"{name}{id(self)}" for name in ("out", "err")]
        out, err = (path.open("wb") for path in self.files)
        words = [] if stdin else ["--no-stdin"]
        ends = {"stdin": subprocess.PIPE, "stdout": out, "stderr": err}
        self.process = volt.start("attach", *words, run, **ends, **kinds)
        out.close()
        err.close()
        until(lambda: _catches(self.process.pid, signal.SIGWINCH), "its attaching")

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def seen(self):
        return tuple(path.read_bytes() for path in self.files)

    def end(self):
        status = self.process.wait(SECONDS)
        self.process.stdin.close()
        return status


def _catches(pid, number):
    """Whether its handlers are there, by its last one: then it has attached. A process that has ended does not."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        found = re.search(r"^SigCgt:\s+(\w+)$", file.read(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> (number - 1) & 1)


@pytest.fixture(params=KINDS)
def attach(volt, request):
    kind = {"python": Python, "command line": Line}[request.param]
    return lambda run, **options: kind(volt, run, **options)


def shows(one, out, err=None):
    try:
        until(lambda: out in one.seen()[0] and (err is None or err in one.seen()[1]), f"{out}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {one.seen()}") from error


def test_output_from_now_on_and_the_payloads_status(detached, attach):
    run = detached.start("sh", "-c", ANSWERS, options=["-i"])
    with api.attach(run) as early:
        os.write(early.input, b"before\n")
    until(lambda: "err before" in detached.log(run), "what came before")
    one = attach(run)
    one.write(b"in\n")
    shows(one, b"[in]\n", b"err in\n")
    one.write(b"end\n")
    assert one.end() == 5
    assert one.seen() == (b"[in]\n[end]\n", b"err in\nerr end\n")


def test_two_at_once_see_all_and_both_can_write(detached, attach):
    run = detached.start("sh", "-c", ANSWERS, options=["-i"])
    first, second = attach(run), attach(run, stdin=True)
    first.write(b"one\n")
    shows(second, b"[one]")
    second.write(b"two\n")
    shows(first, b"[two]")
    first.write(b"end\n")
    assert (first.end(), second.end()) == (5, 5)
    assert first.seen() == second.seen()


def test_one_who_goes_away_changes_nothing(detached, volt):
    """Killed in the middle; the next one is answered."""
    run = detached.start("sh", "-c", ANSWERS, options=["-i"])
    one = Line(volt, run)
    one.write(b"one\n")
    shows(one, b"[one]\n")
    one.process.kill()
    assert one.end() == -signal.SIGKILL
    other = Line(volt, run)
    other.write(b"end\n")
    assert other.end() == 5
    assert other.seen()[0] == b"[end]\n"


def test_without_input_there_is_only_output(detached, attach):
    run = detached.start(
        "sh", "-c", "read x; echo [$x]; while ! test -e /srv/go; do sleep 0.05; done; echo out; exit 3"
    )
    one = attach(run)
    with api.attach(run) as other, api.execute(run, ["touch", "/srv/go"]) as touch:
        assert other.input is None
        assert touch.wait(SECONDS).status == 0
    assert one.end() == 3
    assert one.seen()[0].endswith(b"out\n")


def test_its_own_input_is_found_among_all_that_its_supervisor_holds(detached, volt):
    """While it is waited for to be ready there is another pipe; and where its payload reads no more there is none."""
    service = {"ready": "file:/srv/ready", "ready_timeout": "50s"}
    manifest = volt.manifest(service=service)
    script = "read x; echo [$x]; : > /srv/ready; exec < /dev/null; sleep 300"
    words = ("run", "-d", "-i", manifest, "--", "sh", "-c", script)
    with volt.start(*words, stdout=subprocess.PIPE) as starter:
        run = until(lambda: [one for one in api.ps().runs if api.inspect(one.id)[0].payload], "the run")[0].id
        detached.runs.append(run)
        until(lambda: _written_pipes(run) > 1, "what waits for it to be ready")
        with api.attach(run) as one:
            os.write(one.input, b"word\n")
        assert starter.wait(SECONDS) == 0
    until(lambda: "[word]" in detached.log(run), "the answer")
    with api.attach(run) as one:
        assert one.input is None


def _written_pipes(run):
    """How many pipes its supervisor writes to; 0 where it has closed something meanwhile."""
    pid = api.inspect(run)[0].pid
    try:
        pipes = [n for n in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{n}").startswith("pipe:")]
        flags = [Path(f"/proc/{pid}/fdinfo/{n}").read_text().split()[3] for n in pipes]
    except OSError:
        return 0
    return sum(int(flag, 8) & os.O_ACCMODE == os.O_WRONLY for flag in flags)


def test_a_run_that_keeps_nothing_ends_with_its_status_too(detached, attach):
    run = detached.start("sh", "-c", ANSWERS, options=["-i", "--rm"])
    one = attach(run)
    one.write(b"end\n")
    assert one.end() == 5


class TestSignals:
    TRAP = "trap 'echo got; exit 7' INT TERM; echo ready; while :; do sleep 0.05; done"

    def run(self, detached):
        run = detached.start("sh", "-c", self.TRAP)
        until(lambda: "ready" in detached.log(run), "its trap")
        return run

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_they_go_to_the_payload(self, detached, volt, number):
        one = Line(volt, self.run(detached))
        one.process.send_signal(number)
        assert one.end() == 7
        assert one.seen()[0] == b"got\n"

    def test_or_detach(self, detached, volt):
        """HUP, of a connection that breaks, always does."""
        run = self.run(detached)
        one = Line(volt, run)
        one.process.send_signal(signal.SIGHUP)
        assert one.end() == 0
        with volt.start("attach", "--no-sig-proxy", run, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as other:
            until(lambda: _catches(other.pid, signal.SIGWINCH), "its attaching")
            other.send_signal(signal.SIGINT)
            assert other.wait(SECONDS) == 0
            assert other.stderr.read() == f"volt: detached from {run}, which goes on\n".encode()
        assert api.ps(filters=["state=running"]).runs[0].id == run

    def test_one_that_its_caller_has_it_ignore_does_not(self, detached, volt):
        """As nohup does. It still is there to pass on the next one."""
        one = Line(volt, self.run(detached), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        one.process.send_signal(signal.SIGHUP)
        one.process.send_signal(signal.SIGTERM)
        assert one.end() == 7
        assert one.seen()[0] == b"got\n"

    def test_from_python(self, detached):
        with api.attach(self.run(detached)) as one:
            assert one.wait(0.05) is None
            one.signal(signal.SIGTERM)
            assert one.wait(SECONDS).status == 7


class TestTerminal:
    @pytest.fixture
    def terminal(self, volt):
        opened = []

        def open_terminal(run, *options, **kinds):
            opened.append(Terminal(volt, "attach", *options, run, **kinds))
            return opened[-1]

        yield open_terminal
        for one in opened:
            one.close()

    @pytest.mark.kernel
    def test_typing_size_and_the_keys_that_detach(self, detached, terminal):
        run = detached.start("sh", "-c", "while :; do read x; echo [$x]; stty size; done", options=["-t"])
        one = terminal(run)
        one.type(b"word\r")
        one.until(b"[word]")
        one.until(b"33 101")
        one.resize(44, 55)
        os.kill(one.run.pid, signal.SIGWINCH)
        one.type(b"\x10x\r")
        one.until(b"44 55")
        one.type(b"\x10\x11")
        assert one.end() == 0
        assert b"goes on" in one.seen
        again = terminal(run, "--detach-keys", "ctrl-a,d")
        again.type(b"again\r")
        again.until(b"[again]")
        again.type(b"\x01d")
        assert again.end() == 0

    def test_control_keys_reach_the_payload_and_its_end_is_told(self, detached, terminal):
        run = detached.start(
            "sh", "-c", "trap 'echo interrupted; exit 6' INT; while :; do sleep 0.05; done", options=["-t"]
        )
        one = terminal(run)
        until(lambda: _catches(one.run.pid, signal.SIGWINCH), "its attaching")
        one.type(b"\x03")
        one.until(b"interrupted")
        assert one.end() == 6

    def test_escape_sequences_are_the_terminals_own_alone(self, detached, terminal):
        script = "while :; do printf '\\033]0;owned\\007\\n'; sleep 0.05; done"
        one = terminal(detached.start("sh", "-c", script))
        one.until(b"\\x1b]0;owned\\x07")
        assert b"\x1b]0" not in one.seen
        other = terminal(detached.start("sh", "-c", script, options=["-t"]))
        other.until(b"\x1b]0;owned\x07")

    def test_a_terminal_that_goes_away_detaches(self, detached, terminal):
        run = detached.start("sh", "-c", "while :; do read x; done", options=["-t"])
        one = terminal(run)
        until(lambda: _catches(one.run.pid, signal.SIGWINCH), "its attaching")
        os.close(one.master)
        one.master = -1
        assert one.run.wait(SECONDS) in (0, 120)  # or Python cannot say so any more
        assert api.inspect(run)[0].lives


def test_what_cannot_be_attached_to(volt, detached):
    ended = detached.start("true")
    api.wait(ended)
    for name, message in ((ended, "has ended"), ("nobody", "is running")):
        done = volt("attach", name)
        assert (done.returncode, message in done.stderr.decode()) == (125, True)
    with volt.start("run", volt.manifest(), "--", "sleep", "60") as process:
        found = until(lambda: [one for one in api.ps().runs if one.payload is None and not one.detached], "the run")
        with pytest.raises(api.StateError, match="not detached"):
            api.attach(found[0].id)
        process.terminate()
    done = volt("attach", "--detach-keys", "ctrl-", "nobody")
    assert (done.returncode, b"'ctrl-' is no key" in done.stderr) == (125, True)
