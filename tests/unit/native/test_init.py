"""`volt init`, with a test in the supervisor's place: it starts the payload, passes signals on and reports the end."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager

import pytest

from tests.unit.native import programs
from volt.model import protocol
from volt.model.binary import HEADER, encode
from volt.model.protocol import GO_ON, Frame
from volt.model.steps import ChangeFolder, CoverBelow, Execute, OpenTerminal, SetLimit, StartPayload
from volt.model.text import RUN, UIDS, text

HEAD = struct.Struct("<IHHI")
SLOTS = struct.pack("<16sQQQQIIII", b"0123456789ab", 655360, 42, 1700000000, 99, 0, 0, 0, 0)  # struct slots, volt.h
INHERITED = ("control", "inside", "stdin", "stdout", "stderr", "env")


class Init:
    """The init, and the supervisor's end of its control socket."""

    def __init__(self, process, control, output):
        self.process = process
        self.control = control
        self.output = output  # of the payload

    def frame(self):
        """(type, body, descriptors); None when the init has closed its end."""
        assert select.select([self.control], [], [], 30)[0], "no frame within 30 seconds"
        room = HEAD.size + protocol.FRAME_LIMIT
        data, ancillary, flags, _ = self.control.recvmsg(room, socket.CMSG_SPACE(16))
        if not data:
            return None
        magic, version, kind, length = HEAD.unpack_from(data)
        expected = (protocol.MAGIC, protocol.VERSION, len(data) - HEAD.size, 0)
        assert (magic, version, length, flags & socket.MSG_TRUNC) == expected
        descriptors = array.array("i")
        for _, _, raw in ancillary:
            descriptors.frombytes(raw)
        return Frame(kind), data[HEAD.size :], list(descriptors)

    def send(self, kind, body=b""):
        self.control.send(HEAD.pack(protocol.MAGIC, protocol.VERSION, kind, len(body)) + body)

    def signal(self, number):
        self.send(Frame.SIGNAL, struct.pack("<I", number))

    def started(self):
        assert self.frame() == (Frame.STARTED, b"", [])

    def exited(self):
        """The wait status that the init reports last."""
        kind, body, _ = self.frame()
        assert kind == Frame.EXITED
        assert self.process.wait(30) == 0
        return struct.unpack("<i", body)[0]

    def failed(self):
        """(number, errno, text) of the failed step."""
        kind, body, _ = self.frame()
        assert kind == Frame.FAILED
        assert self.process.wait(30) == 125
        return (*struct.unpack_from("<Ii", body), body[8:].decode())


# Python's own children get descriptors under their own numbers only; the guard puts the init's in their places.
PLACE = """
import os, sys
program, *sources = sys.argv[1:]
for place, source in enumerate(sources, 3):
    os.dup2(int(source), place)
os.closerange(3 + len(sources), 256)
os.execv(program, ["volt", "init", "3", "4"])
"""
ABOVE = 100  # all places


def inner(init, payload):
    """The inner program of a plan: what the init gets."""
    plan = programs.plan(init=init, payload=payload, inherited=INHERITED)
    return encode(plan)[HEADER.size :]


@contextmanager
def running(program, init=(), payload=(), *, env=b"", slots=SLOTS, change=lambda data: data):
    """`volt init 3 4` with this program; 5 to 7 are the payload's standard descriptors, 8 an env_file."""
    data = change(inner(init, payload)) + slots
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open("/dev/null", os.O_RDWR)
    reader, writer = os.pipe()
    files = [
        theirs.fileno(),
        programs.memory_file(data),
        null,
        writer,
        writer,
        programs.memory_file(env, sealed=bool(env)),
    ]
    sources = [fcntl.fcntl(file, fcntl.F_DUPFD, ABOVE) for file in files]
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", PLACE, program, *map(str, sources)],
        pass_fds=sources,
        stdin=subprocess.DEVNULL,
        env={**programs.SANITIZED, "PATH": os.environ["PATH"]},
    )
    for descriptor in (files[1], null, writer, files[5], *sources):
        os.close(descriptor)
    theirs.close()
    with ours, os.fdopen(reader) as output:
        yield Init(process, ours, output)
        process.kill()
        process.wait()


STDIO = ("stdin", "stdout", "stderr")
START = StartPayload(stdio=STDIO)
ON_TERMINAL = [OpenTerminal(input=True), StartPayload(stdio=STDIO, terminal=0b111)]


def shell(script, *words, **values):
    """The command that runs a script."""
    argv = tuple(word if isinstance(word, tuple) else text(word) for word in ("sh", "-c", script, *words))
    return Execute(argv=argv, env=(text("PATH=/usr/bin:/bin"),), **values)


def test_the_payload_runs_and_its_status_is_reported(units):
    with running(units, [START], [shell("echo hello; exit 3")]) as init:
        init.started()
        assert init.exited() == 3 << 8
        assert init.output.read() == "hello\n"


