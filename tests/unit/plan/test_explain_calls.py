"""What a filter answers, call by call: read from its instructions, and never less than the kernel would find."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import bpf
from tests.unit.plan.test_explain import GOOD, planned, replace, said_of
from volt.host.profiles import shipped_profile
from volt.model.explanation import CallClaim
from volt.model.workload import Security
from volt.plan import seccomp
from volt.plan.explain_calls import AUDIT, NO_CALL, answers
from volt.plan.explain_calls import _answer as word
from volt.plan.seccomp import call_numbers

NATIVE = AUDIT["X86_64"]
PROFILES = ("default", "strict", "unconfined")


@cache
def program(name):
    profile = seccomp.parse_profile(shipped_profile("seccomp", name))
    return seccomp.compile_filter(profile, capabilities=(), architecture="x86_64")


def of(name, call):
    return answers(program(name), NATIVE, call_numbers("x86_64")[call])


@pytest.mark.parametrize(
    ("profile", "call", "found"),
    [
        ("default", "read", ("runs",)),
        ("default", "setns", ("EPERM",)),
        ("default", "clone3", ("ENOSYS",)),
        ("default", "unshare", ("runs", "EPERM")),
        ("default", "socket", ("runs", "EAFNOSUPPORT")),
        ("strict", "setns", ("kill",)),
        ("strict", "setxattr", ("ENOTSUP",)),
        ("unconfined", "setns", ("runs",)),
        ("unconfined", "bpf", ("EPERM",)),
    ],
)
def test_what_a_call_gets(profile, call, found):
    assert of(profile, call) == found


def test_a_call_without_a_name_and_one_of_32_bits():
    assert answers(program("default"), NATIVE, NO_CALL) == ("ENOSYS",)
    assert answers(program("strict"), AUDIT["X86"], 20) == ("kill",)
    assert answers(program("default"), AUDIT["X86"], 20) == ("runs",)


@settings(deadline=None)
@given(
    st.sampled_from(PROFILES),
    st.integers(0, 600),
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 64), max_size=6),
)
def test_no_arguments_get_another_answer(name, number, arguments):
    """The same instructions run for given arguments: what they return is among the answers."""
    returned = bpf.run(program(name), NATIVE, number, tuple(arguments))
    assert word(returned) in answers(program(name), NATIVE, number)


def test_an_instruction_that_libseccomp_does_not_write_is_an_error():
    with pytest.raises(ValueError, match="0x99"):
        answers(b"\x99\0\0\0\0\0\0\0", NATIVE, 0)


def texts(**security):
    plan = planned(replace(GOOD, security=Security(**security)))
    (found,) = [one for one in said_of(plan).sections if one.subject == "calls"]
    return {one.text: one for one in found.statements}


def test_refusals_stand_in_groups_with_the_reason_of_the_profile():
    found = texts()
    one = found["Key rings are the machine's, not the workload's: add_key, request_key and keyctl answer ENOSYS."]
    assert one.walls == ("seccomp",)
    assert one.claims == (CallClaim(("add_key", "request_key", "keyctl"), ("ENOSYS",)),)


def test_a_capability_opens_calls():
    refused = "Another root folder, without the capability: chroot answers EPERM."
    assert refused in texts(capabilities=())
    assert refused not in texts(capabilities=("SYS_CHROOT",))


@pytest.mark.parametrize("name", PROFILES)
def test_every_call_that_is_known_here_has_one_answer(name):
    claims = [claim for one in texts(seccomp_profile=name).values() for claim in one.claims]
    calls = [call for claim in claims for call in claim.calls]
    assert sorted(calls) == sorted(call_numbers("x86_64"))
