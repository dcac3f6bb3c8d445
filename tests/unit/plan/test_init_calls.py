"""The init's filter: it lets through what the init calls and all that its payload's does, and it ends nothing."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pyseccomp
import pytest

from tests.bpf import run
from tests.unit.plan.test_seccomp import EVERY_ABI, SHIPPED, X32
from volt.plan.capabilities import DEFAULT
from volt.plan.init_calls import OWN
from volt.plan.seccomp import compile_filter, init_filter
from volt.plan.seccomp_bound import read_profile
from volt.plan.seccomp_rules import ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, TRAP

PROFILES = Path(__file__).parents[3] / "profiles/seccomp"
NATIVE = [(machine, abi) for machine, abi in EVERY_ABI if machine.upper() == abi]
VALUES = (0, 1, 2, 16, 17, 0x540E, 0x5412, 0x1000_0000, 0xFFFF_FFFF)
EPERM = ERRNO | errno.EPERM
ENDS = (KILL_PROCESS, KILL_THREAD, TRAP)
# Each action of seccomp(2) once, by argument too, and nothing that anyone needs.
ACTIONS = """{"defaultAction": "SCMP_ACT_TRAP", "syscalls": [
    {"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}, {"names": ["kill"], "action": "SCMP_ACT_KILL_THREAD"},
    {"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}, {"names": ["mount"], "action": "SCMP_ACT_TRACE"},
    {"names": ["socket"], "action": "SCMP_ACT_LOG"}, {"names": ["prctl"], "action": "SCMP_ACT_ALLOW",
    "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}]}"""


def profile(name):
    return read_profile(ACTIONS.encode() if name == "actions" else (PROFILES / f"{name}.toml").read_bytes())


def both(name, machine):
    """The payload's filter, and its init's."""
    payload = compile_filter(profile(name), capabilities=DEFAULT, architecture=machine)
    return payload, init_filter(payload, machine)


def answered(name, machine, abi):
    """Every call of an ABI with some arguments: its number, and what either filter answers."""
    payload, init = both(name, machine)
    kind = getattr(pyseccomp.Arch, abi)
    for number in (*range(512), X32, X32 | 5, 0x3FFF_FFFF, 0xFFFF_FFFF):
        for value in VALUES:
            arguments = (value, value, value)
            yield number, arguments, run(payload, kind, number, arguments), run(init, kind, number, arguments)


def precedence(answer):
    """seccomp(2): of several filters' answers the one with the least action counts, as signed numbers."""
    action = answer & 0xFFFF_0000
    return action - 2**32 if action >= KILL_PROCESS else action


@pytest.mark.parametrize("name", [*SHIPPED, "actions"])
@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
def test_it_changes_no_answer_of_its_payloads(name, machine, abi):
    """Of two filters with one action the last that was installed counts, which is the payload's."""
    for number, arguments, payload, init in answered(name, machine, abi):
        assert precedence(init) >= precedence(payload), (number, arguments)


def numbers(machine, abi):
    return {pyseccomp.resolve_syscall(getattr(pyseccomp.Arch, abi), entry.call) for entry in OWN}


@pytest.mark.parametrize("name", [*SHIPPED, "actions"])
@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
def test_beyond_the_inits_own_calls_it_opens_nothing(name, machine, abi):
    """What would end the process is refused it. Calls of 32-bit programs, of which it is none, are its payload's."""
    own = numbers(machine, abi) if (machine, abi) in NATIVE else set()
    for number, arguments, payload, init in answered(name, machine, abi):
        if number not in own:
            assert init == (EPERM if payload & 0xFFFF_0000 in ENDS else payload), (number, arguments)


@pytest.mark.parametrize("name", [*SHIPPED, "actions"])
@pytest.mark.parametrize(("machine", "abi"), NATIVE)
def test_the_inits_own_calls_go_through_by_their_arguments(name, machine, abi):
    _, init = both(name, machine)
    kind = getattr(pyseccomp.Arch, abi)
    for entry in OWN:
        number = pyseccomp.resolve_syscall(kind, entry.call)
        if number < 0:  # poll, dup2 and open, which arm64 does not have
            continue
        arguments = [0] * 6
        for one in entry.where:
            arguments[one.argument] = one.value
        assert run(init, kind, number, tuple(arguments)) == ALLOW, entry


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("clone", (0x1000_0000,)), ("ioctl", (0, 0x5412)), ("socketpair", (16,)), ("prctl", (4, 1))],
)
def test_with_others_only_where_the_payload_may(call, arguments):
    """A user namespace, TIOCSTI, a netlink socket, PR_SET_DUMPABLE."""
    _, init = both("actions", "x86_64")
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, call)
    assert run(init, pyseccomp.Arch.X86_64, number, arguments) == EPERM


@pytest.mark.parametrize("name", [*SHIPPED, "actions"])
def test_nothing_in_it_ends_a_process(name):
    payload, init = both(name, "x86_64")

    def ending(program):
        return [one for one in struct.iter_unpack("<HBBI", program) if one[0] == 6 and one[3] & 0xFFFF_0000 in ENDS]

    assert ending(payload)
    assert not ending(init)
