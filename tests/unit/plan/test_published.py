"""What a plan holds and sends for published ports. tests/host asks them, tests/attack tries to get around them."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.unit.plan.test_check import BRIDGE, GOOD
from volt.manifest.forms import ports
from volt.model.modes import NetworkMode
from volt.model.steps import ClaimPorts, PreparePorts, RelayLoopback, RouteLoopback
from volt.model.text import ADDRESS, Slot, SlotKind, show
from volt.model.workload import Network
from volt.plan import nft
from volt.plan.published import MOST, check_ports, claim_steps, held, publish_steps, shown

FOUR_ALONE = replace(BRIDGE, subnet6="")
RECORD = ("/notes",)


def publishing(*written):
    found = tuple(port for one in written for port in ports(one))
    return replace(GOOD, network=Network(mode=NetworkMode.BRIDGE, ports=found))


def sockets(*written, bridge=BRIDGE):
    return [show(words) for step in claim_steps(publishing(*written), bridge, "/claims") for words in step.sockets]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("8080:80", ["tcp * 8080 80"]),
        ("53:53/udp", ["udp * 53 53"]),
        ("80", ["tcp * 0 80"]),
        ("127.0.0.1::80", ["tcp 127.0.0.1 0 80"]),
        ("[2001:db8::1]:8080:80", ["tcp 2001:db8::1 8080 80"]),
        ("0.0.0.0:1-2:3-4", ["tcp 0.0.0.0 1 3", "tcp 0.0.0.0 2 4"]),
    ],
)
def test_each_port_is_held_by_one_socket(written, expected):
    assert sockets(written) == expected


def test_without_ipv6_a_port_is_published_for_ipv4():
    assert sockets("8080:80", bridge=FOUR_ALONE) == ["tcp 0.0.0.0 8080 80"]


def test_nothing_is_done_where_nothing_is_published():
    assert claim_steps(publishing(), BRIDGE, "/claims") == publish_steps(publishing(), BRIDGE, RECORD) == ()


@pytest.mark.parametrize(
    ("written", "routed"),
    [
        ("8080:80", True),
        ("127.0.0.1:1:1", True),
        ("127.9.9.9:1:1", True),
        ("192.0.2.1:1:1", False),
        ("[::]:1:1", False),
    ],
)
def test_only_what_127_0_0_1_leads_to_needs_its_routes(written, routed):
    steps = publish_steps(publishing(written), BRIDGE, RECORD)
    assert any(isinstance(step, RouteLoopback) for step in steps) == routed


def test_a_port_is_told_for_each_family_with_the_slot_where_it_is_free():
    told = [show(one) for one in shown(held(publishing("8080:80", "53/udp", "[2001:db8::1]:1:1"), BRIDGE))]
    assert told == [
        "0.0.0.0:8080->80/tcp",
        "[::]:8080->80/tcp",
        "0.0.0.0:{port+1}->53/udp",
        "[::]:{port+1}->53/udp",
        "[2001:db8::1]:1->1/tcp",
    ]


# ── messages


def prepared(*written, bridge=BRIDGE):
    (step,) = (one for one in publish_steps(publishing(*written), bridge, RECORD) if isinstance(one, PreparePorts))
    return step


def filled(message):
    """For a workload at 10.189.0.7, whose free ports are 40000 and up."""
    return b"".join(part if isinstance(part, bytes) else value_of(part) for part in message)


def value_of(slot):
    return bytes([10, 189, 0, 7]) if slot == ADDRESS else struct.pack(">HH", 40000 + slot.plus, 0)


def messages(data):
    """(type, body) of each netlink message; they lie one behind the other to the end."""
    found, at = [], 0
    while at < len(data):
        length, kind = struct.unpack_from("<IH", data, at)
        found.append((kind, data[at + 16 : at + length]))
        at += length
    assert at == len(data)
    return found


def kinds(message):
    return [kind for kind, _ in messages(filled(message))]


def test_all_is_published_in_one_batch_and_taken_back_in_one_or_each_element_in_its_own():
    step = prepared("8080:80", "53/udp")
    assert kinds(step.publish) == [nft.BEGIN, nft.NEWSETELEM, nft.NEWSETELEM, nft.END]
    both = [nft.NEWSETELEM, nft.DELSETELEM]
    assert kinds(step.remove) == [nft.BEGIN, *both, *both, nft.END, *[nft.BEGIN, *both, nft.END] * 4]


def test_an_element_leads_from_the_hosts_port_to_the_workloads():
    body = messages(filled(prepared("192.0.2.1:8080:80").publish))[1][1]
    assert b"ports4\0" in body
    assert bytes([6, 0, 0, 0, 192, 0, 2, 1]) + struct.pack(">HH", 8080, 0) in body, "from"
    assert bytes([10, 189, 0, 7]) + struct.pack(">HH", 80, 0) in body, "to"


def test_a_free_port_is_a_slot_and_a_given_one_is_none():
    slots = {part for part in prepared("8080:80", "53/udp").publish if isinstance(part, Slot)}
    assert slots == {ADDRESS, Slot(SlotKind.PORT, 1)}
    assert struct.pack(">HH", 40001, 0) in filled(prepared("8080:80", "53/udp").publish)


def test_no_packet_of_the_ipv6_loopback_can_be_led_anywhere():
    step = prepared("[::1]:8080:80")
    assert (kinds(step.publish), kinds(step.remove)) == ([nft.BEGIN, nft.END], [])


@pytest.mark.parametrize(
    ("written", "relayed"),
    [
        ("8080:80", True),
        ("[::1]:8080:80", True),
        ("[::]:53:53/udp", True),
        ("127.0.0.1:8080:80", False),
        ("[fd00::1]:1:1", False),
    ],
)
def test_what_is_held_at_the_ipv6_loopback_is_relayed_to_the_workload(written, relayed):
    steps = [one for one in publish_steps(publishing(written), BRIDGE, RECORD) if isinstance(one, RelayLoopback)]
    assert [filled(one.address6) for one in steps] == [ip_address("fd12:3456:789a::abd:7").packed] * relayed


@pytest.mark.parametrize("written", ["[f54d:4152:4bf5:f5f5:f5f5::1]:62800:62800", "245.77.65.82:62796:62800"])
def test_an_address_that_looks_like_a_mark_is_still_an_address(written):
    (claim,) = claim_steps(publishing(written), BRIDGE, "/claims")
    assert isinstance(claim, ClaimPorts)
    data = filled(prepared(written).publish)
    assert struct.pack(">HH", 62800, 0) in data
    assert len(messages(data)) == 3


def test_many_elements_are_several_messages_that_are_each_short_enough():
    """The length of an attribute has 16 bits."""
    step = prepared(f"10000-{10000 + MOST - 1}")
    assert kinds(step.publish) == [nft.BEGIN, *[nft.NEWSETELEM] * 4, nft.END]
    assert max(len(body) for _, body in messages(filled(step.publish))) < 1 << 16
    assert len(filled(step.publish)) < 200_000, "what a netlink socket takes at once"


def test_what_cannot_be_published_is_told():
    def codes(*written, bridge=BRIDGE):
        return [finding.code for finding in check_ports(publishing(*written), bridge)]

    assert codes("8080:80", f"10000-{10000 + MOST - 2}") == []
    assert codes("8080:80", f"10000-{10000 + MOST - 1}") == ["too-many-ports"]
    assert codes("[2001:db8::1]:8080:80", bridge=FOUR_ALONE) == ["no-ipv6"]
