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

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from volt.plan import nft

if TYPE_CHECKING:
    Range = tuple[int, int]

PROTOCOL = nft.PROTOCOL
TABLE = "volt"
# Both in number: every message is answered, and the answers have to fit into the receive buffer of a socket, which
# takes some 250 of them by default.
MOST = 100

_HOOKS = {"input": 1, "output": 3}  # NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT
_RESET = 1  # NFT_REJECT_TCP_RST
_TCP = 6
# tcp(7), RFC 9293: where the fields lie. SYN without ACK opens a connection, whatever else is set.
_DESTINATION, _FLAGS = (2, 2), (13, 1)
_SYN, _ACKED = 0x02, 0x10


def port_rules(chains: Sequence[tuple[str, Sequence[Range]]]) -> Iterator[bytes]:
    """The batches that make the table, each for one sendto(2): for each hook (`input`, `output`) the ranges of ports,
    first and last, to which a connection can be opened. Until the last batch is in, less is let through."""
    table = nft.Table(nft.INET, TABLE, new=True)
    bodies = [table.made()]
    bodies += [table.chain(hook, nft.Hook(_HOOKS[hook], 0, policy=nft.DROP)) for hook, _ in chains]
    for hook, ranges in chains:
        bodies += [table.rule(hook, *expressions) for expressions in _rules(ranges)]
    for start in range(0, len(bodies), MOST):
        yield nft.batch(bodies[start : start + MOST])


def _rules(ranges: Iterable[Range]) -> Iterator[tuple[bytes, ...]]:
    accept = nft.verdict(nft.ACCEPT)
    yield nft.meta(nft.L4PROTO), nft.compared(nft.UNEQUAL, bytes([_TCP])), accept
    opening = nft.masked(bytes([_SYN | _ACKED])), nft.compared(nft.UNEQUAL, bytes([_SYN]))
    yield nft.load(nft.TRANSPORT, *_FLAGS), *opening, accept
    for first, last in ranges:
        yield nft.load(nft.TRANSPORT, *_DESTINATION), nft.within(first, last), accept
    yield (nft.expression("reject", nft.number(1, _RESET)),)
