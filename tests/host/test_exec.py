"""volt exec: a command in a workload that runs, by the command line and from Python."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.host.living import SECONDS, living, until
from tests.host.test_terminal import Terminal
from volt import api
from volt.runs.processes import descriptors


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


@pytest.fixture
def web(volt):
    with living(volt) as one:
        yield one


def said(name, *command, **options):
    """What a command printed, and how it ended."""
    with api.execute(name, command, stdout=api.PIPE, stderr=api.PIPE, **options) as execution:
        outcome = execution.wait(SECONDS)
        return execution.stdout.read().decode(), execution.stderr.read().decode(), outcome


class TestStatus:
    @pytest.mark.parametrize(
        ("command", "status"),
        [
            (["true"], 0),
            (["sh", "-c", "exit 7"], 7),
            (["sh", "-c", "kill -9 $$"], 137),
            (["sh", "-c", "kill -TERM $$"], 143),
            (["no-such-command"], 127),
            (["/no/such/command"], 127),
            (["/etc"], 126),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    @pytest.mark.kernel
    def test_it_is_the_commands_own_as_in_a_shell(self, volt, web, command, status):
        done = volt("exec", web.name, "--", *command)
        outcome = said(web.name, *command)[2]
        assert (done.returncode, outcome.status) == (status, status)
        assert (done.stderr == b"") == (outcome.by == "payload") == (status not in (126, 127))

    def test_the_payload_lives_on(self, volt, web):
        before = web.tree
        assert volt("exec", web.name, "--", "sh", "-c", "kill -9 $$").returncode == 137
        until(lambda: web.tree == before, "what was there before")

    def test_nothing_is_left_inside(self, volt, web):
        before = web.tree
        assert volt("exec", web.name, "--", "true").returncode == 0
        until(lambda: web.tree == before, "what was there before")


class TestFailures:
    """125, and the next step."""

    def failed(self, volt, *words):
        done = volt("exec", *words)
        assert done.returncode == 125
        return done.stderr.decode()

    def test_no_such_workload(self, volt):
        assert "no workload called 'nobody' is running" in self.failed(volt, "nobody", "--", "true")
        with pytest.raises(api.StateError, match="nobody"):
            api.execute("nobody", ["true"])

    def test_no_command(self, volt, web):
        assert "COMMAND" in self.failed(volt, web.name)
        with pytest.raises(api.VoltError, match="no command"):
            api.execute(web.name, [])

    def test_an_unknown_user(self, volt, web):
        assert "no user 'nobody-here'" in self.failed(volt, "-u", "nobody-here", web.name, "--", "true")
        assert "no group 'nowhere'" in self.failed(volt, "-u", "root:nowhere", web.name, "--", "true")
        assert "not in the workload's range" in self.failed(volt, "-u", "70000", web.name, "--", "true")
        with pytest.raises(api.VoltError, match="nobody-here"):
            api.execute(web.name, ["true"], user="nobody-here")

    def test_a_folder_that_is_not_there(self, volt, web):
        assert "cannot enter '/nowhere': No such file" in self.failed(volt, "-w", "/nowhere", web.name, "--", "true")
        outcome = said(web.name, "true", folder="/nowhere")[2]
        assert (outcome.by, outcome.status, outcome.error) == ("volt", 125, "ENOENT")

    def test_a_relative_folder(self, volt, web):
        assert "relative" in self.failed(volt, "-w", "tmp", web.name, "--", "true")

    def test_a_variable_without_a_value(self, volt, web):
        assert "NAME=VALUE" in self.failed(volt, "-e", "A", web.name, "--", "true")

    def test_a_paused_workload(self, volt, web):
        freeze = Path(web.record.cgroup, "cgroup.freeze")
        freeze.write_text("1")
        until(lambda: "frozen 1" in Path(web.record.cgroup, "cgroup.events").read_text(), "the freeze")
        try:
            assert "is paused" in self.failed(volt, web.name, "--", "true")
        finally:
            freeze.write_text("0")
        assert volt("exec", web.name, "--", "true").returncode == 0

    def test_a_user_who_has_as_many_processes_as_he_may(self, volt):
        """setrlimit(2), RLIMIT_NPROC; pids_max is tried in tests/vm."""
        sections = {"workload": {"user": "daemon"}, "limits": {"nproc": "1:1"}}
        with living(volt, **sections) as full, api.execute(full.name, ["sleep", "300"]):
            done = volt("exec", full.name, "--", "true")
        assert (done.returncode, done.stderr[-34:]) == (126, b" Resource temporarily unavailable\n")

    def test_only_root(self, volt, web):
        volt.state.chmod(0o711)
        done = volt("exec", web.name, "--", "true", user="nobody", group="nogroup", extra_groups=[])
        assert done.returncode == 125


class TestPlace:
    """It is where the payload is, and is what the payload is."""

    def test_environment_folder_and_user_are_the_payloads(self, volt):
        sections = {"workload": {"user": "daemon", "workdir": "/tmp", "env": {"A": "manifest", "HOME": "/srv"}}}
        with living(volt, **sections) as web:
            script = "pwd; id -un; echo $A $HOME $B"
            done = volt("exec", "-e", "B=b c", web.name, "--", "sh", "-c", script)
            assert done.stdout.decode().splitlines() == ["/tmp", "daemon", "manifest /srv b c"]
            assert said(web.name, "sh", "-c", script, env={"A": "call"})[0].split() == [
                "/tmp",
                "daemon",
                "call",
                "/srv",
            ]

    def test_what_an_env_file_says_is_there_too(self, volt, tmp_path):
        (tmp_path / "secrets").write_text("PASSWORD=s3cret\n")
        with living(volt, workload={"env_file": str(tmp_path / "secrets")}) as web:
            assert said(web.name, "sh", "-c", "echo $PASSWORD")[0] == "s3cret\n"

    def test_another_user_and_group_by_name_or_number(self, volt, busybox):
        with living(volt, storage={"rootfs": str(busybox)}) as web:
            show = ["sh", "-c", "id; echo $HOME $USER"]
            for user in ("user", "1000"):
                words = said(web.name, *show, user=user)[0]
                assert words == "uid=1000(user) gid=1000(user) groups=55(extra),1000(user)\n/srv user\n"
            done = volt("exec", "-u", "user:svc", web.name, "--", *show)
            assert done.stdout.startswith(b"uid=1000(user) gid=998(svc) groups=998(svc)\n")
            assert said(web.name, "id", "-u", user="4321")[0] == "4321\n"

    @pytest.mark.kernel
    def test_another_user_has_no_capability_but_root_has_what_the_payload_can_have(self, volt):
        show = ["grep", "CapEff", "/proc/self/status"]
        with living(volt) as web:
            assert said(web.name, *show, user="daemon")[0].split() == ["CapEff:", "0" * 16]
        with living(volt, workload={"user": "daemon"}) as web:  # which has none itself
            assert said(web.name, *show, user="root")[0].split() == ["CapEff:", "00000000800405fb"]
        security = {"security": {"capabilities": ["CHOWN"]}}
        with living(volt, workload={"user": "daemon"}, **security) as web:
            for user in ("", "root", "nobody"):
                assert said(web.name, *show, user=user)[0].split()[1] == f"{1:016x}"

    def test_a_folder(self, volt, web):
        assert volt("exec", "-w", "/usr/bin", web.name, "--", "pwd").stdout == b"/usr/bin\n"
        assert said(web.name, "pwd", folder="/usr/bin")[0] == "/usr/bin\n"

    def test_words_of_any_bytes_and_many_of_them(self, web):
        words = ["a b", "", "\x01", "ü", "\udcff", "x" * 100_000]
        with api.execute(web.name, ["printf", "%s.", *words], stdout=api.PIPE) as one:
            assert one.stdout.read() == b"".join(os.fsencode(word) + b"." for word in words)

    def test_it_finds_the_payload_among_its_own(self, web):
        assert said(web.name, "kill", "-0", "2")[2].status == 0


class TestStreams:
    def test_output_and_errors_stay_apart(self, volt, web):
        done = volt("exec", web.name, "--", "sh", "-c", "echo out; echo err >&2")
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")

    def test_input_is_passed_on_where_it_is_asked_for(self, volt, web):
        assert volt("exec", "-i", web.name, "--", "cat", input=b"through\n").stdout == b"through\n"
        assert volt("exec", web.name, "--", "cat", input=b"through\n").stdout == b""

    def test_binary_data_goes_through_unchanged(self, volt, web):
        data = bytes(range(256)) * 4096
        assert volt("exec", "-i", web.name, "--", "cat", input=data).stdout == data

    def test_pipes(self, web):
        with api.execute(web.name, ["cat"], stdin=api.PIPE, stdout=api.PIPE) as one:
            one.stdin.write(b"through\n")
            one.stdin.close()
            assert one.stdout.read() == b"through\n"
            assert one.wait(SECONDS).status == 0

    @pytest.mark.parametrize("seconds", [3e6, float("inf")])
    def test_a_wait_may_be_longer_than_poll_takes(self, web, seconds):
        with api.execute(web.name, ["true"]) as one:
            assert one.wait(seconds).status == 0

    def test_what_still_holds_the_output_keeps_nobody_waiting(self, volt, web):
        """It lives on, as what a shell has put into the background."""
        script = ["sh", "-c", "sleep 60 & echo started"]
        with volt.start("exec", web.name, "--", *script, stdout=subprocess.PIPE) as asker:
            assert asker.wait(SECONDS) == 0
            assert asker.stdout.readline() == b"started\n"
            until(lambda: len(web.tree.inside) == 2, "an end of its session")
            os.kill(web.tree.inside[1], signal.SIGKILL)
        with api.execute(web.name, script, stdout=api.PIPE) as one:
            assert one.wait(SECONDS).status == 0

    def test_a_terminal_of_the_callers_is_not_handed_in(self, web):
        master, slave = pty.openpty()
        try:
            with pytest.raises(api.VoltError, match="terminal"):
                api.execute(web.name, ["true"], stdout=slave)
        finally:
            os.close(master)
            os.close(slave)

    def test_a_default_timeout_of_sockets_is_the_callers_alone(self, web):
        socket.setdefaulttimeout(30)
        try:
            assert said(web.name, "sh", "-c", "echo out; sleep 0.1")[0] == "out\n"
        finally:
            socket.setdefaulttimeout(None)

    def test_a_descriptor_that_changes_while_they_are_looked_at_is_passed_over(self, web, monkeypatch):
        """Closed, and not a socket any more."""
        changed = [(4000, "socket:[1]"), (0, "socket:[2]")]
        found = [*changed, *descriptors(web.record.pid)]
        monkeypatch.setattr("volt.runs.session.descriptors", lambda _: iter(found))
        said(web.name, "true")
        before = len(os.listdir("/proc/self/fd"))
        assert said(web.name, "echo", "out")[0] == "out\n"
        assert len(os.listdir("/proc/self/fd")) == before

    def test_32_at_once(self, volt, tmp_path):
        """Their sessions share what the init keeps open: each reads it whole."""
        (tmp_path / "values").write_text("GIVEN=value\n" * 1000)
        workload = {"env_file": str(tmp_path / "values")}
        words = [("sh", "-c", f"echo {n} $GIVEN") for n in range(128)]
        with living(volt, workload=workload) as web, ThreadPoolExecutor(32) as pool:
            found = list(pool.map(lambda one: said(web.name, *one)[0], words))
        assert found == [f"{n} value\n" for n in range(128)]


READY = "trap 'echo got; exit 9' {0}; echo ready; while :; do sleep 0.02; done"


class TestSignals:
    @pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1"])
    def test_they_are_passed_on(self, volt, web, name):
        with volt.start("exec", web.name, "--", "sh", "-c", READY.format(name), stdout=subprocess.PIPE) as asker:
            assert asker.stdout.readline() == b"ready\n"
            asker.send_signal(signal.Signals[f"SIG{name}"])
            assert asker.stdout.read() == b"got\n"
            assert asker.wait(SECONDS) == 9

    @pytest.mark.parametrize("name", ["INT", "HUP", "QUIT"])
    def test_one_that_its_caller_has_it_ignore_is_not(self, volt, web, name):
        """As nohup does, and a shell for what is behind its `&`."""
        number = signal.Signals[f"SIG{name}"]
        script = f"trap 'echo got' {name}; trap 'echo next' USR1; echo ready; until read x; do :; done; echo [$x]"
        ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        ignoring = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}
        with volt.start("exec", "-i", web.name, "--", "sh", "-c", script, **ends, **ignoring) as asker:
            try:
                assert asker.stdout.readline() == b"ready\n"
                asker.send_signal(number)
                asker.send_signal(signal.SIGUSR1)
                assert asker.stdout.readline() == b"next\n"
                assert asker.communicate(b"on\n", SECONDS)[0] == b"[on]\n"
                assert asker.returncode == 0
            finally:
                asker.kill()

    def test_from_python(self, web):
        with api.execute(web.name, ["sh", "-c", READY.format("TERM")], stdout=api.PIPE) as one:
            assert one.stdout.readline() == b"ready\n"
            assert one.wait(0.05) is None
            one.signal(signal.SIGTERM)
            assert one.wait(SECONDS).status == 9

    @pytest.mark.parametrize("way", ["killed", "closed"])
    def test_what_was_started_dies_with_its_asker_whatever_it_forked(self, volt, web, way):
        script = "sleep 300 & setsid sleep 300 & (setsid setsid sleep 300 &); echo ready; exec sleep 300"
        before = web.tree
        if way == "killed":
            with volt.start("exec", web.name, "--", "sh", "-c", script, stdout=subprocess.PIPE) as asker:
                assert asker.stdout.readline() == b"ready\n"
                until(lambda: len(web.tree.inside) == len(before.inside) + 5, "all of them")
                asker.kill()
        else:
            with api.execute(web.name, ["sh", "-c", script], stdout=api.PIPE) as one:
                assert one.stdout.readline() == b"ready\n"
                until(lambda: len(web.tree.inside) == len(before.inside) + 5, "all of them")
        until(lambda: web.tree == before, "what was there before")

    @pytest.mark.kernel
    def test_it_dies_with_the_workload(self, volt, web):
        with volt.start("exec", web.name, "--", "sleep", "300", stderr=subprocess.PIPE) as asker:
            until(lambda: len(web.tree.inside) == 3, "the command")
            web.process.terminate()
            assert asker.wait(SECONDS) in (125, 137)

    def test_one_that_comes_when_it_has_ended_does_not_hide_how(self, web):
        with api.execute(web.name, ["sleep", "300"]) as one:
            session = _session(web)
            os.kill(session, signal.SIGSTOP)
            os.kill(next(pid for pid in web.tree.inside if _parent(pid) == session), signal.SIGTERM)
            one.signal(signal.SIGCONT)
            os.kill(session, signal.SIGCONT)
            until(lambda: session not in web.tree.inside, "the end of its session")
            assert one.wait(SECONDS).status == 128 + signal.SIGTERM

    def test_a_session_that_is_killed_takes_its_command_along(self, web):
        """The payload may, in its own pid namespace."""
        with api.execute(web.name, ["sleep", "300"]) as one:
            os.kill(_session(web), signal.SIGKILL)
            with pytest.raises(api.StateError, match="session ended"):
                one.wait(SECONDS)
        until(lambda: len(web.tree.inside) == 1, "the payload alone")


def _session(web):
    return next(pid for pid in web.tree.inside[1:] if _parent(pid) == web.tree.init)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TestTerminal:
    @pytest.fixture
    def terminal(self, volt, web):
        opened = []

        def open_terminal(*words, **kinds):
            opened.append(on_terminal(volt, web.name, *words, **kinds))
            return opened[-1]

        yield open_terminal
        for one in opened:
            one.close()

    @pytest.mark.kernel
    def test_it_has_one_of_its_own_with_the_callers_size(self, terminal):
        one = terminal("-it", "sh", "-c", "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo three")
        assert one.end() == 0
        lines = one.seen.decode().split()
        assert lines[0].startswith("/dev/pts/")
        assert lines[1:] == ["33", "101", "three"]

    def test_typing_and_control_keys(self, terminal):
        script = "trap 'echo interrupted' INT; echo ready; until read line; do :; done; echo [$line]"
        one = terminal("-it", "sh", "-c", script)
        one.until(b"ready")
        one.type(b"\x03")
        one.until(b"interrupted")
        one.type(b"abc\r")
        one.until(b"[abc]")

    def test_a_resized_window_is_told(self, terminal):
        one = terminal("-it", "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done")
        one.until(b"ready")
        one.resize(44, 55)
        one.until(b"44 55")

    def test_a_key_that_stops_stops_nothing_that_nobody_could_make_go_on(self, terminal):
        """As in a terminal without a shell, whose process group is orphaned."""
        one = terminal("sh", "-c", "echo ready; sleep 1; exit 3")
        one.until(b"ready")
        one.type(b"\x1a")
        assert one.end() == 3

    def test_the_callers_mode_is_restored(self, terminal):
        one = terminal("-it", "true")
        assert one.end() == 0
        assert termios.tcgetattr(one.slave) == one.mode

    def test_it_belongs_to_the_commands_user_who_can_open_it_again(self, volt):
        with living(volt, workload={"user": "daemon"}, security={"capabilities": []}) as web:
            for user in ("daemon", "nobody"):
                one = on_terminal(
                    volt, web.name, "-u", user, "-it", "sh", "-c", "echo again > $(tty); stat -c %U $(tty)"
                )
                try:
                    assert one.end() == 0, one.seen
                    assert one.seen.split() == [b"again", user.encode()]
                finally:
                    one.close()

    def test_it_ends_with_its_callers_terminal(self, terminal, web):
        one = terminal("-it", "sh", "-c", "echo ready; exec sleep 300")
        one.until(b"ready")
        os.close(one.master)
        one.master = -1
        assert one.run.wait(SECONDS) != 0
        until(lambda: len(web.tree.inside) == 1, "the payload alone")

    def test_without_t_a_terminal_is_not_seen(self, terminal):
        one = terminal("-i", "sh", "-c", "test -t 0 || test -t 1 || echo none; cat")
        one.until(b"none")
        one.type(b"line\n")
        one.until(b"line\r\nline\r\n")
        one.type(b"\4")
        assert one.end() == 0

    def test_from_python(self, web):
        with api.execute(web.name, ["sh", "-c", "tty; read x; echo [$x] $TERM"], terminal=True, term="vt100") as one:
            os.write(one.master, b"in\n")
            seen = b""
            while b"[in]" not in seen:
                assert select.select([one.master], [], [], SECONDS)[0]
                seen += os.read(one.master, 4096)
            assert b"[in] vt100" in seen
            assert one.wait(SECONDS).status == 0


class TestAfterTheEnd:
    """What the command wrote last is shown, and that is all that is waited for."""

    @pytest.fixture
    def unread(self, volt, web):
        """Has a command write to a pipe that is full, and end."""
        begun = []

        def start(*, blocking):
            here, there = os.pipe()
            os.set_blocking(there, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(there, b"." * select.PIPE_BUF)
            os.set_blocking(there, blocking)
            command = ("sh", "-c", "seq 500; exec sleep 200")
            begun.append(volt.start("exec", "-t", web.name, "--", *command, stdin=-3, stdout=there))
            os.close(there)
            os.kill(until(lambda: _sleeping(web), "the command"), signal.SIGTERM)
            until(lambda: len(web.tree.inside) == 1, "its end")
            return begun[-1], here

        yield start
        for one in begun:
            one.kill()
            one.wait(SECONDS)

    def test_who_writes_on_to_the_terminal_keeps_nobody_waiting(self, volt, web):
        one = on_terminal(volt, web.name, "sh", "-c", "yes & sleep .5; exit 3")
        try:
            assert one.end() == 3
        finally:
            one.close()

    def test_a_signal_ends_the_waiting_for_a_reader(self, unread):
        asker, here = unread(blocking=True)
        # The first may come before it is seen that the command has ended, a second one find no handler any more.
        for _ in range(SECONDS):
            asker.send_signal(signal.SIGTERM)
            try:
                assert asker.wait(1) in (143, -signal.SIGTERM)
                break
            except subprocess.TimeoutExpired:
                continue
        assert asker.poll() is not None
        os.close(here)

    def test_a_reader_that_takes_its_time_is_waited_for_and_nothing_is_burnt(self, unread):
        asker, here = unread(blocking=False)
        until(lambda: _idle(asker.pid), "the waiting")
        with os.fdopen(here, "rb") as reader:
            assert reader.read().lstrip(b".") == b"".join(b"%d\r\n" % number for number in range(1, 501))
        assert asker.wait(SECONDS) == 143


def _sleeping(web):
    """The process inside that sleeps for so long, if it has begun."""
    wanted = b"sleep\x00200\x00"
    return next((pid for pid in web.tree.inside if Path(f"/proc/{pid}/cmdline").read_bytes() == wanted), None)


def _idle(pid):
    """Whether a process takes no time of a processor, for a moment."""
    before = _ticks(pid)
    time.sleep(0.3)
    return _ticks(pid) == before


def _ticks(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]


def on_terminal(volt, name, *words, **kinds):
    """A pseudo-terminal with `volt exec OPTIONS NAME -- COMMAND` on it; `words` are the options and the command."""
    options, command = [], [*words]
    while command[0].startswith("-"):
        options.append(command.pop(0))
        if options[-1] == "-u":
            options.append(command.pop(0))
    return Terminal(volt, "exec", *options, name, "--", *command, **kinds)


def test_a_plain_exec_imports_neither_typer_nor_rich_nor_pydantic(volt, web):
    code = (
        "import sys; from volt.cli import main; status = main(['exec', sys.argv[1], '--', 'true']);"
        " names = {name.partition('.')[0] for name in sys.modules};"
        " print(status, len(sys.modules), *sorted(names & {'typer', 'pydantic', 'rich', 'tomli', 'click'}))"
    )
    words = [sys.executable, "-c", code, web.name]
    done = subprocess.run(words, env=volt.environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    status, count, *heavy = done.stdout.split()
    assert (status, heavy) == ("0", [])
    assert int(count) <= 160


def test_words_that_are_not_plain_mean_the_same(volt, web):
    for words in (["-it", "--user=daemon"], ["-u", "daemon"], ["--user=daemon", "-e", "A=1"]):
        options = [word for word in words if word != "-it"]
        assert volt("exec", *options, web.name, "--", "id", "-un").stdout == b"daemon\n"
        assert volt("exec", *options, web.name, "id", "-un").stdout == b"daemon\n"


def test_an_init_that_does_not_answer_is_told_in_time(volt, web):
    os.kill(web.tree.init, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        done = volt("exec", web.name, "--", "true")
        assert done.returncode == 125
        assert b"does not answer" in done.stderr
        assert time.monotonic() - begun < SECONDS
    finally:
        os.kill(web.tree.init, signal.SIGCONT)
