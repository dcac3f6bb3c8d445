"""The vocabulary of nftables messages: tables, chains, sets and rules, and the expressions that a rule is made of.

linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h. Each expression loads a register or compares it; what does not
hold goes on to the next rule.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from volt.model.values import Value
from volt.plan import netlink
from volt.plan.netlink import ACK, APPEND, CREATE, DUMP, EXCL, attribute, name, nested

PROTOCOL = 12  # NETLINK_NETFILTER
INET, BRIDGE, ANY = 1, 7, 0  # NFPROTO_
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BEGIN, END = 0x10, 0x11  # NFNL_MSG_BATCH_
NEWTABLE, DELTABLE, NEWCHAIN, NEWRULE, GETRULE, DELRULE, NEWSET, GETSET, NEWSETELEM, GETSETELEM, DELSETELEM = (
    SUBSYSTEM << 8 | number for number in (0, 2, 3, 6, 7, 8, 9, 10, 12, 13, 14)
)  # NFT_MSG_
DROP, ACCEPT = 0, 1  # linux/netfilter.h
LINK, HEADER, TRANSPORT = 0, 1, 2  # NFT_PAYLOAD_: link layer, network, transport
L4PROTO, NFPROTO, IIFNAME, OIFNAME = 16, 15, 6, 7  # NFT_META_
VERDICT, REGISTER, WORDS = 0, 1, 8  # NFT_REG_VERDICT, NFT_REG_1, NFT_REG32_00
EQUAL, UNEQUAL = 0, 1  # NFT_CMP_, NFT_RANGE_
CT_STATE, CT_STATUS = 0, 2  # NFT_CT_
LED = 0x20  # IPS_DST_NAT, of a connection's status: its destination has been translated
LOCAL = 2  # RTN_LOCAL, linux/rtnetlink.h
_IFNAME = 41  # nft's own number of this type, which it prints only where it is told the order of bytes:
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)  # NFTNL_UDATA_SET_KEYBYTEORDER, libnftnl/udata.h
MAP = 0x8  # NFT_SET_MAP
RETURN = 0xFFFF_FFFB  # NFT_RETURN, -5
MOST_ELEMENTS = 500  # of one message: the length of its list has 16 bits

Body = tuple[int, int, int, bytes]  # what to do, flags, family, attributes


def batch(bodies: Sequence[Body]) -> bytes:
    """All of them, or none: for one sendto(2). Each is answered."""
    inner = b"".join(
        netlink.message(kind, ACK | flags, number, _about(family, 0) + body)
        for number, (kind, flags, family, body) in enumerate(bodies, 2)
    )
    begin, end = (
        netlink.message(kind, 0, at, _about(ANY, SUBSYSTEM)) for kind, at in ((BEGIN, 1), (END, len(bodies) + 2))
    )
    return begin + inner + end


def wanted(body: Body) -> bytes:
    """Asks for one thing, which is what answers, or nothing does; then that was all."""
    kind, flags, family, about = body
    return netlink.message(kind, ACK | flags, 1, _about(family, 0) + about)


def questions(bodies: Sequence[Body]) -> bytes:
    """Each is answered by what it asks for, or refused where that is not there."""
    return b"".join(
        netlink.message(kind, 0, number, _about(family, 0) + body)
        for number, (kind, _, family, body) in enumerate(bodies, 1)
    )


def listing(*tables: Table) -> bytes:
    """Asks for the rules of each table. Of several tables of one name the kernel would list the first alone:
    nf_tables_dump_rules() of net/netfilter/nf_tables_api.c."""
    asked = [_about(one.family, 0) + name(1, one.label) for one in tables]
    return b"".join(netlink.message(GETRULE, DUMP, number, one) for number, one in enumerate(asked, 1))


def _about(family: int, resource: int) -> bytes:
    """struct nfgenmsg."""
    return struct.pack(">BBH", family, 0, resource)


class Hook(Value):
    """Where a base chain looks at packets, and what becomes of those that no rule decides about. NF_INET_, NF_BR_."""

    number: int
    priority: int
    kind: str = "filter"
    policy: int = ACCEPT


class Keys(Value):
    """A set: of keys that have several parts, each padded to words. `identity` is what a batch knows it by; `kinds` are
    nft's own numbers of the parts' types, by which it prints them. Rules may add to one that is `growing`. A map has
    `values` besides, likewise in parts: kind and length of each."""

    label: str
    identity: int
    kinds: tuple[int, ...]
    lengths: tuple[int, ...]
    growing: bool = False
    values: tuple[tuple[int, int], ...] = ()


class Table(Value):
    """One table, and what there can be in it. What is there already stays, unless it has to be `new`."""

    family: int
    label: str
    new: bool = False

    def made(self) -> Body:
        return NEWTABLE, self._flags(), self.family, name(1, self.label)

    def chain(self, label: str, hook: Hook) -> Body:
        at = nested(4, number(1, hook.number), attribute(2, struct.pack(">i", hook.priority)))  # NFTA_HOOK_
        body = self._within + name(3, label) + at + number(5, hook.policy) + name(7, hook.kind)
        return NEWCHAIN, self._flags(), self.family, body

    def rule(self, chain: str, *expressions: bytes) -> Body:
        body = self._within + name(2, chain) + nested(4, *(nested(1, one) for one in expressions))
        return NEWRULE, CREATE | APPEND, self.family, body

    def no_rules(self) -> Body:
        """Every rule of the table goes; chains, sets and what is in them stay."""
        return DELRULE, 0, self.family, self._within

    def keys(self, keys: Keys) -> Body:
        kind, length = _parts(zip(keys.kinds, keys.lengths, strict=True))
        flags = (0x20 if keys.growing else 0) | (MAP if keys.values else 0)  # NFT_SET_EVAL
        body = name(2, keys.label) + number(3, flags) + number(4, kind) + number(5, length)
        if keys.values:
            kind, length = _parts(keys.values)
            body += number(6, kind) + number(7, length)
        told = attribute(13, _HOST_ORDER) if keys.kinds == (_IFNAME,) else b""  # NFTA_SET_USERDATA
        return NEWSET, CREATE, self.family, self._within + body + number(10, keys.identity) + told

    def element(self, keys: Keys, key: bytes) -> Body:
        """One more key in a set, or the same again."""
        one = nested(1, nested(1, attribute(1, key)))  # NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
        return NEWSETELEM, CREATE, self.family, self._within + name(2, keys.label) + nested(3, one)

    def keys_there(self, keys: Keys) -> Body:
        """The set itself, to be looked for."""
        return GETSET, 0, self.family, self._within + name(2, keys.label)

    def mapped(self, keys: Keys, pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[Body]:
        """More keys of a map, each with its value; one that has the same already stays, another is an error."""
        for at in range(0, len(pairs), MOST_ELEMENTS):
            listed = [nested(1, data(1, key), data(2, value)) for key, value in pairs[at : at + MOST_ELEMENTS]]
            yield NEWSETELEM, CREATE, self.family, self._within + name(2, keys.label) + nested(3, *listed)

    def none_of(self, keys: Keys, which: Sequence[bytes]) -> Iterator[Body]:
        """These keys go, each of which has to be there."""
        for at in range(0, len(which), MOST_ELEMENTS):
            listed = [nested(1, data(1, key)) for key in which[at : at + MOST_ELEMENTS]]
            yield DELSETELEM, 0, self.family, self._within + name(2, keys.label) + nested(3, *listed)

    def without(self, keys: Keys, key: bytes) -> Body:
        """A key goes, which has to be there."""
        _, _, family, body = self.element(keys, key)
        return DELSETELEM, 0, family, body

    def member(self, keys: Keys, key: bytes) -> Body:
        """The same key, to be looked for."""
        _, _, family, body = self.element(keys, key)
        return GETSETELEM, 0, family, body

    def elements(self, keys: Keys) -> bytes:
        """Asks for every key of a set."""
        return netlink.message(GETSETELEM, DUMP, 1, _about(self.family, 0) + self._within + name(2, keys.label))

    def unmade(self) -> Body:
        """With all that is in it."""
        return DELTABLE, 0, self.family, self._within

    @property
    def _within(self) -> bytes:
        return name(1, self.label)

    def _flags(self) -> int:
        return CREATE | (EXCL if self.new else 0)


def _parts(parts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """nft's number of a type that has these parts, and its length in bytes."""
    kind = length = 0
    for one, size in parts:
        kind, length = kind << 6 | one, length + size + -size % 4
    return kind, length


