"""On a terminal the payload has one of its own: size, signals, job control."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.host.living import until
from volt import api


class Terminal:
    """A pseudo-terminal with `volt WORDS…` on it, driven from the master's side."""

    def __init__(self, volt, *words, rows=33, columns=101):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.mode = termios.tcgetattr(self.slave)  # before volt changes it
        self.run = volt.start(
            *words,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data):
        os.write(self.master, data)

    def until(self, wanted, seconds=20):
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, self.seen
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)
        return self.seen

    def end(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.run.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536)
        while select.select([self.master], [], [], 0.1)[0]:
            self.seen += os.read(self.master, 65536)
        return self.run.returncode

    def close(self):
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:  # a test may have closed it
                os.close(descriptor)


@pytest.fixture
def terminal(volt):
    opened = []

    def open_terminal(*command, **kinds):
        opened.append(Terminal(volt, "run", volt.manifest(), "--", *command, **kinds))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


@pytest.mark.kernel
def test_the_size_is_the_callers_at_the_first_instruction(terminal):
    one = terminal("stty", "size", rows=33, columns=101)
    assert one.end() == 0
    assert b"33 101" in one.seen


def test_a_new_size_reaches_the_payload(terminal):
    one = terminal("sh", "-c", "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done")
    one.until(b"ready")
    one.resize(44, 77)
    one.run.send_signal(signal.SIGWINCH)
    one.until(b"44 77")
    assert one.end() == 0


def test_control_c_reaches_the_payload_and_not_volt(terminal):
    one = terminal("sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    one.until(b"ready")
    one.type(b"\x03")
    one.until(b"interrupted")
    assert one.end() == 5


@pytest.mark.kernel
def test_control_c_without_a_handler_is_130(terminal):
    one = terminal("sh", "-c", "echo ready; exec sleep 60")
    one.until(b"ready")
    one.type(b"\x03")
    assert one.end() == 130


@pytest.mark.kernel
def test_a_shell_has_job_control(terminal):
    one = terminal("bash", "--norc", "-i")
    one.until(b"# ")
    one.type(b"sh -c 'echo be''gun; exec sleep 60'\r")
    one.until(b"begun")
    one.type(b"\x1a")
    one.until(b"Stopped")
    # In the background first: bash's wait returns at once for a job that it takes for stopped, and exit then refuses.
    one.type(b"bg; kill %1; wait %1; echo en''ded\r")
    one.until(b"ended")
    one.type(b"exit 3\r")
    assert one.end() == 3, one.seen


def test_stopped_where_no_shell_could_continue_it_it_goes_on(terminal):
    """The kernel drops what would stop a group of processes that has nobody outside it in its session."""
    one = terminal("sh", "-c", "echo ready; read word; exit 3")
    one.until(b"ready")
    one.run.send_signal(signal.SIGTSTP)
    one.type(b"word\r")
    assert one.end() == 3


@pytest.mark.usefixtures("own_runs")
def test_as_a_shells_job_it_stops_with_its_payload(volt):
    """In a group of its own, whose starter is in the same session."""
    with volt.start("run", volt.manifest(), "--", "sleep", "300", process_group=0) as run:
        try:
            payload = until(lambda: next((api.inspect(one.id)[0].payload for one in api.ps().runs), 0), "the payload")
            for number, wanted in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "S")):
                run.send_signal(number)
                until(lambda: {state(run.pid), state(payload)} == {wanted}, wanted)  # noqa: B023 (called at once)
        finally:
            run.kill()


# A shell's part: a job in the foreground, by SIGUSR1 stopped and continued behind it, by SIGUSR2 in front again.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
for number, front in ((signal.SIGUSR1, os.getpgrp()), (signal.SIGUSR2, job)):
    signal.sigwait([number])
    os.kill(job, signal.SIGSTOP)
    os.tcsetpgrp(0, front)
    os.kill(job, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]))
"""


def test_a_key_stops_it_in_the_background_and_is_there_in_the_foreground(volt):
    def start(*words, **options):
        return subprocess.Popen([sys.executable, "-c", SHELL, *volt.command(words)], env=volt.environment, **options)

    words = ("run", "-it", volt.manifest(), "--", "sh", "-c", "echo ready; read word; echo got $word; exit 3")
    one = Terminal(SimpleNamespace(start=start), *words)
    try:
        one.until(b"ready")
        job = int(Path(f"/proc/{one.run.pid}/task/{one.run.pid}/children").read_text())
        one.run.send_signal(signal.SIGUSR1)
        until(lambda: os.tcgetpgrp(one.master) == one.run.pid and state(job) == "S", "the background")
        one.type(b"key\r")
        until(lambda: state(job) == "T", "its stop")
        one.run.send_signal(signal.SIGUSR2)
        one.until(b"got key")
        assert one.end() == 3
    finally:
        one.close()


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_it_is_a_terminal_with_a_name_of_its_own(terminal):
    one = terminal("sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2; echo term=$TERM status=$?")
    assert one.end() == 0
    assert b"/dev/pts/" in one.seen
    assert b"status=0" in one.seen


def test_the_callers_terminal_is_restored(terminal):
    one = terminal("true")
    one.end()
    assert termios.tcgetattr(one.slave) == one.mode
    assert one.mode[tty.LFLAG] & termios.ECHO


def test_everything_written_before_the_end_is_shown(terminal):
    one = terminal("sh", "-c", "seq 1 20000; echo the-end")
    assert one.end() == 0
    assert b"20000\r\nthe-end" in one.seen


def test_input_from_a_pipe_and_output_to_a_terminal(volt, terminal):
    master, slave = pty.openpty()
    run = volt.start(
        "run",
        volt.manifest(),
        "--",
        "sh",
        "-c",
        "cat; test -t 1 && echo terminal",
        stdin=-1,
        stdout=slave,
        stderr=-1,
    )
    run.stdin.write(b"piped\n")
    run.stdin.close()
    assert run.wait(timeout=20) == 0
    assert os.read(master, 4096) == b"piped\r\nterminal\r\n"
    run.stderr.close()
    os.close(master)
    os.close(slave)
