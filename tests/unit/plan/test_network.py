"""What the plan of a workload on the bridge claims and sends. tests/host sends it to a kernel."""

import struct
from dataclasses import replace

import pytest

from tests.unit.plan.test_check import BRIDGE, FACTS, GOOD
from volt.model.facts import Call, Resolver
from volt.model.modes import NetworkMode
from volt.model.steps import ForgetConnections, PrepareLink
from volt.model.text import ADDRESS, HEX, LINK, NAMESPACE, WIDTHS, Slot, show
from volt.model.text import BRIDGE as INDEX
from volt.model.workload import Network
from volt.plan.assemble import _notes
from volt.plan.bridge_rules import host_rules, join, known, permit
from volt.plan.landlock import Applied
from volt.plan.names import arguments
from volt.plan.netlink import MARKS, slotted
from volt.plan.network import addresses, candidates, claims, gateways, network_part

FIRST = 10 << 24 | 189 << 16


def joining(name="web", address=None):
    return replace(GOOD, name=name, network=Network(mode=NetworkMode.BRIDGE, address=address))


def test_candidates_are_all_addresses_but_the_networks_own_and_begin_where_the_name_says():
    base, count, first = candidates(joining(), BRIDGE)
    assert (base, base + count - 1) == (FIRST + 2, FIRST + 65534)
    assert first < count
    assert candidates(joining(), BRIDGE) == (base, count, first)
    assert len({candidates(joining(f"w{n}"), BRIDGE)[2] for n in range(50)}) > 45


@pytest.mark.parametrize("address", ["10.189.0.7", "fd12:3456:789a::abd:7", "10.189.0.7/16"])
def test_a_given_address_is_the_only_candidate(address):
    assert candidates(joining(address=address), BRIDGE) == (FIRST + 7, 1, 0)


@pytest.mark.parametrize(
    ("subnet6", "written"),
    [
        ("fd12:3456:789a::/64", "fd12:3456:789a::{groups}"),
        ("fd12:0:0:1::/64", "fd12:0:0:1::{groups}"),
        ("fd12:1:2:3:4:5::/96", "fd12:1:2:3:4:5:{groups}"),
    ],
)
def test_the_ipv6_address_ends_in_the_ipv4_one(subnet6, written):
    own, own6 = addresses(replace(BRIDGE, subnet6=subnet6))
    assert (show(own), show(own6)) == ("{address}", written)


def test_a_mark_has_the_width_of_its_slot():
    assert {slot: len(mark) for slot, mark in MARKS.items()} == WIDTHS
    assert slotted(b"a" + MARKS[HEX] + MARKS[ADDRESS] + b"b") == (b"a", HEX, ADDRESS, b"b")
    assert slotted(b"") == ()


def filled(message):
    values = {
        ADDRESS: b"\x0a\xbd\0\x07",
        HEX: b"0abd0007",
        INDEX: b"\3\0\0\0",
        NAMESPACE: b"\x09\0\0\0",
        LINK: b"\4\0\0\0",
    }
    return b"".join(values[part] if isinstance(part, Slot) else part for part in message)


def messages(data):
    """(type, flags, number) of each netlink message; they lie one behind the other to the end."""
    found, at = [], 0
    while at < len(data):
        length, kind, flags, number, _ = struct.unpack_from("<IHHII", data, at)
        assert length % 4 == 0
        found.append((kind, flags, number))
        at += length
    assert at == len(data)
    return found


@pytest.mark.parametrize("bridge", [BRIDGE, replace(BRIDGE, subnet6="")])
def test_every_message_is_whole_numbered_and_confirmed(bridge):
    part = network_part(GOOD, replace(FACTS, bridge=bridge))
    forwarding, ensured, rules, connections, link = part.host
    assert forwarding.ipv6 == bool(bridge.subnet6)
    told = (connections.forget, connections.again, connections.waiting)
    sent = [ensured.make, rules.make, *map(filled, (ensured.mend, *told, *vars_of(link)))]
    for data in sent:
        numbers = [number for _, _, number in messages(data)]
        assert numbers == [*range(1, len(numbers) + 1)]
        assert all(flags & 0x4 for kind, flags, _ in messages(data) if kind not in (0x10, 0x11)), "NLM_F_ACK"
    # Every message is answered, and a socket holds the answers to some 250.
    assert max(len(messages(data)) for data in sent) < 100