def test_a_payload_that_a_signal_ends_is_reported_so(units):
    with running(units, [START], [shell("kill -9 $$")]) as init:
        init.started()
        assert init.exited() == signal.SIGKILL


def test_slots_travel_to_the_init(units):
    with running(units, [START], [shell('echo "$0 $1"', RUN, (UIDS, "!"))]) as init:
        init.started()
        assert init.exited() == 0
        assert init.output.read() == "0123456789ab 655360!\n"


def test_the_environment_is_the_plans_alone(units):
    execute = Execute(
        argv=(text("env"),),
        env=(text("C=plan"), text("PATH=/usr/bin:/bin")),
        env_files=("env",),
        defaults=(text("A=default"), text("B=default")),
    )
    with running(units, [START], [execute], env=b"\xef\xbb\xbf# secrets\r\nB=file\r\nC=file\r\n") as init:
        init.started()
        init.exited()
        assert init.output.read().split() == ["A=default", "B=file", "C=plan", "PATH=/usr/bin:/bin"]


def test_the_payload_has_its_standard_descriptors_and_no_other(units):
    with running(units, [START], [shell("ls /proc/self/fd")]) as init:
        init.started()
        init.exited()
        assert init.output.read().split() == ["0", "1", "2", "3"]  # 3 is the folder that ls looks at


def test_descriptors_of_a_command_lie_from_3_up(units):
    execute = shell("cat <&3; ls /proc/self/fd", descriptors=("env", "", "stdin"))
    with running(units, [START], [execute], env=b"one\n") as init:
        init.started()
        init.exited()
        assert init.output.read().split() == ["one", "0", "1", "2", "3", "4", "5"]  # 4 is the folder that ls looks at


def test_standard_descriptors_may_change_places(units):
    """Standard output to what is the error's, and standard input from nothing."""
    execute = shell("cat; echo out; echo error >&2", stdio=("", "env", "stdout"))
    with running(units, [START], [execute]) as init:
        init.started()
        assert init.exited() == 0
        assert init.output.read() == "error\n"


def test_the_payload_begins_with_signals_as_a_program_expects_them(units):
    with running(units, [START], [shell("umask; exec cat /proc/self/status")]) as init:
        init.started()
        init.exited()
        umask, *lines = init.output.read().splitlines()
        masks = {line[:6]: int(line.split()[1], 16) for line in lines if line[:6] in ("SigBlk", "SigIgn", "SigCgt")}
        assert masks == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}
        assert umask == "0022"


def test_the_payload_leads_a_session_of_its_own(units):
    with running(units, [START], [shell("cut -d' ' -f1,6 /proc/$$/stat")]) as init:
        init.started()
        init.exited()
        pid, session = init.output.read().split()
        assert pid == session


def test_signals_are_passed_on(units):
    script = "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with running(units, [START], [shell(script)]) as init:
        init.started()
        assert init.output.readline() == "ready\n"
        init.signal(signal.SIGUSR1)
        assert init.output.readline() == "usr1\n"
        init.signal(signal.SIGTERM)
        assert init.exited() == 7 << 8
        assert init.output.read() == "term\n"


def test_a_signal_of_no_such_number_is_nothing(units):
    with running(units, [START], [shell("sleep 0.2")]) as init:
        init.started()
        for number in (0, 65, 2**32 - 1):
            init.signal(number)
        assert init.exited() == 0


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        ([Execute(argv=(text("nowhere"),), env=())], (2, errno.ENOENT, "nowhere")),
        ([Execute(argv=(text("/etc"),), env=())], (2, errno.EACCES, "/etc")),
        ([Execute(argv=(text("/etc/passwd/x"),), env=())], (2, errno.ENOENT, "/etc/passwd/x")),
        ([Execute(argv=(text(""),), env=())], (2, errno.ENOENT, "")),
        ([Execute(argv=(), env=())], (2, 0, "there is nothing to run")),
        ([ChangeFolder(path=text("/nowhere")), shell("true")], (2, errno.ENOENT, "/nowhere")),
        ([ChangeFolder(path=text("/"))], (1, 0, "the payload's steps do not end in an exec")),
        ([SetLimit(resource="nofile", soft=9, hard=8), shell("true")], (2, errno.EINVAL, "")),
    ],
    ids=["no command", "a folder", "below a file", "no name", "nothing", "no folder", "no exec", "a bad limit"],
)
def test_a_failure_before_the_exec_is_reported_under_its_step(units, steps, failure):
    with running(units, [START], steps) as init:
        assert init.failed() == failure


def test_an_env_file_that_is_wrong_is_reported_without_its_value(units):
    execute = Execute(argv=(text("true"),), env=(), env_files=("env",))
    with running(units, [START], [execute], env=b"A=1\nsecret\n") as init:
        assert init.failed() == (2, 0, "line 2 of the env_file is not NAME=value")


