"""The host's nftables rules for bridges of workloads: what may come out of a workload's link, and what is forwarded.

As nft(8) writes them, for a workload that has claimed 10.189.0.7:

    table bridge volt {
        set addresses { type ifname . ether_addr . ipv4_addr; }     # volt-0abd0007 . 02:56:0a:bd:00:07 . 10.189.0.7
        set addresses6 { type ifname . ether_addr . ipv6_addr; }    # its link-local address, and its unique local one
        chain prerouting { type filter hook prerouting priority -300; … }
    }
    table inet volt {
        set bridges { type ifname; }            # volt0: of each network
        set pairs { type ifname . ifname; }     # volt0 . volt0: each with itself
        set internal { type ifname; }           # those without a way out
        …                                       # published ports: volt/plan/port_rules.py
        chain prerouting { type filter hook prerouting priority raw; … }
        chain forward { type filter hook forward priority filter; … }
        chain postrouting { type nat hook postrouting priority srcnat; … }
        …                                       # what notes connections: volt/plan/connections.py
    }

A link that is in no set lets nothing out. What a set holds follows from an address alone, so that whatever a dead
workload left there is right for the next one. The chains' own rules name no network, and bear a mark by which they are
counted. That a bridge is in its set says too that the links on it are in theirs: it is added behind them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Interface

from volt.model.text import ADDRESS, Message
from volt.model.values import Value
from volt.plan import connections, nft, port_rules
from volt.plan.links import LINK_LOCAL, MAC, PREFIX, port
from volt.plan.netlink import MARKS, attribute, slotted

TABLE = "volt"
ON_BRIDGE, ABOVE = nft.Table(nft.BRIDGE, TABLE), nft.Table(nft.INET, TABLE)
# nft's own numbers of types: ifname, ether_addr, ipv4_addr, ipv6_addr. It prints sets by them.
_FOUR = nft.Keys("addresses", 1, (41, 9, 7), (16, 6, 4))
_SIX = nft.Keys("addresses6", 2, (41, 9, 8), (16, 6, 16))
_BRIDGES = nft.Keys("bridges", 3, (41,), (16,))
_PAIRS = nft.Keys("pairs", 4, (41, 41), (16, 16))
_INTERNAL = nft.Keys("internal", 5, (41,), (16,))
_PREROUTING, _FORWARD, _POSTROUTING = 0, 2, 4  # NF_INET_, NF_BR_
_FIRST = -300  # before connection tracking and everybody else's rules
_IPV4, _ARP, _IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"  # linux/if_ether.h
_UDP, _ICMP6 = 17, 58
_ADVERTISES, _NEIGHBOUR, _REDIRECTS = 134, 136, 137  # RFC 4861
_ANSWERS = (67, 547)  # DHCP servers' ports, RFC 2131 and RFC 8415
_KNOWN = 0x2 | 0x4  # established, related: NF_CT_STATE_BIT()


class Rules(Value):
    """`make` makes them, `ask` lists them, `mark` stands in each of the `count` that there should be."""

    ask: bytes
    mark: bytes
    count: int
    make: bytes


def host_rules() -> Rules:
    """Both tables. Made anew they keep their sets."""
    rules = [*_bridge_rules(), *_inet_rules(), *port_rules.rules(ABOVE)]
    mark = b"volt " + hashlib.sha256(repr(rules).encode()).hexdigest()[:12].encode()
    comment = attribute(7, struct.pack("BB", 0, len(mark) + 1) + mark + b"\0")  # NFTA_RULE_USERDATA, as nft's comments
    marked = [(kind, flags, family, body + comment) for kind, flags, family, body in rules]
    return Rules(nft.listing(ON_BRIDGE, ABOVE), mark, len(rules), nft.batch([*places(), *marked]))


def known(bridge: str, *, internal: bool) -> bytes:
    """Asks for a bridge in its set: what join adds with it is there too. One that has become internal was without."""
    return nft.wanted(ABOVE.member(_INTERNAL if internal else _BRIDGES, _label(bridge)))


def join(bridge: str, *, internal: bool) -> bytes:
    """A network's own elements."""
    label = _label(bridge)
    kept = [ABOVE.element(_INTERNAL, label)]
    if not internal:  # any more
        kept.append(ABOVE.without(_INTERNAL, label))
    return nft.batch([*kept, ABOVE.element(_PAIRS, label + label), ABOVE.element(_BRIDGES, label)])


