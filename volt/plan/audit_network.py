"""The nftables rules of a plan beside those that a run's network namespace has: a pure function of both.

What the plan sends are messages that make chains and rules, what the kernel lists are messages of the same form. A rule
is the planned one where the kernel's has every attribute of it with the same value: it adds some of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from volt.model.audit import Point
from volt.model.plan import LaunchPlan
from volt.model.steps import SendNetlink
from volt.plan.nftables import PROTOCOL, TABLE

_HEAD = 20  # bytes of struct nlmsghdr and struct nfgenmsg
_NEWCHAIN, _NEWRULE = (10 << 8 | message for message in (3, 6))  # NFT_MSG_ of NFNL_SUBSYS_NFTABLES
_NESTED, _KIND = 0x8000, 0x3FFF  # NLA_F_NESTED, NLA_TYPE_MASK
# linux/netfilter/nf_tables.h: NFTA_CHAIN_TABLE and NFTA_RULE_TABLE, NFTA_CHAIN_NAME, NFTA_RULE_CHAIN.
_TABLE, _NAME, _CHAIN = 1, 3, 2
Message = tuple[int, bytes]
_Attribute = tuple[int, bool, bytes]


def firewall_planned(plan: LaunchPlan) -> bool:
    """Whether nftables holds anything for it."""
    return any(_requests(plan))


def firewall_points(plan: LaunchPlan, listed: Iterable[Message]) -> Iterator[Point]:
    """A point for each chain that the plan makes; `listed` are those that there are, and their rules, by type and
    attributes."""
    sent, there = tuple(sent_messages(plan)), tuple(listed)
    for name in (_text(body, _NAME) for kind, body in sent if kind == _NEWCHAIN):
        own, found = _of_chain(name, sent), _of_chain(name, there)
        planned = f"{len(own) - 1} rules, and all else is dropped"
        wrong = _difference(own, found)
        yield Point(f"nftables {name}", planned, wrong or planned, not wrong)


def _of_chain(name: str, messages: Iterable[Message]) -> list[bytes]:
    """The chain of that name in volt's table, and its rules in their order."""
    own = [(kind, body) for kind, body in messages if _text(body, _TABLE) == TABLE]
    chain = [body for kind, body in own if kind == _NEWCHAIN and _text(body, _NAME) == name]
    return chain and chain + [body for kind, body in own if kind == _NEWRULE and _text(body, _CHAIN) == name]


def _difference(planned: list[bytes], found: list[bytes]) -> str:
    """What is not as planned of a chain and its rules; "" where all is."""
    if not found:
        return "no such chain"
    if not _contains(planned[0], found[0]):
        return "another hook, or another policy"
    if len(planned) != len(found):
        return f"{len(found) - 1} rules"
    other = [number for number, pair in enumerate(zip(planned, found, strict=True)) if not _contains(*pair)]
    return f"another rule {other[0]}" if other else ""


def _requests(plan: LaunchPlan) -> Iterator[bytes]:
    yield from (one.request for one in plan.init if isinstance(one, SendNetlink) and one.protocol == PROTOCOL)


def sent_messages(plan: LaunchPlan) -> Iterator[Message]:
    """Each message of the plan's batches: its type, and its attributes."""
    for request in _requests(plan):
        at = 0
        while at < len(request):
            length, kind = struct.unpack_from("<IH", request, at)
            yield kind, request[at + _HEAD : at + length]
            at += -(-length // 4) * 4


def _attributes(data: bytes) -> Iterator[_Attribute]:
    """Type, whether it holds others, value."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4:
            return
        yield kind & _KIND, bool(kind & _NESTED), data[at + 4 : at + length]
        at += -(-length // 4) * 4


def _text(body: bytes, wanted: int) -> str:
    found = (value for kind, _, value in _attributes(body) if kind == wanted)
    return next(found, b"").rstrip(b"\0").decode(errors="replace")


def _contains(planned: bytes, found: bytes) -> bool:
    """Whether each attribute is there, as often and in that order, with the same value or with what its own contain."""
    own, other = tuple(_attributes(planned)), tuple(_attributes(found))
    for wanted in dict.fromkeys(kind for kind, _, _ in own):
        pairs = [(nested, value) for kind, nested, value in own if kind == wanted]
        values = [value for kind, _, value in other if kind == wanted]
        if len(pairs) != len(values):
            return False
        for (nested, value), listed in zip(pairs, values, strict=True):
            if not (_contains(value, listed) if nested else value == listed):
                return False
    return True
