"""Sessions of the init: who holds the control socket has calls tried behind the payload's own steps."""

from __future__ import annotations

import array
import errno
import os
import platform
import signal
import socket
import struct
from contextlib import contextmanager

import pytest

from tests.unit.native import programs
from tests.unit.native.test_init import HEAD, ON_TERMINAL, START, running, shell, terminal
from volt.model import protocol
from volt.model.asked import Asked
from volt.model.attempts import Attempt, Invoked
from volt.model.protocol import GO_ON, SESSION_ATTEMPTS, SESSION_COMMAND, Frame
from volt.model.steps import ChangeFolder, SetLimit
from volt.model.text import text
from volt.runs.command import encode as encode_words
from volt.runs.session import encode

# asm/unistd.h
NUMBERS = {
    "x86_64": {"read": 0, "openat": 257, "getpid": 39, "kill": 62, "fcntl": 72},
    "aarch64": {"read": 63, "openat": 56, "getpid": 172, "kill": 129, "fcntl": 25},
}[platform.machine()]
AT_FDCWD, F_DUPFD = -100, 0
SLEEP = shell("exec sleep 60")
SECONDS = 20


class Session:
    """The asker's end."""

    def __init__(self, own):
        self.own = own

    def answer(self):
        """(wait status, result)."""
        data = self.own.recv(HEAD.size + protocol.FRAME_LIMIT)
        assert HEAD.unpack_from(data)[2] == Frame.ANSWER
        return struct.unpack("<Ii", data[HEAD.size :])

    def send(self, body):
        self.own.send(HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.ATTEMPT, len(body)) + body)

    def attempt(self, *calls, data=b""):
        self.send(encode(Attempt("", "", calls, data)))
        return self.answer()


@contextmanager
def session(init, kind=SESSION_ATTEMPTS):
    own, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own.settimeout(SECONDS)
    with own, far:
        frame = HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.SESSION, 4) + struct.pack("<I", kind)
        init.control.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far.fileno()]))])
        far.close()
        yield Session(own)


def call(name, *arguments, **more):
    return Invoked(NUMBERS[name], arguments, **more)


def ends(init):
    """The payload was there all the time, and is told to end."""
    init.signal(signal.SIGTERM)
    assert os.WTERMSIG(init.exited()) == signal.SIGTERM


def test_whoever_asks_before_the_payload_has_its_terminal_hears_the_end_and_does_no_harm(units):
    with running(units, ON_TERMINAL, [SLEEP]) as init, terminal(init):
        with session(init) as asked:
            assert asked.own.recv(1) == b""
        init.signal(GO_ON)
        init.started()
        ends(init)


@pytest.mark.parametrize(
    ("steps", "result"), [([], 100), ([SetLimit(resource="nofile", soft=64, hard=64)], -errno.EINVAL)]
)
def test_an_attempt_does_the_payloads_steps_first(units, steps, result):
    with running(units, [START], [*steps, SLEEP]) as init:
        init.started()
        with session(init) as asked:
            assert asked.answer() == (0, 1), "dumpable, where no step forbids it"
            for _ in range(2):
                assert asked.attempt(call("fcntl", 0, F_DUPFD, 100)) == (0, result)
        ends(init)


def test_calls_take_data_and_what_the_call_before_gave(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            read = call("read", 0, 0, 1, places=(1,), previous=(0,))
            opened = call("openat", AT_FDCWD, 0, 0, places=(1,))
            assert asked.attempt(opened, read, data=b"/dev/zero\0") == (0, 1)
            assert asked.attempt(opened, read, data=b"/no/such\0") == (0, -errno.ENOENT)
            assert asked.attempt(call("openat", AT_FDCWD, 99, 0, places=(1,))) == (0, -errno.EFAULT)
        ends(init)


def test_what_an_attempt_does_to_itself_ends_neither_the_session_nor_the_payload(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            kill = call("kill", 0, signal.SIGKILL, previous=(0,))
            assert asked.attempt(call("getpid"), kill) == (signal.SIGKILL, 0)
            assert asked.attempt(call("getpid"))[0] == 0
        ends(init)


def test_a_damaged_attempt_is_not_tried(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init) as asked:
            asked.answer()
            for body in (b"", struct.pack("<I", 1), struct.pack("<I", 2**31) + bytes(4000)):
                asked.send(body)
                assert asked.answer()[0] == 125 << 8
        ends(init)


def test_a_session_of_no_known_kind_is_closed(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        with session(init, kind=99) as asked:
            assert asked.own.recv(1) == b""
        ends(init)


def test_a_session_without_a_socket_is_no_frame(units):
    with running(units, [START], [SLEEP]) as init:
        init.started()
        init.send(Frame.SESSION, struct.pack("<I", SESSION_ATTEMPTS))
        assert init.process.wait(SECONDS) == 125


# ── commands


PAYLOAD = shell("exec sleep 60", defaults=(text("A=default"),), env_files=("env",))


class Command(Session):
    """A session in which a command is asked for."""

    def __init__(self, own, output):
        super().__init__(own)
        self.output = output

    def frame(self):
        data = self.own.recv(HEAD.size + protocol.FRAME_LIMIT)
        return (Frame(HEAD.unpack_from(data)[2]), data[HEAD.size :]) if data else None

    def execute(self, asked, *, flags=0, descriptors=None, words=None):
        handed = [programs.memory_file(encode_words(asked) if words is None else words), *(descriptors or ())]
        if descriptors is None:
            handed += [os.open(os.devnull, os.O_RDWR), *(os.dup(self.output.fileno()) for _ in range(2))]
        frame = HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.EXECUTE, 4) + struct.pack("<I", flags)
        self.own.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handed))])
        for descriptor in handed:
            os.close(descriptor)

    def signal(self, number):
        self.own.send(HEAD.pack(protocol.MAGIC, protocol.VERSION, Frame.SIGNAL, 4) + struct.pack("<I", number))