def leave(bridge: str) -> tuple[bytes, ...]:
    """What join added goes, each by itself: it may be gone. First what says that the network is known."""
    label = _label(bridge)
    ends = (_BRIDGES, label), (_PAIRS, label + label), (_INTERNAL, label)
    return tuple(nft.batch([ABOVE.without(keys, key)]) for keys, key in ends)


def joined() -> bytes:
    """Asks for the bridges of all networks."""
    return ABOVE.elements(_BRIDGES)


def inside() -> bytes:
    """Asks for the bridges of networks that nothing leads out of."""
    return ABOVE.elements(_INTERNAL)


def listings() -> tuple[bytes, bytes]:
    """Asks for the rules of each table."""
    return nft.listing(ON_BRIDGE), nft.listing(ABOVE)


def permitted() -> tuple[bytes, bytes]:
    """Asks for what may come out of links, IPv4 and IPv6."""
    return ON_BRIDGE.elements(_FOUR), ON_BRIDGE.elements(_SIX)


def forbid(four: Iterable[bytes], six: Iterable[bytes]) -> tuple[bytes, ...]:
    """Such keys go, each by itself."""
    ends = [(_FOUR, key) for key in four] + [(_SIX, key) for key in six]
    return tuple(nft.batch([ON_BRIDGE.without(keys, key)]) for keys, key in ends)


def no_rules() -> tuple[bytes, ...]:
    """Both tables go, each by itself."""
    return tuple(nft.batch([table.unmade()]) for table in (ABOVE, ON_BRIDGE))


def permit(gateway6: IPv6Interface | None) -> Message:
    """What may come out of one workload's link: its MAC with its addresses."""
    return slotted(nft.batch([ON_BRIDGE.element(keys, key) for keys, key in _permitted(gateway6)]))


def silence(gateway6: IPv6Interface | None) -> list[nft.Body]:
    """Nothing may come out of it. What is not there could not be taken away: so all is added first."""
    steps = (ON_BRIDGE.element, ON_BRIDGE.without)
    return [step(keys, key) for step in steps for keys, key in _permitted(gateway6)]


def _permitted(gateway6: IPv6Interface | None) -> Iterator[tuple[nft.Keys, bytes]]:
    ends = port() + bytes(3) + MAC + MARKS[ADDRESS] + bytes(2)
    ends6 = [LINK_LOCAL, gateway6.packed[:12]] if gateway6 else []
    yield _FOUR, ends + MARKS[ADDRESS]
    yield from ((_SIX, ends + head + MARKS[ADDRESS]) for head in ends6)


def places() -> Iterator[nft.Body]:
    """Tables, sets and chains, which may be there; then no rules."""
    yield from (ON_BRIDGE.made(), ABOVE.made(), ON_BRIDGE.keys(_FOUR), ON_BRIDGE.keys(_SIX))
    yield from (ABOVE.keys(keys) for keys in (_BRIDGES, _PAIRS, _INTERNAL))
    for table in (ON_BRIDGE, ABOVE):
        yield table.chain("prerouting", nft.Hook(_PREROUTING, _FIRST))
    yield ABOVE.chain("forward", nft.Hook(_FORWARD, 0))
    yield ABOVE.chain("postrouting", nft.Hook(_POSTROUTING, 100, "nat"))
    yield from connections.places(ABOVE)
    yield from port_rules.places(ABOVE)
    yield from (ON_BRIDGE.no_rules(), ABOVE.no_rules())


# ── on the bridge


def _bridge_rules() -> Iterator[nft.Body]:
    """Behind the first rule there are frames of workloads alone, and what is not let through is dropped."""
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    foreign = nft.meta(nft.IIFNAME), nft.compared(nft.UNEQUAL, PREFIX.encode())
    sender = *_source(12, 4), nft.found_in(_FOUR)
    loopback = nft.load(nft.HEADER, 16, 1), nft.compared(nft.EQUAL, b"\x7f")
    icmp = (*_ether(_IPV6), nft.meta(nft.L4PROTO), nft.compared(nft.EQUAL, bytes([_ICMP6])))
    for expressions in (
        (*foreign, accept),
        # ARP: who sends it, says that he does, and says what address is his.
        (*_ether(_ARP), *_source(14, 4, mac=(nft.HEADER, 8)), nft.found_in(_FOUR, inverted=True), drop),
        (*_ether(_ARP), *_source(14, 4), nft.found_in(_FOUR), accept),
        *((*_ether(kind), *_from_port(number), drop) for kind, number in zip((_IPV4, _IPV6), _ANSWERS, strict=True)),
        # The host's own services, whatever route_localnet says, and before the other table knows the bridge.
        (*_ether(_IPV4), *loopback, drop),
        (*_ether(_IPV4), *sender, accept),
        *((*icmp, *_type(kind), drop) for kind in (_ADVERTISES, _REDIRECTS)),
        # A neighbour's address is told by who has it.
        (*icmp, *_type(_NEIGHBOUR), *_source(8, 16, nft.TRANSPORT), nft.found_in(_SIX, inverted=True), drop),
        (*_ether(_IPV6), *_source(8, 16), nft.found_in(_SIX), accept),
        (drop,),
    ):
        yield ON_BRIDGE.rule("prerouting", *expressions)


