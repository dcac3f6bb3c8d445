"""Which capabilities a payload gets, for what its manifest lists and whom it runs as."""

from __future__ import annotations

import pytest

from tests.unit.plan.test_check import GOOD
from volt.model.steps import CAPABILITIES, mask_of
from volt.model.values import replace
from volt.model.workload import Security
from volt.plan.capabilities import DEFAULT, CapabilitySets, capability_sets, payload_sets

ELEVEN = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP".split()


def test_the_default_is_the_eleven_that_podman_gives():
    assert tuple(ELEVEN) == DEFAULT
    assert mask_of(DEFAULT) == 0x800405FB


def test_root_has_the_default_when_nothing_is_listed():
    assert capability_sets(None, 0) == CapabilitySets(DEFAULT, DEFAULT, DEFAULT, ())


def test_another_user_has_none_but_its_bounding_set_when_nothing_is_listed():
    assert capability_sets(None, 1000) == CapabilitySets(DEFAULT, (), (), ())


def test_root_has_exactly_what_is_listed():
    listed = ("NET_ADMIN", "CHOWN")
    assert capability_sets(listed, 0) == CapabilitySets(
        ("CHOWN", "NET_ADMIN"), ("CHOWN", "NET_ADMIN"), ("CHOWN", "NET_ADMIN"), ()
    )


def test_another_user_keeps_what_is_listed_over_exec():
    only = ("NET_RAW",)
    assert capability_sets(only, 1000) == CapabilitySets(only, only, only, only)


@pytest.mark.parametrize("uid", [0, 1000])
def test_an_empty_list_is_no_capability_at_all(uid):
    assert capability_sets((), uid) == CapabilitySets((), (), (), ())


def test_any_order_comes_out_in_the_kernel_s():
    assert capability_sets(tuple(reversed(CAPABILITIES)), 0).bounding == tuple(CAPABILITIES)


def test_what_is_no_capability_is_named():
    with pytest.raises(ValueError, match="not a capability: FLY"):
        capability_sets(("CHOWN", "FLY"), 0)


@pytest.mark.parametrize("profile", ["landlock_profile", "seccomp_profile"])
def test_where_a_profile_is_strict_there_are_none_but_those_that_are_listed(profile):
    def bounding(**security):
        return payload_sets(replace(GOOD, security=Security(**security)), 0).bounding

    assert bounding(**{profile: "strict"}) == ()
    assert bounding(**{profile: "strict"}, capabilities=("CHOWN",)) == ("CHOWN",)
    assert bounding(**{profile: "default"}) == DEFAULT