def vars_of(link):
    return link.create, link.adopt, link.permit, link.doubt, link.configure, link.remove, (link.join,)


def test_rules_bear_a_mark_and_name_no_network():
    rules = host_rules()
    assert rules.make.count(rules.mark) == rules.count > 10
    assert b"volt0" not in rules.make
    assert len(filled(permit(gateways(BRIDGE)[1]))) > len(filled(permit(None)))


def test_a_network_joins_with_its_bridge_and_is_internal_or_is_so_no_longer():
    for internal, kinds in ((True, [12, 12, 12]), (False, [12, 14, 12, 12])):
        joined = join("volt0", internal=internal)
        inner = messages(joined)[1:-1]
        assert [kind & 0xFF for kind, _, _ in inner] == kinds, "NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM"
        assert [word in joined for word in (b"bridges", b"pairs", b"internal")] == [True] * 3
        assert [kind & 0xFF for kind, _, _ in messages(known("volt0", internal=internal))] == [13], "NFT_MSG_GETSETELEM"


def test_an_internal_network_has_no_way_out_and_needs_no_forwarding():
    whole, inside = (
        network_part(GOOD, replace(FACTS, bridge=replace(BRIDGE, internal=each))) for each in (False, True)
    )
    kinds = [[type(step).__name__ for step in part.host] for part in (whole, inside)]
    assert kinds[0] == ["AllowForwarding", *kinds[1]]
    for part, ways in ((whole, 2), (inside, 0)):
        (link,) = (step for step in part.host if isinstance(step, PrepareLink))
        routes = [kind for kind, _, _ in messages(filled(link.configure)) if kind == 24]  # RTM_NEWROUTE
        assert len(routes) == ways


def test_the_claim_is_of_this_network_namespace():
    (*_, claim) = claims(joining(), replace(FACTS, bridge=BRIDGE)).host
    assert show(claim.folder) == "/run/volt/networks/4026531840/addresses"


def test_a_plan_says_where_no_resolver_is_left():
    said = "network.dns: absent, and none of the host's resolvers can be reached from the bridge"
    for facts, dns, noted in ((FACTS, (), True), (replace(FACTS, upstream="nameserver 192.0.2.1\n"), (), False)):
        work = replace(joining(), network=Network(dns=dns))
        assert (said in notes_of(work, facts)) == noted
    assert said not in notes_of(replace(joining(), network=Network(dns=("192.0.2.1",))), FACTS)


def notes_of(work, facts):
    return _notes(work, facts, Call(), Applied((), (), ()))


@pytest.mark.parametrize(("bridge", "kinds"), [(BRIDGE, 4), (replace(BRIDGE, subnet6=""), 2)])
def test_each_kind_of_connection_has_its_note_and_its_list(bridge, kinds):
    """Behind the question whether there are notes; a list is of one sender, which is the claimed address."""
    (step,) = (
        one for one in network_part(GOOD, replace(FACTS, bridge=bridge)).host if isinstance(one, ForgetConnections)
    )
    asked = messages(filled(step.ask))
    assert [(kind & 0xFF, flags) for kind, flags, _ in asked] == [(10, 1)] + [(13, 1)] * kinds, (
        "NFT_MSG_GETSET, GETSETELEM"
    )
    listed = filled(step.lists)
    assert [(kind, flags) for kind, flags, _ in messages(listed)] == [(0x101, 0x301)] * kinds, "NLM_F_DUMP"
    assert listed.count(b"\x0a\xbd\0\x07") == kinds
    forgotten = [kind & 0xFF for kind, _, _ in messages(filled(step.forget))][1:-1]
    assert forgotten[-2 * kinds :] == [12] * kinds + [14] * kinds, "NFT_MSG_NEWSETELEM, DELSETELEM"


def test_a_question_for_the_resolver_of_an_internal_network_is_no_way_out():
    resolver = Resolver(program="/usr/sbin/dnsmasq", file="/etc/resolv.conf")
    plain, internal = (arguments("/x", replace(BRIDGE, internal=each), resolver) for each in (False, True))
    assert "--resolv-file=/etc/resolv.conf" in plain
    assert "--no-resolv" in internal
    assert not [word for word in internal if "resolv.conf" in word]
