"""The page of system calls says what volt's profiles do, beside what Docker's did when it was written."""

from __future__ import annotations

import json

import pytest

from docs.seccomp import PAGE, PROFILES, docker_side, docker_states, named, page, reason, state
from tests.oci import compared, rule, table
from volt.plan.seccomp_oci import parse_oci
from volt.plan.seccomp_profile import parse_profile

DEFAULT = (PROFILES / "default.toml").read_bytes()


def test_the_page_is_that_of_these_profiles():
    text = PAGE.read_text()
    assert text == page(*docker_side(text)), "write it again: docs/seccomp.py, with Docker's file"


def test_every_call_that_either_names_has_a_row():
    calls, source = docker_side(PAGE.read_text())
    assert named(parse_profile(DEFAULT)) <= calls.keys()
    assert len(calls) > 400
    assert "moby" in source


@pytest.mark.parametrize(
    ("edit", "call"), [((b" getcwd ", b" "), "getcwd"), ((b"the kernel at a page fault", b"it"), "userfaultfd")]
)
def test_another_profile_is_noticed(edit, call):
    before, after = parse_profile(DEFAULT), parse_profile(DEFAULT.replace(*edit))
    assert (state(before, call), reason(before, call)) != (state(after, call), reason(after, call))


def test_states():
    rules = [
        rule("read", "clone3"),
        rule("clone3", action="SCMP_ACT_ERRNO"),
        rule("clone", args=compared("MASKED_EQ", 0x7E020000)),
        rule("clone", "bpf", includes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("bpf", includes={"caps": ["CAP_BPF"]}),
        rule("mount", action="SCMP_ACT_ERRNO"),
        rule("cacheflush", includes={"arches": ["arm64"]}),
        rule("s390_runtime_instr", includes={"arches": ["s390x"]}),
    ]
    assert docker_states(parse_oci(json.dumps(table(syscalls=rules)).encode())) == {
        "read": "allowed",
        "clone3": "allowed",
        "clone": "conditional: arguments, SYS_ADMIN",
        "bpf": "conditional: BPF, SYS_ADMIN",
        "mount": "refused",
        "cacheflush": "allowed",
    }


def test_states_of_volts_own():
    profile = parse_profile(DEFAULT)
    calls = ("read", "ioctl", "clone", "mount", "io_uring_setup", "socketcall", "nowhere")
    assert [state(profile, call) for call in calls] == [
        "allowed",
        "conditional: arguments",
        "conditional: arguments, SYS_ADMIN",
        "conditional: SYS_ADMIN",
        "refused: ENOSYS",
        "conditional: arguments",
        "–",
    ]
