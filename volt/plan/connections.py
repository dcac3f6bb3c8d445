"""Connections that are translated for a workload: noted as they begin, and forgotten before another has its address.

Connection tracking goes by the connection, not by who has the address now: what belongs to one that a dead workload had
with the world would reach whoever has its address next. To list what is tracked takes the kernel as long as a launch,
10 ms for 262,144 buckets, so it is not done for nothing: rules note each address that has such connections, by
direction, when the first packet of one goes out. No other packet comes there.

    table inet volt {
        set outgoing { type ipv4_addr; flags dynamic; }     # and outgoing6, incoming, incoming6
        chain noting { type nat hook postrouting priority 90; … }
    }
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Interface

from volt.model.steps import ForgetConnections
from volt.model.text import ADDRESS, Message, text
from volt.model.values import Value
from volt.plan import links, nft
from volt.plan.netlink import DUMP, MARKS, attribute, message, nested, slotted

CHAIN = "noting"
_LIST = 0x101  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET: linux/netfilter/nfnetlink_conntrack.h
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_, CTA_FILTER
_SOURCE_ALONE, _PROTOCOL_ALONE, _NOTHING = (struct.pack("<I", flags) for flags in (1, 8, 0))  # CTA_FILTER_
_FOUR, _SIX = 2, 10  # AF_, NFPROTO_
_POSTROUTING = 4  # NF_INET_
_EARLY = 90  # before all who translate senders: whoever is behind one that does is not asked any more


class Kind(Value):
    """One kind of connections: the addresses that have some; in which of its two directions the workload sends, and
    where its address is in the first packet."""

    noted: nft.Keys
    family: int
    direction: int
    offset: int

    @property
    def length(self) -> int:
        """Bytes of an address."""
        return self.noted.lengths[0]

    def key(self, prefix: bytes) -> bytes:
        """The workload's address: an IPv6 address is the IPv4 one behind a prefix."""
        return (prefix if self.family == _SIX else b"") + MARKS[ADDRESS]


# nft's own numbers of types: ipv4_addr, ipv6_addr.
_KINDS = (
    Kind(nft.Keys("outgoing", 20, (7,), (4,), growing=True), _FOUR, _ORIGINAL, 12),
    Kind(nft.Keys("incoming", 21, (7,), (4,), growing=True), _FOUR, _REPLY, 16),
    Kind(nft.Keys("outgoing6", 22, (8,), (16,), growing=True), _SIX, _ORIGINAL, 8),
    Kind(nft.Keys("incoming6", 23, (8,), (16,), growing=True), _SIX, _REPLY, 24),
)


# ── rules


def places(table: nft.Table) -> Iterator[nft.Body]:
    """Sets and chain."""
    yield from (table.keys(kind.noted) for kind in _KINDS)
    yield table.chain(CHAIN, nft.Hook(_POSTROUTING, _EARLY, "nat"))


def rules(table: nft.Table, sent: Sequence[bytes], reached: Sequence[bytes]) -> Iterator[nft.Body]:
    """`sent` and `reached` are the expressions that hold for packets from a workload, and for those to one. What is not
    translated needs no note: it reaches an address, whoever has it, by no memory."""
    published = nft.connection(nft.CT_STATUS), *nft.any_of(nft.LED)
    for kind in _KINDS:
        on = sent if kind.direction == _ORIGINAL else (*reached, *published)
        family = nft.meta(nft.NFPROTO), nft.compared(nft.EQUAL, bytes([kind.family]))
        address = nft.load(nft.HEADER, kind.offset, kind.length, nft.WORDS)
        yield table.rule(CHAIN, *on, *family, address, nft.noted_in(kind.noted))


# ── of one workload


def forgotten(
    table: nft.Table, bridge: str, gateway6: IPv6Interface | None, silence: list[nft.Body]
) -> ForgetConnections:
    """All of them, before the address is used and after. `silence` keeps a dead workload from having more."""
    return ForgetConnections(
        ask=_ask(table, gateway6),
        lists=lists(gateway6),
        forget=_forget(table, gateway6, silence),
        again=note(table, gateway6),
        waiting=links.forget_neighbour(gateway6),
        bridge=text(bridge),
        note="of who had the address before",
    )


def _ask(table: nft.Table, gateway6: IPv6Interface | None) -> Message:
    """Whether there are notes at all, and each that may be there."""
    noted = (table.member(kind.noted, key) for kind, key in _own(gateway6))
    return slotted(nft.questions([table.keys_there(_KINDS[0].noted), *noted]))


def lists(gateway6: IPv6Interface | None) -> Message:
    """Requests for the connections of each kind, in the same order."""
    return slotted(b"".join(_listed(kind, key) for kind, key in _own(gateway6)))


def note(table: nft.Table, gateway6: IPv6Interface | None) -> Message:
    """There may be connections of every kind."""
    return slotted(nft.batch([table.element(kind.noted, key) for kind, key in _own(gateway6)]))


def _forget(table: nft.Table, gateway6: IPv6Interface | None, first: list[nft.Body]) -> Message:
    """No note stays. What is not there could not be taken away, and would keep the others: so all are added first. All
    in one batch: one behind another that deletes waits for it, some 10 ms."""
    steps = (table.element, table.without)
    return slotted(nft.batch([*first, *(step(kind.noted, key) for step in steps for kind, key in _own(gateway6))]))


def _own(gateway6: IPv6Interface | None) -> Iterator[tuple[Kind, bytes]]:
    prefix = gateway6.packed[:12] if gateway6 else b""
    yield from ((kind, kind.key(prefix)) for kind in _KINDS if prefix or kind.family == _FOUR)


def of_protocol(number: int) -> bytes:
    """Asks for all connections of this IPPROTO_, of IPv4, then of IPv6: of both at once the kernel sorts out none."""
    protocol = nested(_ORIGINAL, nested(2, attribute(1, bytes([number]))))  # CTA_TUPLE_PROTO, CTA_PROTO_NUM
    only = nested(_FILTER, attribute(_ORIGINAL, _PROTOCOL_ALONE), attribute(_REPLY, _NOTHING))
    families = (struct.pack(">BBH", family, 0, 0) for family in (_FOUR, _SIX))
    return b"".join(message(_LIST, DUMP, 1, family + protocol + only) for family in families)


def _listed(kind: Kind, key: bytes) -> bytes:
    """The kernel is asked for IPv4 connections of this sender alone. Of IPv6 ones it would give all others, at least up
    to 6.18: ctnetlink_filter_match_tuple() has ipv6_addr_cmp() the wrong way round. So it gives them all."""
    source = nested(1, attribute(1 if kind.family == _FOUR else 3, key))  # CTA_TUPLE_IP, CTA_IP_V4_SRC or V6
    by = (_SOURCE_ALONE, _NOTHING) if kind.direction == _ORIGINAL else (_NOTHING, _SOURCE_ALONE)
    only = nested(_FILTER, attribute(_ORIGINAL, by[0]), attribute(_REPLY, by[1]))  # CTA_FILTER_ORIG_FLAGS, REPLY_FLAGS
    body = nested(kind.direction, source) + (only if kind.family == _FOUR else b"")
    return message(_LIST, DUMP, 1, struct.pack(">BBH", kind.family, 0, 0) + body)
