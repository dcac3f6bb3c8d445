"""The init, PID 1 of the payload's namespace and of its ids: whoever takes it over is behind none of the walls."""

import os
import subprocess

import pytest

from tests.attack import walls
from tests.attack.plans import VOLT_FAILED, changed
from volt.model.steps import ChangeFolder, FilterCalls, FilterInit, SealProgram, SetIdentity
from volt.model.text import text
from volt.model.values import replace

pytestmark = pytest.mark.kernel

WAYS = ("open=/proc/1/mem", "trace=1", "peek=1", "read=/proc/1/exe", "read=/proc/1/fd/0", "read=/proc/1/environ")


def test_the_init_is_not_taken_over(probe):
    """By its memory, by ptrace, by process_vm_readv, by its program, its descriptors and its environment."""
    assert set(probe(*WAYS)) <= {"EACCES", "EPERM", "ENOSYS"}
    taken = probe(*WAYS, without=[walls.no_protected_init, walls.no_filter, walls.no_landlock])
    assert taken == ["done"] * len(WAYS)


def test_the_filter_and_landlock_are_no_part_of_that_wall(probe):
    assert set(probe(*WAYS, without=[walls.no_filter, walls.no_landlock])) <= {"EACCES", "EPERM"}


def readable(plan):
    return changed(plan, SealProgram, unreadable=False)


OPEN = [walls.no_filter, walls.no_landlock]


def test_nor_with_capabilities_for_files(probe):
    given = [*OPEN, walls.all_capabilities("DAC_READ_SEARCH", "SYS_ADMIN", "SYS_RESOURCE")]
    assert set(probe(*WAYS, without=given)) <= {"EACCES", "EPERM"}


def test_nor_by_a_payload_that_may_trace(probe):
    """The capability in the workload's user namespace is enough for any process there, but for one whose program it
    could not read."""
    security = {"capabilities": ["CHOWN", "SYS_PTRACE"]}
    assert set(probe(*WAYS, without=OPEN, security=security)) <= {"EACCES", "EPERM"}
    assert "done" in probe(*WAYS, without=[*OPEN, readable], security=security)


# The payload may run a moment before the init has given up the last of what starting it took.
STATUS = "sleep 0.3; grep -E '^(CapEff|CapPrm|Seccomp|NoNewPrivs):' /proc/1/status"


def status(attack, *without, **sections):
    out = attack("sh", "-c", STATUS, without=without, **sections).out
    return dict(line.replace("\t", "").split(":") for line in out.splitlines())


def test_the_init_keeps_its_payloads_capabilities_and_four_more(attack):
    """And KILL, SETGID, SETUID and SETPCAP, for what it forks to become what the payload is."""
    kept = f"{1 << 0 | 0b1111 << 5:016x}"
    security = {"capabilities": ["CHOWN"]}
    found = status(attack, security=security)
    assert (found["CapEff"], found["CapPrm"]) == (kept, kept)
    assert status(attack, walls.init_keeps_its_capabilities, security=security)["CapEff"] != kept


def test_the_init_has_a_filter_of_its_own(attack):
    found = status(attack)
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
    assert status(attack, walls.no_filter_of_the_init)["Seccomp"] == "0"


CALLED = "import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall({number}, {arguments}) != -1)"
KEYCTL = CALLED.format(number={"x86_64": 250, "aarch64": 219}[os.uname().machine], arguments="0, -3, 1")


def test_what_the_init_may_not_call_none_that_it_starts_can(attack):
    """Not even a payload whose own filter permits everything."""
    assert attack("python3", "-c", KEYCTL, without=[walls.no_filter_of_its_own]).words == ["False"]
    assert attack("python3", "-c", KEYCTL, without=[walls.no_filter]).words == ["True"]


def test_once_it_has_its_filter_the_init_mounts_no_more(attack):
    """Where the plan has them the other way round, the launch fails: the init itself is refused."""
    plan = attack.plan("echo", "started")
    own = [step for step in plan.init if isinstance(step, FilterInit)]
    early = replace(plan, init=(*own, *(step for step in plan.init if step not in own)))
    assert attack.perform(plan).words == ["started"]
    refused = attack.perform(early)
    assert (refused.status, refused.out) == (VOLT_FAILED, "")


def test_the_init_cannot_be_killed(attack):
    """By no signal of its own namespace. Any other process is killed by the same one."""
    script = "kill -KILL 1; kill -STOP 1; kill -TERM 1; sleep 60 & kill -KILL $!; wait $!; echo $?"
    assert attack("sh", "-c", script).words == ["137"]


def test_every_step_before_the_payload_is_done_or_nothing_starts(attack):
    """A wall that cannot be raised is no weaker start: here the init's filter and the payload's own walls, spoiled in
    turn."""
    plan = attack.plan("echo", "started")
    assert attack.perform(plan).words == ["started"]
    spoiled = (
        changed(plan, FilterInit, filter=b"\xff" * 8),
        changed(plan, FilterCalls, filter=b"\xff" * 8),
        changed(plan, SetIdentity, uid=70000),  # not in the namespace's range
        changed(plan, SetIdentity, groups=(text("70000"),)),
        changed(plan, ChangeFolder, path=text("/nowhere")),
    )
    for one in spoiled:
        ended = attack.perform(one)
        assert (ended.status, ended.out) == (VOLT_FAILED, "")


# ── what lies below the root

NESTED = """
exec 2>&1
unshare --user --map-root-user --mount --pid --fork sh -c '
    mount -t proc proc /mnt || echo refused
    test -e /mnt/interrupts && head -c 9 /mnt/interrupts | wc -c
    mount --rbind /etc /srv && echo bound
'
"""


def test_the_filter_lets_no_namespace_be_made(attack):
    assert "bound" not in attack("sh", "-c", NESTED, without=[walls.no_landlock]).words


def nspawn_leaves_mounts():
    """Up to 252 systemd-nspawn moves its root over the host's mounts, which stay below it."""
    words = subprocess.run(["systemd-nspawn", "--version"], capture_output=True, text=True, check=True).stdout.split()
    return int(words[1].partition(".")[0]) <= 252


def test_no_unmasked_proc_is_mounted_in_a_namespace_within(attack):
    """Even where no filter forbids to mount: the kernel gives a new /proc only to who sees all of an old one."""
    words = attack("sh", "-c", NESTED, without=[walls.no_filter, walls.no_landlock]).words
    assert "bound" in words, "it has every capability in there"
    assert "refused" in words


@pytest.mark.skipif(not nspawn_leaves_mounts(), reason="this systemd-nspawn leaves nothing below the root")
def test_with_a_whole_proc_below_the_root_another_is_mounted_there(attack):
    """So the test above would notice."""
    words = attack("sh", "-c", NESTED, without=[walls.no_filter, walls.no_landlock, walls.whole_below_the_root]).words
    assert "refused" not in words


def test_a_folder_left_open_is_no_way_out_of_the_root(attack):
    """The way out of a chroot: enter another one with a folder open, and go up from there. It ends at the root."""
    script = """
import os
os.mkdir("/srv/x")
out = os.open("/", os.O_RDONLY)
os.chroot("/srv/x")
os.fchdir(out)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print("root" if os.path.exists("/srv/x") else "out")
"""
    assert attack("python3", "-c", script, without=[walls.no_filter, walls.no_landlock]).words == ["root"]
