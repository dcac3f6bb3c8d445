"""An OCI document that is wrong, or that cannot be taken over: everything of it is told, with its place."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci import compared, rule, table
from volt.plan.seccomp_oci import parse_oci
from volt.plan.seccomp_profile import ProfileError

OPERATORS = ", ".join(f"SCMP_CMP_{name}" for name in "EQ NE LT LE GT GE MASKED_EQ".split())
ALL = "SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_TRACE, SCMP_ACT_ERRNO, SCMP_ACT_TRAP, SCMP_ACT_KILL, "
ALL += "SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_PROCESS"
BAD = {
    "[]": ["the profile is no object", f"defaultAction: 'None' is none of {ALL}"],
    "{": ["this is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
    '{"defaultAction": NaN}': ["this is no JSON: NaN is no number"],
    '{"defaultAction": "SCMP_ACT_KILL", "defaultAction": "SCMP_ACT_ALLOW"}': [
        "the key 'defaultAction' is written twice"
    ],
}
WRONG = {
    "an unknown key": (table(wall="high"), ["the profile: 'wall' is not a key here"]),
    "an unknown action": (table(defaultAction="ALLOW"), [f"defaultAction: 'ALLOW' is none of {ALL}"]),
    "an errno of nothing": (
        table(defaultAction="SCMP_ACT_ALLOW", defaultErrnoRet=1),
        ["defaultAction: SCMP_ACT_ALLOW answers no errno, and defaultErrnoRet gives one"],
    ),
    "an errno beyond all": (
        table(syscalls=[rule("read", action="SCMP_ACT_ERRNO", errnoRet=4094)]),
        ["syscalls[0].errnoRet: 4094 is no errno: the highest is 4093"],
    ),
    "an errno that is none": (table(defaultErrnoRet=-1), ["defaultErrnoRet: '-1' is no errno"]),
    "two errnos": (
        table(defaultErrnoRet=38, defaultErrno="EPERM"), ["defaultErrno: EPERM is 1, and defaultErrnoRet says 38"],
    ),
    "an errno by a strange name": (table(defaultErrno="EWHAT"), ["defaultErrno: 'EWHAT' is the name of no errno"]),
    "no names": (
        table(syscalls=[{"action": "SCMP_ACT_ALLOW"}]), ["syscalls[0]: names is missing, empty or no list of names"],
    ),
    "names twice": (table(syscalls=[rule("read", name="write")]), ["syscalls[0]: names and name are both there"]),
    "a rule that is none": (table(syscalls=[rule("read"), 3]), [
        "syscalls[1] is no object",
        "syscalls[1]: names is missing, empty or no list of names",
        f"syscalls[1].action: 'None' is none of {ALL}",
    ]),
    "an argument beyond": (
        table(syscalls=[rule("read", args=compared("EQ", 1, index=6))]),
        ["syscalls[0].args[0].index: '6' is not a number from 0 to 5"],
    ),
    "a value that is no number": (
        table(syscalls=[rule("read", args=compared("EQ", 1.5))]),
        ["syscalls[0].args[0]: value and valueTwo are whole numbers of up to 64 bits"],
    ),
    "a value that is too large": (
        table(syscalls=[rule("read", args=compared("EQ", 2**64))]),
        ["syscalls[0].args[0]: value and valueTwo are whole numbers of up to 64 bits"],
    ),
    "an operator that is none": (
        table(syscalls=[rule("read", args=compared("IN", 1))]),
        [f"syscalls[0].args[0].op: 'SCMP_CMP_IN' is none of {OPERATORS}"],
    ),
    "a mask that takes its value away": (
        table(syscalls=[rule("read", args=compared("MASKED_EQ", 1, valueTwo=3))]),
        ["syscalls[0].args[0]: valueTwo has bits that the mask in value takes away: it never holds"],
    ),
    "a capability that is none": (
        table(syscalls=[rule("read", includes={"caps": ["SYS_ADMIN"]})]),
        ["syscalls[0].includes.caps: 'SYS_ADMIN' is no capability"],
    ),
    "an architecture that is none": (
        table(syscalls=[rule("read", excludes={"arches": ["amd46"]})]),
        ["syscalls[0].excludes.arches: 'amd46' is no architecture"],
    ),
    "a kernel that is none": (
        table(syscalls=[rule("read", includes={"minKernel": "4.8.1"})]),
        ["syscalls[0].includes.minKernel: '4.8.1' is no version of a kernel, as 4.8"],
    ),
    "both lists of architectures": (
        table(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "SCMP_ARCH_X86_64"}]),
        ["architectures and archMap are both there"],
    ),
    "an unknown architecture": (
        table(architectures=["amd64", 3]),
        ["architectures: 'amd64' is no architecture, as SCMP_ARCH_X86_64",
         "architectures: '3' is no architecture, as SCMP_ARCH_X86_64"],
    ),
    "a table for a list": (table(syscalls={}), ["syscalls is no list"]),
}  # fmt: skip
FOREIGN = {
    "an agent": (
        table(syscalls=[rule("read", action="SCMP_ACT_NOTIFY")]),
        ["syscalls[0].action: SCMP_ACT_NOTIFY asks an agent, and there is none"],
    ),
    "the agent's socket": (table(listenerPath="/run/agent"), ["listenerPath: no agent is asked about calls"]),
    "a flag": (
        table(flags=["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        ["flags[1]: filters are installed without 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'"],
    ),
    "an argument compared twice": (
        table(syscalls=[rule("read", args=compared("GT", 1) + compared("LT", 9))]),
        ["syscalls[0].args[1]: argument 0 is compared twice, which runtimes read as either-or: write two rules"],
    ),
}


@pytest.mark.parametrize(("text", "problems"), BAD.items(), ids=BAD)
def test_what_is_no_document_is_told(text, problems):
    with pytest.raises(ProfileError) as caught:
        parse_oci(text.encode())
    assert [*caught.value.problems] == problems


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"defaultAction": ' + b"9" * 5000, b"\xff"])
def test_what_python_itself_gives_up_on_is_told(text):
    with pytest.raises(ProfileError, match="this is no JSON: "):
        parse_oci(text)


@pytest.mark.parametrize(("document", "problems"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(document, problems):
    with pytest.raises(ProfileError) as caught:
        parse_oci(json.dumps(document).encode())
    assert [*caught.value.problems] == problems
    assert caught.value.foreign == ()


@pytest.mark.parametrize(("document", "foreign"), FOREIGN.values(), ids=FOREIGN)
def test_what_cannot_be_taken_over_is_told_with_its_place(document, foreign):
    with pytest.raises(ProfileError) as caught:
        parse_oci(json.dumps(document).encode())
    assert [*caught.value.foreign] == foreign
    assert caught.value.problems == ()


def test_all_of_it_at_once():
    document = table(wall=1, flags=["X"], syscalls=[rule(), rule("read", action="SCMP_ACT_NOTIFY")])
    with pytest.raises(ProfileError) as caught:
        parse_oci(json.dumps(document).encode())
    assert (len(caught.value.problems), len(caught.value.foreign)) == (2, 2)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.just("SCMP_ACT_ALLOW"), lambda inner:
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        "defaultAction syscalls names action args index op includes caps archMap architecture flags errno".split()
    ), inner, max_size=6), max_leaves=20))  # fmt: skip
def test_no_document_does_worse_than_be_told(document):
    with suppress(ProfileError):
        assert parse_oci(json.dumps(document).encode()).default in range(2**32)
