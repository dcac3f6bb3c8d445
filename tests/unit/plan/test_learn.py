"""Rules that may be needed, how few are enough, and the policies that they make."""

from __future__ import annotations

import itertools
import tomllib

import pytest

from volt.model.facts import ProfileText
from volt.plan.landlock_policy import read_policy
from volt.plan.learn import Access, Answer, accesses, answers, interpreters, policy_text, profile_text
from volt.plan.seccomp_profile import Condition, parse_profile
from volt.plan.shrink import SpentError, halve, settle
from volt.plan.traced import Traced

BASE = parse_profile(b"""
format = 1
name = "base"
description = "for tests"
unlisted = "ENOSYS"
[[permit]]
reason = "r"
calls = "read write ioctl execve"
[[permit]]
reason = "r"
calls = "clone"
where = [{ argument = 0, mask = 0x10, equals = 0 }]
[[permit]]
reason = "r"
with = ["SYS_ADMIN"]
calls = "mount"
[[refuse]]
reason = "r"
answer = "EPERM"
calls = "ioctl"
where = [{ argument = 1, equals = [0x5412] }]
[[refuse]]
reason = "r"
answer = "EPERM"
calls = "clone mount"
""")


def seen(calls=(), paths=(), unlikely=(), ports=()) -> Traced:
    return Traced(frozenset(calls), frozenset(paths), frozenset(unlikely), frozenset(ports), ())


def test_what_is_unlikely_or_gives_much_is_tried_first():
    found = accesses(
        seen(paths=[("/a/b", "read_file"), ("/", "read_dir")], unlikely=[("/z/y/x", "read_dir")]), (), 7, ()
    )
    own = [rule for rule in found if rule.right != "execute" and "ld-" not in str(rule.place)]
    assert own == [Access("/z/y/x", "read_dir"), Access("/", "read_dir"), Access("/a/b", "read_file")]


def test_a_right_that_the_kernel_cannot_withhold_is_not_proposed():
    found = accesses(seen(paths=[("/a", "truncate")], ports=[(80, "bind_tcp")]), (), 2, ())
    assert {rule.right for rule in found} == {"execute", "read_file"}  # of the loaders


def test_a_folder_can_be_taken_whole():
    paths = [("/usr/lib/a/b", "read_file"), ("/usr/lib/c", "read_file"), ("/usr/libexec/d", "read_file")]
    found = {rule.place for rule in accesses(seen(paths=paths), (), 7, ["/usr/lib"]) if "ld-" not in str(rule.place)}
    assert found == {"/usr/lib", "/usr/libexec/d"}


def test_a_call_is_answered_as_it_was_and_its_conditions_stay():
    found = answers(seen(calls=["read", "clone", "mount", "io_uring_setup", "ioctl"]), BASE, ())
    where = (Condition(0, 0x10, (0,)),)
    assert set(found) == {
        Answer("read"), Answer("ioctl"), Answer("clone", "", where), Answer("clone", "EPERM"),
        Answer("mount", "EPERM"), Answer("io_uring_setup", "ENOSYS"),
    }  # fmt: skip
    assert Answer("mount") in answers(seen(calls=["mount"]), BASE, ("SYS_ADMIN",))
    made = parse_profile(profile_text(found, BASE, ()).encode())
    assert made.unlisted == "kill"
    assert not made.compat
    (floor,) = [rule for rule in made.refusals if rule.where]
    assert (floor.calls, floor.answer) == (("ioctl",), "EPERM")
    assert {call for rule in made.permits for call in rule.calls} == {"read", "ioctl", "clone"}


@pytest.mark.parametrize("path", ['/a "quoted"', "/back\\slash", "/${volumes}", "/ümlaut", "/'''", "/#", "/]"])
def test_a_name_from_the_payload_is_a_name_in_the_policy_and_nothing_else(path):
    text = policy_text([Access(path, "read_file"), Access(80, "bind_tcp")], 7, scoped=("signal",))
    policy, findings = read_policy(ProfileText("learned", text))
    assert findings == ()
    assert [rule.parents for rule in policy.beneath] == [(path,)]
    assert [rule.ports for rule in policy.ports] == [(80,)]


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 6, 7])
def test_the_policy_withholds_all_that_the_kernel_can(abi):
    policy, findings = read_policy(
        ProfileText("learned", policy_text([], abi, scoped=("signal", "abstract_unix_socket")))
    )
    assert findings == ()
    handled = {right for one in policy.handled for right in one.rights}
    assert ("truncate" in handled, "bind_tcp" in handled, "signal" in handled) == (abi >= 3, abi >= 4, abi >= 6)
    assert all(one.marks.required == ("write_file" in one.rights) for one in policy.handled)


@pytest.mark.parametrize("size", range(1, 12))
def test_what_is_left_is_needed_whatever_was(size):
    items = tuple(range(size))
    for needed in itertools.chain([()], itertools.combinations(items, min(size, 3))):

        def passes(kept, needed=needed):
            return {*needed} <= {*kept}

        assert settle(halve(items, passes), passes) == needed


def test_of_two_that_stand_for_each_other_one_is_left():
    def passes(kept):
        return 1 in kept or {2, 3} <= {*kept}

    found = settle(halve((1, 2, 3, 4), passes), passes)
    assert passes(found)
    assert not any(passes(tuple(one for one in found if one != gone)) for gone in found)


def test_a_limit_on_tries_ends_it():
    def passes(kept):
        raise SpentError

    with pytest.raises(SpentError):
        settle((1,), passes)


def test_interpreters_of_scripts_and_loaders_of_programs(tmp_path):
    assert interpreters([b"#!/usr/bin/env python3\nx", b"#! /bin/sh -e", b"", b"\x7fELF", b"#!relative"]) == (
        "/usr/bin/env",
        "/bin/sh",
    )
    with open("/proc/self/exe", "rb") as program:
        assert all(path.startswith("/lib") for path in interpreters([program.read(4096)]))
    assert interpreters([b"\x7fELF\x02\x01" + bytes([255]) * 200]) == ()


def test_the_texts_are_toml():
    assert tomllib.loads(policy_text([], 7, scoped=()))["abi"] == 7
    assert tomllib.loads(profile_text([Answer("read")], BASE, ()))["permit"][0]["calls"] == "read"
