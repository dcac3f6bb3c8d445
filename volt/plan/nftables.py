"""The TCP ports of one network namespace as nftables rules: netlink messages, encoded here, sent by the static program.

As nft(8) writes what is loaded, for one port each way:

    table inet volt {
        chain input {
            type filter hook input priority filter; policy drop;
            meta l4proto != tcp accept
            tcp flags & (syn | ack) != syn accept
            tcp dport 8080 accept
            reject with tcp reset
        }
        chain output { … the same … }
    }

What opens a connection is refused unless its port is given; a packet that cannot be read as TCP is dropped, for each
rule lets through what it has understood. linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Range = tuple[int, int]
    _Message = tuple[int, int, bytes]

PROTOCOL = 12  # NETLINK_NETFILTER
TABLE = "volt"
# Both in number: every message is answered, and the answers have to fit into the receive buffer of a socket, which
# takes some 250 of them by default.
MOST = 100

_INET = 1  # NFPROTO_INET: IPv4 and IPv6
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BEGIN, _END = 0x10, 0x11  # NFNL_MSG_BATCH_
_NEWTABLE, _NEWCHAIN, _NEWRULE = (_SUBSYSTEM << 8 | message for message in (0, 3, 6))  # NFT_MSG_
_REQUEST, _ACK, _EXCL, _CREATE, _APPEND = 0x1, 0x4, 0x200, 0x400, 0x800  # NLM_F_, linux/netlink.h
_NESTED = 0x8000  # NLA_F_NESTED
_HOOKS = {"input": 1, "output": 3}  # NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT
_DROP, _ACCEPT = 0, 1  # linux/netfilter.h
_L4PROTO = 16  # NFT_META_
_TRANSPORT = 2  # NFT_PAYLOAD_TRANSPORT_HEADER
_VERDICT, _REGISTER = 0, 1  # NFT_REG_
_EQUAL, _UNEQUAL = 0, 1  # NFT_CMP_, NFT_RANGE_
_RESET = 1  # NFT_REJECT_TCP_RST
_TCP = 6
# tcp(7), RFC 9293: where the fields lie. SYN without ACK opens a connection, whatever else is set.
_DESTINATION, _FLAGS = (2, 2), (13, 1)
_SYN, _ACKED = 0x02, 0x10


def port_rules(chains: Sequence[tuple[str, Sequence[Range]]]) -> Iterator[bytes]:
    """The batches that make the table, each for one sendto(2): for each hook (`input`, `output`) the ranges of ports,
    first and last, to which a connection can be opened. Until the last batch is in, less is let through."""
    messages = [_message(_NEWTABLE, _CREATE | _EXCL, _name(1, TABLE))]
    messages += [_chain(hook) for hook, _ in chains]
    for hook, ranges in chains:
        messages += [_rule(hook, expressions) for expressions in _rules(ranges)]
    for start in range(0, len(messages), MOST):
        part = (_limit(_BEGIN), *messages[start : start + MOST], _limit(_END))
        yield b"".join(_numbered(number, message) for number, message in enumerate(part, 1))


# ── messages: type, flags, what follows the header


def _message(kind: int, flags: int, attributes: bytes) -> _Message:
    return kind, _REQUEST | _ACK | flags, struct.pack(">BBH", _INET, 0, 0) + attributes


def _limit(kind: int) -> _Message:
    return kind, _REQUEST, struct.pack(">BBH", 0, 0, _SUBSYSTEM)


def _numbered(number: int, message: _Message) -> bytes:
    """struct nlmsghdr, and what follows; `number` is the one that the answer names."""
    kind, flags, body = message
    return struct.pack("<IHHII", 16 + len(body), kind, flags, number, 0) + body


def _chain(hook: str) -> _Message:
    at = _number(1, _HOOKS[hook]) + _number(2, 0)  # NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY
    body = _name(1, TABLE) + _name(3, hook) + _nested(4, at) + _number(5, _DROP) + _name(7, "filter")
    return _message(_NEWCHAIN, _CREATE | _EXCL, body)


def _rule(chain: str, expressions: Iterable[bytes]) -> _Message:
    body = _name(1, TABLE) + _name(2, chain) + _nested(4, b"".join(_nested(1, one) for one in expressions))
    return _message(_NEWRULE, _CREATE | _APPEND, body)


def _rules(ranges: Iterable[Range]) -> Iterator[tuple[bytes, ...]]:
    accept = _verdict(_ACCEPT)
    yield _meta(_L4PROTO), _compared(_UNEQUAL, bytes([_TCP])), accept
    yield _field(*_FLAGS), _masked(bytes([_SYN | _ACKED])), _compared(_UNEQUAL, bytes([_SYN])), accept
    for first, last in ranges:
        yield _field(*_DESTINATION), _within(first, last), accept
    yield (_expression("reject", _number(1, _RESET)),)


# ── expressions: each loads the register, or goes on to the next rule unless it holds


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, _REGISTER), _number(2, key))


def _field(offset: int, length: int) -> bytes:
    place = (_number(2, _TRANSPORT), _number(3, offset), _number(4, length))
    return _expression("payload", _number(1, _REGISTER), *place)


def _masked(mask: bytes) -> bytes:
    registers = (_number(1, _REGISTER), _number(2, _REGISTER), _number(3, len(mask)))
    return _expression("bitwise", *registers, _data(4, mask), _data(5, bytes(len(mask))))


def _compared(how: int, value: bytes) -> bytes:
    return _expression("cmp", _number(1, _REGISTER), _number(2, how), _data(3, value))


def _within(first: int, last: int) -> bytes:
    if first == last:
        return _compared(_EQUAL, struct.pack(">H", first))
    ends = (_data(3, struct.pack(">H", first)), _data(4, struct.pack(">H", last)))
    return _expression("range", _number(1, _REGISTER), _number(2, _EQUAL), *ends)


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, _VERDICT), _nested(2, _nested(2, _number(1, code))))


def _expression(name: str, *attributes: bytes) -> bytes:
    return _name(1, name) + _nested(2, b"".join(attributes))


# ── attributes: length, type, value, to a multiple of four


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(_NESTED | kind, value)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _name(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _data(kind: int, value: bytes) -> bytes:
    return _nested(kind, _attribute(1, value))