@contextmanager
def commanding(init):
    """A session for a command, greeted, and where its output can be read."""
    reader, writer = os.pipe()
    with session(init, SESSION_COMMAND) as asked, os.fdopen(reader) as output, os.fdopen(writer, "w") as far:
        command = Command(asked.own, far)
        assert command.answer() == (0, 1)
        yield command, output


def sh(script, **more):
    return Asked(("sh", "-c", script), **more)


@contextmanager
def asleep(units, *steps, env=b"\n"):
    with running(units, [START], [*steps, PAYLOAD], env=env) as init:
        init.started()
        yield init
        ends(init)


def test_a_command_runs_in_the_payloads_place_with_its_own_words(units):
    with asleep(units, ChangeFolder(path=text("/usr")), env=b"B=file\n") as init, commanding(init) as (command, output):
        command.execute(sh("echo $A $B $C $D; pwd; exit 3", env=("C=asked",), defaults=("A=asked", "D=default")))
        assert command.frame() == (Frame.STARTED, b"")
        assert command.frame() == (Frame.EXITED, struct.pack("<i", 3 << 8))
        assert output.readline() == "asked file asked default\n"
        assert output.readline() == "/usr\n"
        assert command.frame() is None


def test_another_folder_is_entered_instead(units):
    with asleep(units, ChangeFolder(path=text("/usr"))) as init, commanding(init) as (command, output):
        command.execute(sh("pwd", folder="/etc"))
        assert command.frame()[0] == Frame.STARTED
        assert output.readline() == "/etc\n"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(("nowhere",)), (127, errno.ENOENT, "cannot run 'nowhere': No such file or directory")),
        (Asked(("/etc",)), (126, errno.EACCES, "cannot run '/etc': Permission denied")),
        (Asked(()), (125, 0, "there is nothing to run")),
        (
            Asked(("true",), folder="/nowhere"),
            (125, errno.ENOENT, "cannot enter '/nowhere': No such file or directory"),
        ),
        (Asked(("true",), folder="/proc/self/root"), (125, errno.ELOOP, "cannot enter")),
    ],
    ids=["no command", "a folder", "nothing", "no such folder", "a link of /proc"],
)
def test_why_there_is_no_command_is_told_with_its_status(units, asked, told):
    with asleep(units, ChangeFolder(path=text("/"))) as init, commanding(init) as (command, _):
        command.execute(asked)
        kind, body = command.frame()
        assert kind == Frame.FAILED
        assert struct.unpack_from("<Ii", body) == told[:2]
        assert told[2] in body[8:].decode()
        assert command.frame() is None


def test_the_payloads_steps_are_done(units):
    with asleep(units, SetLimit(resource="nofile", soft=64, hard=64)) as init, commanding(init) as (command, output):
        command.execute(sh("ulimit -n"))
        assert command.frame()[0] == Frame.STARTED
        assert output.readline() == "64\n"


def test_signals_go_to_the_command_and_not_to_the_payload(units):
    with asleep(units) as init, commanding(init) as (command, output):
        command.execute(sh("trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 0.02; done"))
        assert command.frame()[0] == Frame.STARTED
        assert output.readline() == "ready\n"
        for number in (0, 65, signal.SIGUSR1):
            command.signal(number)
        assert command.frame() == (Frame.EXITED, struct.pack("<i", 4 << 8))


def test_what_was_started_dies_with_its_asker(units):
    with asleep(units) as init, commanding(init) as (command, output):
        command.execute(sh("setsid sleep 60 & (setsid setsid sleep 60 &); echo ready; exec sleep 60"))
        assert command.frame()[0] == Frame.STARTED
        assert output.readline() == "ready\n"
        command.own.close()
        command.output.close()
        assert output.read() == "", "every process that had it open is gone"


def test_a_command_has_its_standard_descriptors_and_no_other(units):
    with asleep(units) as init, commanding(init) as (command, output):
        command.execute(Asked(("ls", "/proc/self/fd")))
        assert command.frame()[0] == Frame.STARTED
        assert command.frame()[0] == Frame.EXITED
        command.own.close()
        assert [output.readline().strip() for _ in range(4)] == ["0", "1", "2", "3"]


def test_a_terminal_becomes_the_commands_own(units):
    master, slave = os.openpty()
    with asleep(units) as init, commanding(init) as (command, _), os.fdopen(master, "rb", buffering=0) as far:
        command.execute(
            sh("tty > /dev/tty"), flags=protocol.ON_TERMINAL, descriptors=[slave, os.dup(slave), os.dup(slave)]
        )
        assert command.frame()[0] == Frame.STARTED
        assert far.readline().startswith(b"/dev/pts/")
        assert command.frame() == (Frame.EXITED, struct.pack("<i", 0))


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_damaged_words_are_refused(units, cut):
    with asleep(units) as init, commanding(init) as (command, _):
        command.execute(None, words=encode_words(sh("true"))[:cut])
        kind, body = command.frame()
        assert (kind, struct.unpack_from("<I", body)[0]) == (Frame.FAILED, 125)


def test_too_few_descriptors_end_the_session_alone(units):
    with asleep(units) as init, commanding(init) as (command, _):
        command.execute(sh("true"), descriptors=[os.dup(command.output.fileno())])
        assert command.frame() is None


def test_an_asker_who_goes_before_asking_leaves_nothing(units):
    with asleep(units) as init, commanding(init) as (command, _):
        command.own.close()
