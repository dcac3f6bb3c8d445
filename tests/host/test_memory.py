"""What a run costs while its payload sleeps: pages of volt's own processes, counted."""

from __future__ import annotations

import os
import platform
import signal
import time

import pytest

from bench import memory
from tests.host import front
from tests.host.living import until

PAGE = os.sysconf("SC_PAGESIZE") // 1024  # KiB
# One workload alone, whose two processes share one program; what launches took on x86-64, in the comment. The
# kernel places each stack at random, and an environment and paths of other lengths lie on it: that makes the
# difference. On arm64 constants are of one segment with the code, and come back with it.
APART = platform.machine() == "x86_64"
OWN = (34 if APART else 44) * PAGE  # 27 to 31: both together, 15 of them the code of volt/native/build.py's WAITING
SUPERVISOR, INIT = 11, 7  # 7 to 10 and 4 to 6: pages that are no file's
CONSTANTS = (3 if APART else -1) * PAGE  # 5: of the program, given back by both
SECONDS = 20


@pytest.fixture
def idle(volt):
    """Starts a workload that sleeps, and gives its supervisor and its init once the launch is over."""
    started = []

    def start():
        # No more environment than it needs: the caller's lies on the supervisor's stack.
        environment = {name: volt.environment[name] for name in ("PATH", "VOLT_ROOT")}
        started.append(volt.start("run", volt.manifest(), "--", "sleep", "60", env=environment))
        return own(started[-1].pid)

    yield start
    for process in started:
        process.terminate()
        assert process.wait(SECONDS) == 128 + signal.SIGTERM


def own(top):
    deadline = time.monotonic() + SECONDS
    while not any(memory.words(process) == ["sleep", "60"] for process in memory.below(top)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)  # the supervisor hears of it, and gives back what it needs no more
    return memory.volts_own(top)


def at_rest(processes):
    """What each takes once nothing more is given back; a busy machine lets them wait for their turn."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = [memory.of(process) for process in processes]
        if given_back(processes, found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def given_back(processes, found):
    """Whether the program's code alone is left of it. Its two processes share it, half each."""
    program = os.stat(f"/proc/{processes[0]}/exe").st_size // 1024
    return sum(one.pss - one.anonymous for one in found) < program - CONSTANTS


def test_an_idle_workload_costs_little_memory(idle):
    processes = idle()
    alone = at_rest(processes)
    assert given_back(processes, alone)
    assert 2 * PAGE < alone[0].anonymous <= SUPERVISOR * PAGE
    assert 2 * PAGE < alone[1].anonymous <= INIT * PAGE
    assert (alone[0] + alone[1]).pss <= OWN


def test_inits_share_the_pages_of_one_program(idle):
    """The second workload costs what is no file's, and nothing of the program."""
    both = [*idle(), *idle()]
    assert len(both) == 4
    assert len({os.stat(f"/proc/{process}/exe").st_ino for process in both}) == 1
    until(lambda: all(one.private == one.anonymous for one in map(memory.of, both)), "all else is shared")


def test_nobody_writes_to_the_program_by_way_of_an_init(idle):
    """Not even root of this machine: the mount that the init runs from is read-only."""
    _, init = idle()
    with pytest.raises(OSError, match="Read-only file system"):
        os.chmod(f"/proc/{init}/exe", 0o777)
    with pytest.raises(OSError, match="Text file busy"):
        os.open(f"/proc/{init}/exe", os.O_WRONLY)


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o700), (0, 0o775), (65534, 0o755)])
def test_a_program_that_is_not_roots_alone_is_copied(tmp_path, owner, mode):
    """What somebody else may write to, or not everyone may run, is no init's: it has a sealed copy."""
    one = front.Front(tmp_path, front.Installation(tmp_path))
    for program in (one.installed.program, one.installed.tree / "volt/native/volt"):
        os.chown(program, owner, 0)
        program.chmod(mode)
    process = one.start("run", one.manifest(), "--", "sleep", "60")
    try:
        supervisor, init = own(process.pid)
        assert os.readlink(f"/proc/{init}/exe") == "/memfd:volt (deleted)"
        assert os.readlink(f"/proc/{supervisor}/exe").startswith(str(tmp_path))
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
