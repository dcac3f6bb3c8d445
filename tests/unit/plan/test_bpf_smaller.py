"""A filter made smaller answers every call as it did."""

from __future__ import annotations

import os
import struct

import pyseccomp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bpf import run
from tests.unit.plan.test_init_calls import NATIVE, SHIPPED, both, profile
from volt.plan.bpf_smaller import smaller
from volt.plan.capabilities import DEFAULT
from volt.plan.seccomp import compile_filter, instructions

ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
ARCHITECTURES = ("X86_64", "X86", "AARCH64", "ARM")
CALLS = ("read", "write", "open", "close", "ioctl", "mmap", "clone", "socket", "kill", "prctl", "openat2", "futex")
OPERATORS = ("EQ", "NE", "LT", "LE", "GT", "GE")
VALUES = (0, 1, 2, 0x5412, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
NUMBERS = (0, 1, 5, 0x3FFF_FFFF, 0x4000_0000, 0xFFFF_FFFF)

arguments = st.builds(
    lambda number, operator, value: (number, operator, value),
    st.integers(0, 5),
    st.sampled_from(OPERATORS),
    st.sampled_from(VALUES),
)
masked = st.builds(
    lambda number, mask, value: (number, "MASKED_EQ", mask, value & mask),
    st.integers(0, 5),
    st.sampled_from(VALUES[1:]),
    st.sampled_from(VALUES),
)
rules = st.tuples(
    st.sampled_from(CALLS),
    st.sampled_from((ALLOW, 0x0005_0001, 0x0005_0002, 0x0005_0026)),
    st.lists(arguments | masked, max_size=2, unique_by=lambda one: one[0]),
)


def made(default, listed, *, tree, architectures):
    """libseccomp's program for these rules."""
    program = pyseccomp.SyscallFilter(default)
    for name in architectures:
        if name != "X86_64":
            program.add_arch(getattr(pyseccomp.Arch, name))
    program.set_attr(pyseccomp.Attr.ACT_BADARCH, KILL)
    if tree:
        program.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    seen = set()
    for call, answer, where in listed:
        # Two rules of one call beside one another are libseccomp's to get right, not this module's.
        if answer == default or call in seen:
            continue
        seen.add(call)
        program.add_rule(answer, call, *(pyseccomp.Arg(one[0], getattr(pyseccomp, one[1]), *one[2:]) for one in where))
    with os.fdopen(os.memfd_create("filter"), "r+b") as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def tried(listed):
    """Calls at which the rules may change, each with arguments on either side of every value."""
    values = {
        value & (2**64 - 1) for _, _, where in listed for one in where for v in one[2:] for value in (v - 1, v, v + 1)
    }
    for name in ARCHITECTURES:
        kind = getattr(pyseccomp.Arch, name)
        own = {pyseccomp.resolve_syscall(kind, call) & 0xFFFF_FFFF for call, _, _ in listed}
        for number in sorted({*NUMBERS, *(own), *(one + 1 & 0xFFFF_FFFF for one in own)}):
            for value in sorted({0, 7, 2**32 + 7, *values}):
                yield kind, number, (value,) * 6


@given(st.sampled_from((ALLOW, KILL, 0x0005_0026)), st.lists(rules, max_size=6), st.booleans(), st.booleans())
def test_every_call_gets_the_same_answer(default, listed, tree, compat):
    if pyseccomp.system_arch() != pyseccomp.Arch.X86_64:
        pytest.skip("these are programs for x86-64")
    program = made(default, listed, tree=tree, architectures=ARCHITECTURES[: 1 + compat])
    small = smaller(program)
    assert len(small) <= len(program)
    for kind, number, values in tried(listed):
        assert run(small, kind, number, values) == run(program, kind, number, values), (kind, number, values)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("machine", "abi"), NATIVE)
def test_the_shipped_profiles_fit_into_a_few_hundred_instructions(name, machine, abi):
    """What they answer has its tests in test_seccomp.py and test_init_calls.py."""
    assert instructions(compile_filter(profile(name), capabilities=DEFAULT, architecture=machine)) < 400
    assert max(map(instructions, both(name, machine))) < 400


def packed(*code):
    return b"".join(struct.pack("<HBBI", *one) for one in code)


def test_far_answers_are_reached():
    """Comparisons jump over 255 instructions at most: 400 calls with an answer of each its own."""
    nothing = [(0x05, 0, 0, 0)] * 800
    pairs = [one for n in range(400) for one in ((0x15, 0, 1, n), (0x06, 0, 0, 0x0005_0000 | n))]
    program = packed((0x20, 0, 0, 0), *nothing, *pairs, (0x06, 0, 0, ALLOW))
    small = smaller(program)
    assert len(small) < len(program)
    for number in (*range(402), 0xFFFF_FFFF):
        assert run(small, 1, number) == run(program, 1, number)


UNKNOWN = {
    "an instruction of another kind": ((0x20, 0, 0, 0), (0x45, 0, 1, 4), (0x06, 0, 0, KILL), (0x06, 0, 0, ALLOW)),
    "arithmetic": ((0x20, 0, 0, 0), (0x04, 0, 0, 1), (0x15, 0, 1, 2), (0x06, 0, 0, KILL), (0x06, 0, 0, ALLOW)),
    "arguments whatever the call": ((0x20, 0, 0, 16), (0x15, 0, 1, 2), (0x06, 0, 0, KILL), (0x06, 0, 0, ALLOW)),
    "architectures by their order": ((0x20, 0, 0, 4), (0x35, 0, 1, 9), (0x06, 0, 0, KILL), (0x06, 0, 0, ALLOW)),
    "a jump out of it": ((0x20, 0, 0, 0), (0x05, 0, 0, 99)),
    "nothing at all": (),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_libseccomp_does_not_make_stays_as_it_is(what):
    program = packed(*UNKNOWN[what])
    assert smaller(program) == program


def test_a_program_of_very_many_comparisons_stays_as_it_is():
    """As deep as nobody writes a rule: nothing here takes long, or fails."""
    pairs = [one for n in range(300) for one in ((0x15, 0, 1, n), (0x06, 0, 0, 0x0005_0000 | n))]
    program = packed(
        (0x20, 0, 0, 0), (0x15, 1, 0, 1), (0x06, 0, 0, ALLOW), (0x20, 0, 0, 16), *pairs, (0x06, 0, 0, ALLOW)
    )
    assert smaller(program) == program
