"""nftables rules of a plan held against those that the kernel lists: whatever differs is told."""

from __future__ import annotations

import struct

import pytest

from tests.plans.test_plans import make
from volt.plan.audit_network import firewall_points, sent_messages

CHAIN, RULE = 10 << 8 | 3, 10 << 8 | 6  # NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE of NFNL_SUBSYS_NFTABLES
HANDLE = struct.pack("<HHQ", 12, 3, 7)  # an attribute that the kernel adds
POLICY = struct.pack("<HHI", 8, 5, 0)  # NFTA_CHAIN_POLICY, NF_DROP


@pytest.fixture(scope="module")
def plan():
    """One with rules for both hooks."""
    return make("landlock-old")


@pytest.fixture(scope="module")
def listed(plan):
    """As the kernel lists them: chains and rules alone."""
    return [one for one in sent_messages(plan) if one[0] in (CHAIN, RULE)]


def found(plan, listed):
    return {point.name: point.found for point in firewall_points(plan, listed) if not point.holds}


def test_what_was_sent_holds_with_what_the_kernel_adds(plan, listed):
    assert [point.name for point in firewall_points(plan, listed)] == ["nftables input", "nftables output"]
    assert found(plan, listed) == {}
    assert found(plan, [(kind, body + HANDLE) if kind == RULE else (kind, body) for kind, body in listed]) == {}


def test_a_chain_that_is_not_there_or_in_another_table(plan, listed):
    assert set(found(plan, []).values()) == {"no such chain"}
    assert len(found(plan, [])) == 2
    elsewhere = [(kind, body.replace(b"volt\0", b"else\0")) for kind, body in listed]
    assert found(plan, elsewhere) == found(plan, [])


def test_a_chain_that_lets_through_what_no_rule_names(plan, listed):
    accept = POLICY[:-1] + b"\1"
    assert any(POLICY in body for kind, body in listed if kind == CHAIN)
    other = [(kind, body.replace(POLICY, accept) if kind == CHAIN else body) for kind, body in listed]
    assert set(found(plan, other).values()) == {"another hook, or another policy"}


def test_rules_that_are_fewer_more_or_in_another_order(plan, listed):
    rules = [n for n, (kind, _) in enumerate(listed) if kind == RULE]
    last, first = rules[-1], rules[0]
    assert list(found(plan, listed[:last]).values()) == [f"{sum_of(plan) - 1} rules"]
    assert len(found(plan, [*listed, listed[last]])) == 1
    swapped = list(listed)
    swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
    assert list(found(plan, swapped).values()) == ["another rule 1"]


def sum_of(plan):
    """How many rules the last chain has."""
    last = list(firewall_points(plan, []))[-1]
    return int(last.planned.split()[0])


def test_every_byte_of_a_rule_counts(plan, listed):
    """But for those that only fill up to a multiple of four."""
    rule = next(n for n, (kind, _) in enumerate(listed) if kind == RULE)
    body = listed[rule][1]
    unnoticed = 0
    for at in range(len(body)):
        other = list(listed)
        other[rule] = (RULE, body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :])
        unnoticed += not found(plan, other)
    assert unnoticed < len(body) / 3, "lengths, types and values are compared; flags and padding are not"