def _ether(kind: bytes) -> tuple[bytes, bytes]:
    return nft.load(nft.LINK, 12, 2), nft.compared(nft.EQUAL, kind)


def _source(
    offset: int, length: int, layer: int = nft.HEADER, mac: tuple[int, int] = (nft.LINK, 6)
) -> tuple[bytes, ...]:
    """The key of a set in the registers: the link, the sender's MAC, and an address that lies there."""
    loads = nft.meta(nft.IIFNAME, nft.WORDS), nft.load(*mac, 6, nft.WORDS + 4)
    return (*loads, nft.load(layer, offset, length, nft.WORDS + 6))


def _type(kind: int) -> tuple[bytes, bytes]:
    return nft.load(nft.TRANSPORT, 0, 1), nft.compared(nft.EQUAL, bytes([kind]))


def _from_port(number: int) -> tuple[bytes, ...]:
    udp = nft.meta(nft.L4PROTO), nft.compared(nft.EQUAL, bytes([_UDP]))
    return (*udp, nft.load(nft.TRANSPORT, 0, 2), nft.compared(nft.EQUAL, struct.pack(">H", number)))


# ── above it


def _inet_rules() -> Iterator[nft.Body]:
    """Between the links of one network nothing is forwarded but by a bridge that hands its frames to these chains:
    bridge-nf-call-iptables, Documentation/networking/ip-sysctl.rst."""
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    yield ABOVE.rule("forward", *_same(), accept)
    yield ABOVE.rule("forward", *_in(_INTERNAL), drop)
    yield ABOVE.rule("forward", *_out(_INTERNAL), drop)
    for key, bits in ((nft.CT_STATE, _KNOWN), (nft.CT_STATUS, nft.LED)):
        yield ABOVE.rule("forward", *_out(_BRIDGES), nft.connection(key), *nft.any_of(bits), accept)
    yield ABOVE.rule("forward", *_out(_BRIDGES), drop)
    yield ABOVE.rule("postrouting", *_in(_BRIDGES), *_same(inverted=True), nft.masquerade())
    yield from connections.rules(ABOVE, _in(_BRIDGES), _out(_BRIDGES))
    # Who answers a workload, or the host itself, must not do so past what has translated the question.
    asked = *_out(_BRIDGES), nft.connection(nft.CT_STATUS), *nft.any_of(nft.LED)
    yield ABOVE.rule("postrouting", *_in(_BRIDGES), *asked, nft.masquerade())
    yield ABOVE.rule("postrouting", nft.meta(nft.IIFNAME), nft.compared(nft.EQUAL, bytes(16)), *asked, nft.masquerade())


def _in(keys: nft.Keys) -> tuple[bytes, bytes]:
    return nft.meta(nft.IIFNAME, nft.WORDS), nft.found_in(keys)


def _out(keys: nft.Keys) -> tuple[bytes, bytes]:
    return nft.meta(nft.OIFNAME, nft.WORDS), nft.found_in(keys)


def _same(*, inverted: bool = False) -> tuple[bytes, ...]:
    """In by a bridge, and out by the same."""
    ends = nft.meta(nft.IIFNAME, nft.WORDS), nft.meta(nft.OIFNAME, nft.WORDS + 4)
    return (*ends, nft.found_in(_PAIRS, inverted=inverted))


def _version(number: int) -> tuple[bytes, bytes]:
    """NFPROTO_IPV4, NFPROTO_IPV6."""
    return nft.meta(nft.NFPROTO), nft.compared(nft.EQUAL, bytes([{4: 2, 6: 10}[number]]))


def _label(bridge: str) -> bytes:
    """As the kernel keeps it: linux/if.h, IFNAMSIZ."""
    return bridge.encode().ljust(16, b"\0")
