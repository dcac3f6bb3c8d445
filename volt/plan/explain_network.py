"""What a workload may bind, connect to and reach besides its files, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from volt.model.explanation import (
    CAPABILITIES,
    LANDLOCK,
    NETWORK,
    NFTABLES,
    PROCESSES,
    USERS,
    PortClaim,
    ReachClaim,
    Section,
    Statement,
)
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    AllowForwarding,
    AllowPorts,
    ClaimHost,
    EnsureBridge,
    EnsureResolver,
    EnsureRules,
    Execute,
    JoinNetwork,
    PrepareLink,
    SendNetlink,
    SetCapabilities,
    SetSysctl,
    StartGuard,
)
from volt.plan.bridge_rules import join
from volt.plan.explain_places import entered
from volt.plan.explain_ports import published_ports
from volt.plan.explain_words import plain, ports
from volt.plan.names import HOLDER_PARTS, NO_RESOLVERS

PRIVATE = "--private-network"
LAST_PORT = 65535
# ip(7): from here on anybody may bind, unless ip_unprivileged_port_start says otherwise.
FIRST_FREE = 1024
PORT_START = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def network_sections(plan: LaunchPlan) -> tuple[Section, ...]:
    """Bind, connect, and what else of the machine is in reach."""
    private = is_private(plan)
    bridge = bridge_of(plan)
    network = _bridged(plan, bridge) if bridge else _network(private)
    return (
        Section("bind", "Ports that it may bind", (*_ports(plan, "bind"), *_low_ports(plan), *_udp(plan))),
        Section("connect", "Ports that it may connect to", tuple(_ports(plan, "connect"))),
        Section("reach", "What else it reaches", (*network, *_processes(plan), *_sockets(plan, private))),
    )


def is_private(plan: LaunchPlan) -> bool:
    """Whether the workload has a network namespace of its own."""
    return any(PRIVATE in map(plain, step.argv) for step in plan.guard if isinstance(step, Execute))


def bridge_of(plan: LaunchPlan) -> EnsureBridge | None:
    """The bridge that the workload is connected to, None where it is to none."""
    joins = any(isinstance(step, JoinNetwork) for step in plan.init)
    return next((step for step in plan.host if isinstance(step, EnsureBridge)), None) if joins else None


def _withheld(plan: LaunchPlan) -> set[str]:
    """The rights to ports, and the scopes, that Landlock withholds."""
    return {right for one in entered(plan) for right in (*one.ports, *one.scopes)}


def _ports(plan: LaunchPlan, act: str) -> Iterator[Statement]:
    """The claims on ports to bind begin where it takes no right that the workload lacks."""
    right, first = f"{act}_tcp", _first_port(plan) if act == "bind" else 1
    rest = PortClaim(act, 1, LAST_PORT, allowed=False)
    if right not in _withheld(plan) and (rules := _filtered(plan).get(right)) is not None:
        yield _by_nftables(act, rules, first)
        return
    if right not in _withheld(plan):
        yield Statement(_any_port(act, plan), (), (PortClaim(act, first, LAST_PORT, allowed=True),))
        return
    rules = [(one.first, one.last) for one in plan.init if isinstance(one, AllowPorts) and right in one.access]
    verb = "binds" if act == "bind" else "connects to"
    if not rules:
        yield Statement(f"It {verb} no TCP port.", (LANDLOCK,), (rest,))
        return
    able = [(max(first, low), high) for low, high in rules if high >= first]
    claims = tuple(PortClaim(act, low, high, allowed=True) for low, high in able)
    yield Statement(f"It {verb} TCP {ports(rules)} alone.", (LANDLOCK,), (*claims, rest))


def _filtered(plan: LaunchPlan) -> Mapping[str, list[tuple[int, int]]]:
    """The ports that nftables rules let through, by the right of Landlock in whose place they stand."""
    notes = {one.note.partition(": ")[2] for one in plan.init if isinstance(one, SendNetlink)}
    found = (part.partition(" ") for note in notes for part in note.split("; "))
    return {right: [_range(each) for each in listed.split(", ") if each != "none"] for right, _, listed in found}


def _range(written: str) -> tuple[int, int]:
    first, _, last = written.partition("-")
    return int(first), int(last or first)


def _by_nftables(act: str, rules: list[tuple[int, int]], first: int) -> Statement:
    """Such a rule refuses the connection, and leaves bind(2) alone."""
    if act == "bind":
        reached = f"only {ports(rules)} can be connected to" if rules else "none can be connected to"
        claims = (PortClaim(act, first, LAST_PORT, allowed=True),)
        return Statement(f"It may bind any TCP port; {reached}.", (NFTABLES,), claims)
    given = tuple(PortClaim(act, low, high, allowed=True) for low, high in rules)
    text = f"It connects to TCP {ports(rules)} alone." if rules else "It connects to no TCP port."
    return Statement(text, (NFTABLES,), (*given, PortClaim(act, 1, LAST_PORT, allowed=False)))


def _any_port(act: str, plan: LaunchPlan) -> str:
    bridge, private = bridge_of(plan), is_private(plan)
    if act == "bind" and bridge:
        return f"It may bind any TCP port, where the host and the workloads on {plain(bridge.label)} reach it."
    if act == "bind":
        return "It may bind any TCP port" + (", where nothing outside reaches it." if private else " of the host's.")
    own = private and not bridge
    return "It may connect to any TCP port" + (" of its own." if own else ", wherever the host's network leads.")


def _first_port(plan: LaunchPlan) -> int:
    """The first port that the workload's capabilities let it bind; in the host's network they do not count."""
    if any(isinstance(step, SetSysctl) and plain(step.path) == PORT_START for step in plan.init):
        return 1
    able = any("NET_BIND_SERVICE" in one.caps for one in plan.payload if isinstance(one, SetCapabilities))
    return 1 if able and is_private(plan) else FIRST_FREE


def _low_ports(plan: LaunchPlan) -> Iterator[Statement]:
    if not is_private(plan):
        text = "It cannot bind ports below the host's net.ipv4.ip_unprivileged_port_start."
        yield Statement(text, (USERS,))
    elif _first_port(plan) > 1:
        text = f"It cannot bind ports below {FIRST_FREE}: it lacks NET_BIND_SERVICE."
        yield Statement(text, (CAPABILITIES,), (PortClaim("bind", 1, FIRST_FREE - 1, allowed=False),))


def _udp(plan: LaunchPlan) -> Iterator[Statement]:
    if _withheld(plan) & {"bind_tcp", "connect_tcp"}:
        yield Statement("No rule is on UDP: its ports are free to bind and to send to.")


def _bridged(plan: LaunchPlan, bridge: EnsureBridge) -> Iterator[Statement]:
    label = plain(bridge.label)
    claim = ReachClaim("network", allowed=False)
    yield Statement("It has interfaces of its own alone, and none of the host's.", (NETWORK,), (claim,))
    inside = any(isinstance(step, PrepareLink) and step.join == join(label, internal=True) for step in plan.host)
    beyond = "and nothing else" if inside else "and through the host whatever the host reaches"
    reaches = f"it reaches the host and the other workloads there, {beyond}"
    yield Statement(f"One is on the bridge {label} ({bridge.note.replace(' ', ', ')}): {reaches}.")
    ports = tuple(published_ports(plan))
    yield from ports
    if any(isinstance(step, EnsureRules) for step in plan.host):
        unless = " but by these ports" if ports else ""
        yield Statement(f"Nothing outside the host reaches it{unless}.", (NFTABLES,))
        others = "no other sender's, no router's advertisement, no DHCP server's answer"
        yield Statement(f"What it sends bears its own addresses: {others}.", (NFTABLES,))
    yield from _names(plan, label)
    if any(isinstance(step, AllowForwarding) for step in plan.host):
        yield Statement("The host forwards packets from then on, between its other interfaces too.")


def _names(plan: LaunchPlan, label: str) -> Iterator[Statement]:
    """What a claim holds besides its comment are names that are answered for."""
    for step in plan.host:
        if isinstance(step, ClaimHost) and len(step.content) > HOLDER_PARTS:
            name = plain(step.label)
            yield Statement(f"Workloads on {label} find it by the names {name} and {name}.volt.")
    for step in plan.host:
        if isinstance(step, EnsureResolver):
            alone = NO_RESOLVERS in map(plain, step.argv)
            others = "no other name is asked for" if alone else "for other names the host's resolvers are asked"
            yield Statement(f"It finds them by theirs; {others}.")


def _network(private: bool) -> Iterator[Statement]:
    claim = ReachClaim("network", allowed=not private)
    if private:
        yield Statement("It has a loopback interface of its own and no other network.", (NETWORK,), (claim,))
    else:
        yield Statement("It has the host's interfaces, and reaches what the host reaches.", (), (claim,))


def _processes(plan: LaunchPlan) -> Iterator[Statement]:
    guarded = any(isinstance(one, StartGuard) for one in plan.host)
    walls = (PROCESSES,) * guarded + (LANDLOCK,) * ("signal" in _withheld(plan))
    claim = ReachClaim("processes", allowed=not guarded)
    if guarded:
        yield Statement("It sees and signals its own processes alone.", walls, (claim,))
    else:
        yield Statement("It sees the host's processes.", walls, (claim,))


def _sockets(plan: LaunchPlan, private: bool) -> Iterator[Statement]:
    """Abstract Unix sockets belong to a network namespace, unix(7)."""
    walls = (NETWORK,) * private + (LANDLOCK,) * ("abstract_unix_socket" in _withheld(plan))
    claim = ReachClaim("abstract sockets", allowed=not walls)
    if walls:
        yield Statement("It reaches no abstract Unix socket of the host's.", walls, (claim,))
    else:
        yield Statement("It reaches the host's abstract Unix sockets.", (), (claim,))
