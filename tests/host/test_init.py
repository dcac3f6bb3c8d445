"""The init's own calls: what it makes behind its filter, and its sessions before theirs, is what its list has."""

import os
import subprocess

import pyseccomp
import pytest

from tests.host import trace
from tests.host.conftest import Volt
from tests.host.test_terminal import Terminal
from volt.api.looking import running
from volt.api.planning import planned
from volt.host.facts import folders
from volt.launch.handover import seal
from volt.model.attempts import Attempt, Invoked
from volt.model.binary import encode
from volt.model.facts import Call
from volt.plan.init_calls import OWN
from volt.runs.session import tried

SECONDS = 120  # traced, and in a guest on an emulated processor
# What this run does not come to: being frozen or traced while it waits. And of two names for one call, that which the
# C library does not take here.
UNSEEN = {"restart_syscall", "ppoll", "openat", "dup3"}
NOTHING = Attempt("", "", (Invoked(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "getppid"), ()),))
TERMINAL = "stty -echo; trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"


class Traced(Volt):
    """Its runs are traced: the static program's part of them alone, which is long enough on an emulated processor."""

    def start(self, verb, *arguments, **options):
        if verb != "run":
            return super().start(verb, *arguments, **options)
        manifest, _, *command = arguments
        plan, facts = planned(manifest, None, None, Call(command=tuple(command), terminal=0b111))
        descriptor = seal(encode(plan))
        traced = ["strace", "-f", "--decode-pids=pidns", "-o", str(self.folder / "trace")]
        argv = [*traced, facts.program, "perform", str(descriptor)]
        try:
            return subprocess.Popen(argv, env=self.environment, pass_fds=(descriptor,), **options)
        finally:
            os.close(descriptor)


def abandon(volt, name):
    """A command whose asker is killed: the session ends all that it has started."""
    with volt.start("exec", name, "--", "sh", "-c", "sleep 60 & echo up; wait", stdout=subprocess.PIPE) as asker:
        assert asker.stdout.readline() == b"up\n"
        asker.kill()


@pytest.fixture(scope="module")
def calls(tmp_path_factory, busybox):
    """Every call of a run on a terminal, with sessions of each kind."""
    volt = Traced(tmp_path_factory.mktemp("init"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOLT_ROOT", str(volt.state))
        run(volt, busybox)
    return trace.read(volt.folder / "trace")


def run(volt, busybox):
    (volt.folder / "values").write_text("A=1\n")
    manifest = volt.manifest(
        workload={"name": "watched", "env_file": str(volt.folder / "values"), "user": "user", "workdir": "/tmp"},
        storage={"rootfs": str(busybox), "writable_layer": "tmpfs"},
        limits={"nofile": "64:128"},
    )
    terminal = Terminal(volt, "run", manifest, "--", "sh", "-c", TERMINAL)
    try:
        terminal.until(b"up", SECONDS)
        done = volt("exec", "-u", "root", "watched", "--", "sh", "-c", "id -u; echo $A")
        assert done.stdout == b"0\n1\n", done.stderr
        assert volt("exec", "-w", "/nowhere", "watched", "--", "true").returncode != 0
        assert volt("cp", "watched:/etc/hostname", volt.folder).returncode == 0
        abandon(volt, "watched")
        assert tried(running(folders(), "watched"), [NOTHING]).tried[0].status == 0
    finally:
        volt("stop", "watched")
        assert terminal.end(SECONDS) == 3, terminal.seen


def behind(calls):
    """What the init calls from its filter on, and what its children call from then on to a filter of theirs."""
    init, own, found = 0, set(), []
    for call in calls:
        if call.name == "execve" and call.arguments.startswith(trace.INIT):
            init = call.pid
        elif call.name == "seccomp" and call.pid == init:
            own.add(init)
        elif call.pid in own:
            found.append(call)
            if call.name == "seccomp":
                own.discard(call.pid)
            if call.kind == "clone3" and not call.failed:
                own.add(int(call.result))
    return found


def here():
    """The names of the list that this architecture has."""
    return {one.call for one in OWN if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, one.call) >= 0}


def test_the_init_calls_nothing_that_is_not_in_its_list(calls):
    found = {call.name for call in behind(calls)}
    assert {"wait4", "recvmsg", "clone", "setresuid", "pread64", "seccomp"} <= found
    assert found <= here()


def test_and_the_list_has_nothing_that_it_does_not_call(calls):
    assert here() - UNSEEN <= {call.name for call in behind(calls)}


def test_nor_with_arguments_that_are_refused(calls):
    """But for the capability beyond the last, which ends the search for it."""
    answers = {entry.call for entry in OWN if entry.where}
    refused = [one for one in behind(calls) if one.name in answers and one.failed]
    assert all(one.arguments.startswith("PR_CAPBSET_READ") for one in refused), refused
