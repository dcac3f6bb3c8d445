"""Commands in a workload that runs: they stand behind every wall of its payload, and whoever asked is not reached.

Each attempt is made again by a command in a workload without the wall: what fails is the wall's doing, not exec's.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import contextmanager

import pytest

from tests.attack import walls
from tests.attack.conftest import PROBE
from tests.attack.plans import dropped, lowered
from volt import api
from volt.api.looking import running
from volt.host.facts import folders
from volt.model.steps import BoundCapabilities, SetLimit

pytestmark = pytest.mark.kernel

SECONDS = 30
SIGHT = """
grep -E '^(Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Uid|Gid|Groups|SigIgn|SigBlk):' /proc/self/status
cat /proc/self/uid_map /proc/self/gid_map /proc/self/cgroup /proc/self/limits
cd /proc/self/ns && readlink cgroup ipc mnt net pid user uts
umask; pwd; ls /proc/self/fd
"""
LIVES = "echo up; exec cat > /dev/null"


@pytest.fixture
def inside(attack):
    """What commands say in a workload without these walls."""

    @contextmanager
    def start(*without, script=LIVES, **sections):
        plan = lowered(attack.plan("sh", "-c", script, **sections), without)
        with attack.running(plan) as first:
            yield Inside(plan.name, first)

    return start


class Inside:
    def __init__(self, name, first):
        self.name = name
        self.first = first

    def say(self, *command, **options):
        with api.execute(self.name, command, stdout=api.PIPE, stderr=api.PIPE, **options) as one:
            assert one.wait(SECONDS) is not None
            return one.stdout.read().decode()

    def probe(self, *words, **options):
        return self.say("python3", "-c", PROBE, *words, **options).split()


def test_a_command_sees_itself_as_the_payload_does(inside):
    """Capabilities, filter, ids, maps, namespaces, cgroup, limits, signals, descriptors, folder."""
    sections = {"limits": {"nofile": "99:101"}, "workload": {"workdir": "/tmp"}}
    with inside(script=f"({SIGHT}) > /tmp/sight; {LIVES}", **sections) as one:
        payloads, commands = one.say("cat", "/tmp/sight"), one.say("sh", "-c", f"({SIGHT})")
        assert "Max open files            99                   101" in commands
    assert commands == payloads


CHANGED = {
    "bounding set": ("CapBnd", lambda plan: dropped(plan, BoundCapabilities)),
    "no_new_privs": ("NoNewPrivs", walls.new_privileges),
    "filter": ("Seccomp", walls.new_privileges),
}


@pytest.mark.parametrize("wall", CHANGED)
def test_it_would_see_a_wall_that_is_not_there(inside, wall):
    field, without = CHANGED[wall]
    show = ("grep", f"^{field}:", "/proc/self/status")
    with inside() as one:
        held = one.say(*show)
    with inside(without) as one:
        assert one.say(*show) != held


def test_what_the_filter_refuses(inside):
    keyctl = ("python3", "-c", f"import ctypes; print(ctypes.CDLL(None).syscall({_keyctl()}, 0, -3, 1) != -1)")
    with inside() as one:
        assert one.say(*keyctl) == "False\n"
    with inside(walls.no_filter) as one:
        assert one.say(*keyctl) == "True\n"


def _keyctl():
    return {"x86_64": 250, "aarch64": 219}[os.uname().machine]


def test_what_landlock_refuses(inside):
    """A file in /dev, which the workload's root may make by its ids."""
    storage = {"writable_layer": "none"}
    with inside(storage=storage) as one:
        assert one.probe("new=/dev/attacked") == ["EACCES"]
    with inside(walls.no_landlock, storage=storage) as one:
        assert one.probe("new=/dev/attacked") == ["done"]


WAYS = ("open=/proc/1/mem", "trace=1", "read=/proc/1/environ", "read=/proc/1/fd/0")


