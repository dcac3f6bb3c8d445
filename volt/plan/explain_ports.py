"""What of the host's ports leads to a workload, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from volt.model.explanation import NFTABLES, Statement
from volt.model.plan import LaunchPlan
from volt.model.steps import ClaimPorts, RouteLoopback
from volt.model.values import Value
from volt.plan.explain_words import plain

EVERY = "*"


class Span(Value):
    """Neighbouring ports of one protocol and address that lead to neighbouring ports; `outside` 0 is a free one."""

    protocol: str
    address: str
    outside: int
    inside: int
    many: int = 1


def published_ports(plan: LaunchPlan) -> Iterator[Statement]:
    """Nothing where nothing is published."""
    sockets = [plain(words) for step in plan.host if isinstance(step, ClaimPorts) for words in step.sockets]
    yield from (Statement(_sentence(span)) for span in _spans(sockets))
    if any(isinstance(step, RouteLoopback) for step in plan.host):
        text = "The host routes replies to 127.0.0.1 over the bridge; from there nothing else reaches its loopback."
        yield Statement(text, (NFTABLES,))


def _spans(sockets: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    for words in sockets:
        protocol, address, outside, inside = words.split(" ")
        one = Span(protocol, address, int(outside), int(inside))
        last = found[-1] if found else one
        step = last.many if last.outside else 0
        if found and one.outside and one == Span(protocol, last.address, last.outside + step, last.inside + step):
            found[-1] = Span(protocol, address, last.outside, last.inside, last.many + 1)
        else:
            found.append(one)
    return found


def _sentence(span: Span) -> str:
    kind, plural = span.protocol.upper(), span.many > 1
    place = "each address of the host's" if span.address == EVERY else span.address
    if span.outside:
        lead = "lead" if plural else "leads"
        front = f"{kind} port{'s' * plural} {_range(span.outside, span.many)} of {place} {lead}"
    else:
        front = f"A {kind} port of {place} that is free when it starts leads"
    return f"{front} to its port{'s' * plural} {_range(span.inside, span.many)}: {_reached(span.address)}."


def _range(first: int, many: int) -> str:
    return f"{first} to {first + many - 1}" if many > 1 else str(first)


def _reached(address: str) -> str:
    if address != EVERY and ip_address(address).is_loopback:
        return "the host itself reaches it there, and nobody else"
    return "whoever reaches the host reaches it there, other workloads too"