# ── expressions


def meta(key: int, register: int = REGISTER) -> bytes:
    return expression("meta", number(1, register), number(2, key))


def load(layer: int, offset: int, length: int, register: int = REGISTER) -> bytes:
    return expression("payload", number(1, register), number(2, layer), number(3, offset), number(4, length))


def masked(mask: bytes) -> bytes:
    registers = (number(1, REGISTER), number(2, REGISTER), number(3, len(mask)))
    return expression("bitwise", *registers, data(4, mask), data(5, bytes(len(mask))))


def compared(how: int, value: bytes) -> bytes:
    return expression("cmp", number(1, REGISTER), number(2, how), data(3, value))


def within(first: int, last: int) -> bytes:
    if first == last:
        return compared(EQUAL, struct.pack(">H", first))
    ends = (data(3, struct.pack(">H", first)), data(4, struct.pack(">H", last)))
    return expression("range", number(1, REGISTER), number(2, EQUAL), *ends)


def found_in(keys: Keys, *, inverted: bool = False) -> bytes:
    """Goes on where the registers from WORDS on hold such a key."""
    known = name(1, keys.label), number(4, keys.identity)
    return expression("lookup", *known, number(2, WORDS), number(5, int(inverted)))


def noted_in(keys: Keys) -> bytes:
    """Adds what the registers from WORDS on hold."""
    return expression("dynset", name(1, keys.label), number(2, keys.identity), number(3, 0), number(4, WORDS))