@pytest.mark.parametrize(
    ("change", "slots", "failure"),
    [
        (lambda data: data[:-1], SLOTS, (0, errno.EBADMSG, "the plan is damaged")),
        (
            lambda data: data[:8] + b"\0\0\0\0" + data[12:],
            SLOTS,
            (0, 0, "the plan was made by another version of volt"),
        ),
        (lambda _: b"", b"", (0, errno.EBADMSG, "the plan is cut short")),
        (lambda _: b"", SLOTS, (0, errno.EBADMSG, "the plan is damaged")),
    ],
    ids=["cut", "version", "empty", "slots alone"],
)
def test_a_damaged_program_is_reported_before_anything_is_done(units, change, slots, failure):
    with running(units, [START], [shell("echo never")], change=change, slots=slots) as init:
        assert init.failed() == failure
        assert init.output.read() == ""


def test_the_init_ends_when_the_supervisor_has(units):
    with running(units, [START], [shell("sleep 1")]) as init:
        init.started()
        init.control.shutdown(socket.SHUT_RDWR)
        assert init.process.wait(30) == 125


@pytest.mark.parametrize("message", [b"x", b"VOLT" * 8, HEAD.pack(protocol.MAGIC, 2, Frame.SIGNAL, 0)])
def test_the_init_ends_at_what_is_no_frame(units, message):
    with running(units, [START], [shell("sleep 1")]) as init:
        init.started()
        init.control.send(message)
        assert init.process.wait(30) == 125


@pytest.mark.parametrize(("kind", "body"), [(Frame.EXITED, b"\0\0\0\0"), (Frame.SIGNAL, b""), (9, b"\1\0\0\0")])
def test_the_init_ends_at_a_frame_that_is_not_for_it(units, kind, body):
    with running(units, [START], [shell("sleep 1")]) as init:
        init.started()
        init.send(kind, body)
        assert init.process.wait(30) == 125


# ── the terminal


def terminal(init):
    """The master that the init sends."""
    kind, body, descriptors = init.frame()
    assert (kind, body, len(descriptors)) == (Frame.TERMINAL, b"", 1)
    return os.fdopen(descriptors[0], "r+b", buffering=0)


def test_the_payload_starts_when_its_window_has_a_size(units):
    script = shell("stty size; tty >&2; exec cat")
    with running(units, ON_TERMINAL, [script]) as init, terminal(init) as master:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("<4H", 33, 77, 0, 0))
        init.signal(GO_ON)
        init.started()
        assert master.readline() == b"33 77\r\n"
        assert master.readline().startswith(b"/dev/pts/")
        master.write(b"typed\n\4")
        assert master.readline() == b"typed\r\n"  # the echo
        assert master.readline() == b"typed\r\n"
        assert init.exited() == 0


def test_a_terminal_for_output_alone_changes_no_byte(units):
    with running(
        units, [OpenTerminal(), StartPayload(stdio=STDIO, terminal=0b010)], [shell("echo a; cat; echo b >&2")]
    ) as init:
        with terminal(init) as master:
            init.signal(GO_ON)
            init.started()
            assert master.readline() == b"a\n"
            assert init.exited() == 0
        assert init.output.read() == "b\n"


def test_a_signal_before_the_payload_is_not_lost(units):
    with running(units, ON_TERMINAL, [shell("sleep 5")]) as init, terminal(init):
        init.signal(signal.SIGUSR1)
        init.signal(GO_ON)
        init.started()
        assert init.exited() == signal.SIGUSR1


def test_nothing_is_done_before_what_lies_below_the_root_is_covered(units):
    """The supervisor says when; a signal until then is not lost."""
    steps = [CoverBelow(), StartPayload(stdio=STDIO)]
    with running(units, steps, [shell("sleep 5")]) as init:
        assert init.frame() == (Frame.COVER, struct.pack("<I", 1), [])
        assert not select.select([init.control], [], [], 0.1)[0]
        init.signal(signal.SIGUSR1)
        init.signal(GO_ON)
        init.started()
        assert init.exited() == signal.SIGUSR1


def test_without_a_supervisor_to_cover_it_the_start_ends(units):
    with running(units, [CoverBelow(), StartPayload(stdio=STDIO)], [shell("true")]) as init:
        init.frame()
        init.control.shutdown(socket.SHUT_WR)
        assert init.failed() == (1, errno.EPIPE, "the supervisor is gone")


@pytest.mark.parametrize("number", [65, 2**32 - 1])
def test_a_number_beyond_signals_ends_the_start(units, number):
    with running(units, ON_TERMINAL, [shell("true")]) as init, terminal(init):
        init.signal(number)
        assert init.failed() == (1, errno.EPROTO, "the supervisor's answer")
