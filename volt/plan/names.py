"""Names of workloads on a network: who claims one, who answers for it, and what the workload asks.

dnsmasq(8) listens on the bridge alone, reads a file for each workload, and asks the host's resolvers for all else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from volt.model.facts import Bridge, Facts, Resolver
from volt.model.landlock import FILES, PORTS, SCOPES, abi_of, bits
from volt.model.part import Part
from volt.model.steps import ClaimHost, EnsureResolver, MakeFolder
from volt.model.text import PID, RUN, Text, text
from volt.model.values import replace
from volt.model.workload import Workload
from volt.plan.network import addresses, gateways

DOMAIN = "volt"
# Asked for by who waits for the resolver (volt/native/keeper.c): nobody else knows it, and no workload is called so.
READY = f"_ready.{DOMAIN}"
SCOPE = "volt-names-"  # and the id of the run that starts it
# Whose a claim is, in a comment of hosts(5).
HOLDER: Text = ('# {"run":"', RUN, '","pid":', PID, "}\n")
HOLDER_PARTS = len(HOLDER)
NO_RESOLVERS = "--no-resolv"
# They mean something to programs that look for them unasked: a workload called so gets no name on the network.
RESERVED = {
    "localhost": "it is each one's own, RFC 6761",
    "wpad": "who has it tells browsers their proxy",
    "isatap": "who has it is taken for a router, RFC 5214",
}


def answering(facts: Facts) -> Resolver | None:
    """The resolver of the workload's network, None where there can be none."""
    found = facts.bridge.resolver if facts.bridge else None
    return found if found and not found.problem else None


def place(folder: str, bridge: Bridge) -> str:
    """What the paths of a network's names begin with, in the `folder` of its network namespace."""
    return f"{folder}/{bridge.label}"


def claims(workload: Workload, facts: Facts, folder: str) -> Part:
    """The name, on its network: two states of volt have one bridge, and claim names each for themselves. It is claimed
    by a workload with resolvers of its own too, which others look for."""
    bridge = facts.bridge
    if bridge is None or answering(facts) is None:
        return Part()
    names = f"{place(folder, bridge)}.names"
    lines = () if workload.name in RESERVED else _lines(workload.name, bridge)
    return Part(
        host=(
            # The resolver's group gets to read it when that starts.
            MakeFolder(path=text(names), mode=0o700, keep=True, shared=True),
            ClaimHost(folder=text(names), label=text(workload.name), content=(*HOLDER, *lines), note="its name"),
        )
    )


def _lines(name: str, bridge: Bridge) -> Text:
    """hosts(5): the first name is the one that an address is told to have."""
    own, own6 = addresses(bridge)
    names = f" {name}.{DOMAIN} {name}\n"
    return (*own, *text(names), *own6, *text(names if own6 else ""))


def resolver_part(workload: Workload, facts: Facts, folder: str) -> Part:
    """The resolver, found or started, once the bridge has its addresses."""
    bridge, resolver = facts.bridge, answering(facts)
    if bridge is None or resolver is None or workload.network.dns:
        return Part()
    gateway = gateways(bridge)[0]
    own = (str(resolver.uid), str(resolver.gid), f"{int(gateway.ip):08x}")
    words = (*own, *withheld(facts, resolver), *arguments(place(folder, bridge), bridge, resolver))
    mark = hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
    step = EnsureResolver(
        path=text(place(folder, bridge)),
        mark=text(mark),
        argv=tuple(text(word) for word in words),
        note=f"answers at {gateway.ip}",
    )
    return Part(host=(_in_scope(step, bridge, facts),))


def _in_scope(step: EnsureResolver, bridge: Bridge, facts: Facts) -> EnsureResolver:
    """Under systemd it is in a scope, or it would end with the unit that happened to launch the first workload."""
    if facts.control.manager is None or not facts.control.bus:
        return step
    from volt.plan.bus import scope_request

    made = scope_request(f"volt names on {bridge.label}", {}, SCOPE)
    unit: Text = (SCOPE, RUN, ".scope")
    bus = text(facts.control.bus)
    return replace(step, bus=bus, unit=unit, request=made.data, run_at=made.run_at, pid_at=made.pid_at)


def withheld(facts: Facts, resolver: Resolver) -> tuple[str, ...]:
    """Every right that this kernel's Landlock can withhold, as masks, and the folder that can be read beside the usual
    ones (volt/native/keeper.c)."""
    masks = (
        bits(tuple(right for right in rights if abi_of(right) <= facts.landlock_abi), rights)
        for rights in (FILES, PORTS, SCOPES)
    )
    return (*(f"{mask:x}" for mask in masks), resolver.file.rpartition("/")[0] or "/")


def arguments(path: str, bridge: Bridge, resolver: Resolver) -> tuple[str, ...]:
    """dnsmasq's command line, dnsmasq(8). It reads no configuration of the host's own, gives out no addresses, and
    forwards neither what is volt's to know nor names without a dot."""
    gateway, gateway6 = gateways(bridge)
    subnets = [str(one.network) for one in (gateway, gateway6) if one]
    return (
        resolver.program,
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--pid-file",
        "--log-facility=/dev/null",
        f"--interface={bridge.label}",
        "--except-interface=lo",
        "--bind-dynamic",
        "--no-hosts",
        f"--hostsdir={path}.names",
        f"--local=/{DOMAIN}/",
        *(f"--rev-server={subnet}" for subnet in subnets),
        "--domain-needed",
        "--no-ident",
        f"--host-record={READY},{gateway.ip}",
        # A question that is asked for a workload is a way out, too.
        NO_RESOLVERS if bridge.internal else f"--resolv-file={resolver.file}",
    )


def resolv_conf(facts: Facts, bridge: Bridge) -> str:
    """resolv.conf(5) inside: the bridge's own address, and names of workloads before what the host looks for."""
    lines = [line.split() for line in facts.upstream.splitlines()]
    searched = [words[1:] for words in lines if words and words[0] in ("search", "domain")]
    search = " ".join(dict.fromkeys((DOMAIN, *(searched[-1] if searched else ()))))
    options = "".join(f"{' '.join(words)}\n" for words in lines if words and words[0] in ("options", "sortlist"))
    return f"search {search}\nnameserver {gateways(bridge)[0].ip}\n{options}"


def notes(workload: Workload, facts: Facts) -> Iterator[str]:
    """Where the workload's network has no names, or it has none there."""
    bridge = facts.bridge
    if bridge and bridge.resolver and bridge.resolver.problem:
        yield f"network.mode: no names of workloads are answered on {bridge.label}: {bridge.resolver.problem}"
    elif answering(facts) and workload.name in RESERVED:
        yield f"workload.name: no other workload finds {workload.name} by its name: {RESERVED[workload.name]}"