def mapped_in(keys: Keys, to: int = WORDS) -> bytes:
    """The value of such a key in the registers from `to` on; goes on where there is one."""
    return expression("lookup", name(1, keys.label), number(4, keys.identity), number(2, WORDS), number(3, to))


def constant(value: bytes, register: int) -> bytes:
    return expression("immediate", number(1, register), data(2, value))


def kind_of_destination() -> bytes:
    """What the packet's destination is to this machine: an RTN_ of linux/rtnetlink.h, in its byte order."""
    asks = number(2, 3), number(3, 2)  # NFTA_FIB_RESULT: NFT_FIB_RESULT_ADDRTYPE; NFTA_FIB_FLAGS: NFTA_FIB_F_DADDR
    return expression("fib", number(1, REGISTER), *asks)


def lead_to(family: int, address: int, port: int) -> bytes:
    """Destination NAT to the address and the port in these registers; NFPROTO_ `family`."""
    registers = number(3, address), number(5, port)  # NFTA_NAT_REG_ADDR_MIN, NFTA_NAT_REG_PROTO_MIN
    return expression("nat", number(1, 1), number(2, family), *registers)  # NFTA_NAT_TYPE: NFT_NAT_DNAT


def verdict(code: int) -> bytes:
    return expression("immediate", number(1, VERDICT), nested(2, nested(2, number(1, code))))


def connection(key: int) -> bytes:
    """What conntrack knows: CT_STATE or CT_STATUS, in the machine's byte order."""
    return expression("ct", number(1, REGISTER), number(2, key))


def any_of(bits: int) -> tuple[bytes, bytes]:
    """Goes on where one of these bits is set in what was loaded, four bytes of the machine's byte order."""
    return masked(struct.pack("<I", bits)), compared(UNEQUAL, bytes(4))


def masquerade() -> bytes:
    return expression("masq")


def expression(label: str, *attributes: bytes) -> bytes:
    return name(1, label) + nested(2, *attributes)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))
