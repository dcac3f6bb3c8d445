"""What is tried behind a wall: what the plan refuses, and nothing that it permits."""

from __future__ import annotations

import errno

import pyseccomp
import pytest

from tests.plans.test_plans import CASES, make
from volt.errors import StateError
from volt.model.attempts import Tried, Tries
from volt.model.audit import Beside
from volt.model.values import replace
from volt.plan.audit_inside import ABIS, NUMBERS, TRIED, attempts, inside_points

OUTSIDE = Beside()


def names(plan):
    return {attempt.name for attempt in attempts(plan, "x86_64", OUTSIDE)}


@pytest.mark.parametrize("name", CASES)
def test_every_plan_has_calls_that_it_refuses(name):
    assert len([one for one in names(make(name)) if one.startswith("seccomp ")]) >= 8


def test_without_a_filter_and_a_ruleset_only_masks_are_tried():
    bare = replace(make("hello"), payload=(), init=tuple(s for s in make("hello").init if s.name == "mask"))
    assert {name.partition(" ")[0] for name in names(bare)} == {"read"}


def test_a_strict_filter_kills_where_the_default_one_answers():
    killed = {one.name for one in attempts(make("seccomp-strict"), "x86_64", OUTSIDE) if one.killed}
    assert "seccomp ptrace" in killed
    assert not any(one.killed for one in attempts(make("hello"), "x86_64", OUTSIDE))


def test_another_answer_than_the_planned_one_does_not_hold():
    plan = make("hello")
    wanted = tuple(one for one in attempts(plan, "x86_64", OUTSIDE) if one.name == "seccomp keyctl")
    for status, result, holds in ((0, -errno.ENOSYS, True), (0, -errno.EPERM, False), (0, 0, False), (31, 0, False)):
        found = list(inside_points(plan, wanted, Tries(1, (Tried(status, result),))))
        assert [point.holds for point in found] == [False, holds], "the init was dumpable"


def test_an_architecture_without_a_table_is_refused():
    with pytest.raises(StateError, match="riscv64"):
        attempts(make("hello"), "riscv64", OUTSIDE)


def test_each_architecture_has_every_call():
    for architecture in ABIS:
        assert {*TRIED} < {pair.partition("=")[0] for pair in NUMBERS[architecture].split()}


@pytest.mark.parametrize("architecture", ABIS)
def test_the_numbers_are_the_kernels(architecture):
    arch = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}[architecture]
    for pair in NUMBERS[architecture].split():
        name, _, number = pair.partition("=")
        if name != "unknown":
            assert pyseccomp.resolve_syscall(arch, name) == int(number), name
