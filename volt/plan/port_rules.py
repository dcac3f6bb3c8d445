"""nftables maps of the host's from published ports to workloads, the rules that look there, and what fills them.

As nft(8) writes them, for a workload that has claimed 10.189.0.7 and publishes its port 80 as 8080:

    table inet volt {
        map ports4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
                                                     # tcp . 0.0.0.0 . 8080 : 10.189.0.7 . 80
        map ports6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
        chain from_outside { type nat hook prerouting priority dstnat; … }
        chain from_here { type nat hook output priority dstnat; … }
    }

The rules look for a packet's own destination, then for every address, and only where the destination is this machine's:
a connection's first packet pays for that, and the same for one workload or hundreds. From outside nothing that calls
itself 127.0.0.1 is looked for. [::1] is not either, from anywhere: no packet of it can be routed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from volt.model.text import Message, Slot
from volt.model.values import Value
from volt.plan import nft

TCP, UDP = 6, 17  # IPPROTO_
PROTOCOLS = {"tcp": TCP, "udp": UDP}
_PREROUTING, _OUTPUT = 0, 3  # NF_INET_
_DSTNAT = -100  # as nft names it
_WORD = 4  # bytes of a register
_MARK = b"\xf5MARK"
_MARKS = re.compile(re.escape(_MARK) + b"\xf5*")


class Family(Value):
    """What differs between IPv4 and IPv6: NFPROTO_, the map, where a packet's header has its destination, how long that
    is; and in which chain loopback addresses, by what they begin with, are not looked for."""

    number: int
    keys: nft.Keys
    offset: int
    length: int
    loopback: bytes
    chain: str


# nft's own numbers of types: inet_proto, ipv4_addr, ipv6_addr, inet_service.
_OUTSIDE, _HERE = "from_outside", "from_here"
_FOUR = nft.Keys("ports4", 6, (12, 7, 13), (1, 4, 2), values=((7, 4), (13, 2)))
_SIX = nft.Keys("ports6", 7, (12, 8, 13), (1, 16, 2), values=((8, 16), (13, 2)))
FAMILIES = {
    4: Family(2, _FOUR, 16, 4, b"\x7f", _OUTSIDE),
    6: Family(10, _SIX, 24, 16, bytes(15) + b"\1", _HERE),
}


class Element(Value):
    """One key and its value: parts that are as long, in all, as the map's are."""

    version: int
    key: Message
    value: Message


def places(table: nft.Table) -> Iterator[nft.Body]:
    """Maps and chains, which may be there."""
    yield from (table.keys(family.keys) for family in FAMILIES.values())
    yield table.chain(_OUTSIDE, nft.Hook(_PREROUTING, _DSTNAT, "nat"))
    yield table.chain(_HERE, nft.Hook(_OUTPUT, _DSTNAT, "nat"))


def rules(table: nft.Table) -> Iterator[nft.Body]:
    for chain in (_OUTSIDE, _HERE):
        elsewhere = nft.kind_of_destination(), nft.compared(nft.UNEQUAL, struct.pack("<I", nft.LOCAL))
        yield table.rule(chain, *elsewhere, nft.verdict(nft.RETURN))
        for family in FAMILIES.values():
            version = nft.meta(nft.NFPROTO), nft.compared(nft.EQUAL, bytes([family.number]))
            if family.chain == chain:
                destination = nft.load(nft.HEADER, family.offset, len(family.loopback))
                loopback = destination, nft.compared(nft.EQUAL, family.loopback)
                yield table.rule(chain, *version, *loopback, nft.verdict(nft.RETURN))
            own = nft.load(nft.HEADER, family.offset, family.length, nft.WORDS + 1)
            every = nft.constant(bytes(family.length), nft.WORDS + 1)
            for address in (own, every):
                yield table.rule(chain, *version, *_led(family, address))


def _led(family: Family, address: bytes) -> tuple[bytes, ...]:
    """From a key in the registers, of which `address` loads that part, to the workload."""
    behind = family.length // _WORD
    protocol = nft.meta(nft.L4PROTO, nft.WORDS)
    port = nft.load(nft.TRANSPORT, 2, 2, nft.WORDS + 1 + behind)
    led = nft.lead_to(family.number, nft.WORDS, nft.WORDS + behind)
    return protocol, address, port, nft.mapped_in(family.keys), led


# ── what one workload has there


def published(table: nft.Table, elements: Sequence[Element]) -> Message:
    """All of them, in one batch; an element that is there already with another value is an error."""
    bodies = [body for version in FAMILIES for body in _added(table, [e for e in elements if e.version == version])]
    ordered = sorted(elements, key=lambda one: one.version)
    return _filled(nft.batch(bodies), [part for one in ordered for part in (one.key, one.value)])


def taken_back(table: nft.Table, elements: Sequence[Element]) -> Message:
    """A batch for all of them, then one for each: without elements none. It adds what it takes out: with another value
    there by now it fails, and changes nothing."""
    each = [_taken_back(table, [one]) for one in elements]
    return tuple(part for batch in ([_taken_back(table, elements)] if each else []) + each for part in batch)


def _taken_back(table: nft.Table, elements: Sequence[Element]) -> Message:
    bodies: list[nft.Body] = []
    values: list[Message] = []
    for version, family in FAMILIES.items():
        own = [one for one in elements if one.version == version]
        bodies += _added(table, own)
        bodies += table.none_of(family.keys, [_marks(one)[0] for one in own])
        values += [part for one in own for part in (one.key, one.value)]
        values += [one.key for one in own]
    return _filled(nft.batch(bodies), values)


def _added(table: nft.Table, elements: Sequence[Element]) -> Iterator[nft.Body]:
    if elements:
        yield from table.mapped(FAMILIES[elements[0].version].keys, [_marks(one) for one in elements])


def _marks(one: Element) -> tuple[bytes, bytes]:
    """What holds the places of key and value while a message is made: of their lengths, and like nothing else in it."""
    length = FAMILIES[one.version].length
    return _MARK.ljust(length + 8, b"\xf5"), _MARK.ljust(length + 4, b"\xf5")


def _filled(data: bytes, values: Sequence[Message]) -> Message:
    """The message with these in the places of its marks."""
    pieces: list[bytes | Slot] = []
    left = iter(values)
    at = 0
    for found in _MARKS.finditer(data):
        pieces += (data[at : found.start()], *next(left))
        at = found.end()
    if next(left, None) is not None:
        raise ValueError("a message has less places than there are values")
    return (*pieces, data[at:])