def test_the_init_and_the_session_are_not_taken_over(inside):
    """The session that tends a command is the init's child: 3 here, for the payload is 2."""
    ways = [*WAYS, *(way.replace("/1/", "/3/").replace("=1", "=3") for way in WAYS)]
    open_ = [walls.no_filter, walls.no_landlock]
    with inside(*open_) as one:
        assert set(one.probe(*ways)) <= {"EACCES", "EPERM"}
    with inside(*open_, walls.no_protected_init) as one:
        assert set(one.probe(*ways)) == {"done"}


def test_another_user_gains_nothing_that_the_payload_cannot_have(inside):
    """Root in a workload without capabilities has none, and set-uid programs give none."""
    show = ("grep", "-E", "^(Cap...|NoNewPrivs):", "/proc/self/status")
    with inside(workload={"user": "daemon"}, security={"capabilities": []}) as one:
        words = one.say(*show, user="root").split()
    assert words[1::2] == ["0" * 16] * 5 + ["1"]


ACCOUNTS = {
    "a link out of the root": "ln -sf {outside}/passwd /etc/passwd",
    "a link of /proc": "ln -sf /proc/1/root/etc/passwd /etc/passwd",
    "a pipe": "rm -f /etc/passwd; mkfifo /etc/passwd",
    "a folder": "rm -f /etc/passwd; mkdir /etc/passwd",
    "a device": "ln -sf /dev/zero /etc/passwd",
    "a link to itself": "ln -sf /etc/passwd /etc/passwd",
}


class TestHostileInside:
    """The asker is root on the host: nothing inside may make it read, write or wait for something else."""

    @pytest.mark.parametrize("what", ACCOUNTS)
    def test_account_files_that_are_none(self, attack, image, outside, what):
        """They are looked for below the workload's root alone; what is no file there knows no user."""
        (outside / "passwd").write_text("spy:x:0:0::/:/bin/sh\n")
        script = f"{ACCOUNTS[what].format(outside=outside)}; {LIVES}"
        plan = attack.plan("sh", "-c", script, storage=image.storage(writable_layer="tmpfs"))
        with attack.running(plan) as first:
            assert first == "up\n"
            begun = time.monotonic()
            with pytest.raises(api.VoltError, match="no user 'spy'"):
                api.execute(plan.name, ["true"], user="spy")
            assert time.monotonic() - begun < 5

    def test_a_terminal_that_is_none_is_not_opened(self, inside):
        """/dev/pts is the kernel's own mount, which nothing inside covers: so the folder is left, and it stays."""
        script = f"rm -rf /dev/pts 2>/dev/null; mv /dev/pts /dev/old 2>/dev/null; {LIVES}"
        with inside(script=script) as one, api.execute(one.name, ["tty"], terminal=True) as command:
            assert command.wait(SECONDS).status == 0
            assert re.match(rb"/dev/pts/\d+\r\n", os.read(command.master, 100))

    def test_a_payload_that_kills_every_session_gives_an_error_in_time(self, inside):
        script = "trap '' TERM; echo up; while :; do kill -9 -1; done"
        with inside(script=script) as one:
            begun = time.monotonic()
            with pytest.raises(api.StateError), api.execute(one.name, ["sleep", "60"]) as command:
                command.wait(SECONDS)
            assert time.monotonic() - begun < SECONDS
            os.kill(running(folders(), one.name).pid, signal.SIGKILL)
        api.sweep()

    def test_a_command_that_leaves_its_terminal_open_holds_nobody_up(self, inside):
        words = ["sh", "-c", "setsid sleep 60 & exit 3"]
        with inside() as one, api.execute(one.name, words, terminal=True) as command:
            assert command.wait(SECONDS).status == 3


def test_limits_hold_for_a_command(inside):
    show = ("sh", "-c", "ulimit -n")
    sections = {"limits": {"nofile": "64:64"}}
    with inside(**sections) as one:
        assert one.say(*show) == "64\n"
    with inside(lambda plan: dropped(plan, SetLimit), **sections) as one:
        assert one.say(*show) != "64\n"
