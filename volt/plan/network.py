"""A workload on a bridge: what is claimed, what the host has to have, and the links between the two.

An address is claimed as a name is: by a file whose lock dies with its holder, before the run is recorded. So /etc/hosts
and the record can have it, and a workload that starts again finds it free while the kernel still takes down the links
of its last run. Everything else follows from the address: the link's name, the MAC, the IPv6 addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import cast

from volt.errors import HostUnfit
from volt.model.facts import Bridge, Facts
from volt.model.findings import Finding, quote
from volt.model.folders import NETWORKS_FOLDER
from volt.model.modes import NetworkMode
from volt.model.networks import DEFAULT, DEFINITIONS, ENDING
from volt.model.part import Part
from volt.model.steps import (
    AllowForwarding,
    ClaimAddress,
    EnsureBridge,
    EnsureRules,
    JoinNetwork,
    MakeFolder,
    PrepareLink,
    SetSysctl,
)
from volt.model.text import ADDRESS, GROUPS, Text, text
from volt.model.workload import Workload
from volt.plan import connections, links
from volt.plan.bridge_rules import ABOVE, host_rules, join, known, permit, silence
from volt.plan.published import check_ports, claim_steps, held, publish_steps, shown

ADDRESSES = "addresses"
KEY = "network.mode"
NAME_KEY = "network.name"
ADDRESS_KEY = "network.address"
# In the workload's own network namespace; what stays closed there is closed by other walls.
SYSCTLS = (
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", "every port is its own"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 65535", "ping(8) without NET_RAW"),
)
# Before there is a link, which would begin to ask: what answers is dropped, and all other links hear it.
NO_ROUTERS = ("/proc/sys/net/ipv6/conf/default/accept_ra", "0", "no router is asked for: volt gives the routes")


def check_bridge(workload: Workload, facts: Facts) -> Iterator[Finding]:
    """What forbids to join the bridge, in the words of the manifest."""
    bridge = facts.bridge
    if bridge is None:
        return
    if not bridge.label:
        yield from _unknown(bridge)
        return
    custom = workload.network.joined == NetworkMode.CUSTOM
    if bridge.internal and workload.network.ports:
        message = f"nothing outside reaches a workload on {bridge.network}, which is internal"
        hint = "remove them: its peers and the host reach each of its ports, or join another network"
        yield Finding("published-internal", "network.ports", message, hint)
    if bridge.problem:
        hint = f"write another subnet in {_where(bridge)}"
        key = NAME_KEY if custom else KEY
        yield Finding("no-subnet", key, f"there can be no bridge {bridge.label}: {bridge.problem}", hint)
    elif workload.network.address and _given(workload.network.address, bridge) is None:
        first, last = _usable(bridge)
        hint = f"write an address from {first} to {last}, or none"
        message = f"{workload.network.address} is none that a workload on {bridge.label} can have"
        yield Finding("foreign-address", ADDRESS_KEY, message, hint)
    yield from check_ports(workload, bridge)


def _unknown(bridge: Bridge) -> Iterator[Finding]:
    if bridge.network:  # without a name that is found as no-network
        known = f"did you mean '{bridge.near}'? else " if bridge.near else ""
        hint = f"{known}make it first: volt net create {bridge.network}"
        yield Finding("unknown-network", NAME_KEY, f"this machine has no network {quote(bridge.network)}", hint)


def _where(bridge: Bridge) -> str:
    """What says which subnet a network has."""
    own = f"{DEFINITIONS}/{bridge.network}{ENDING}"
    return "[network] of /etc/volt/config.toml" if bridge.network == DEFAULT else own


def claims(workload: Workload, facts: Facts) -> Part:
    """The address, from which all else follows."""
    bridge = _bridge(facts)
    folder = _folder(bridge)
    base, count, first = candidates(workload, bridge)
    note = ADDRESS_KEY if workload.network.address else "from the name"
    made = ((NETWORKS_FOLDER, 0o711), (folder, 0o711), (f"{folder}/{ADDRESSES}", 0o700))
    return Part(
        host=(
            *(MakeFolder(path=text(path), mode=mode, keep=True, shared=True) for path, mode in made),
            ClaimAddress(folder=text(f"{folder}/{ADDRESSES}"), base=base, count=count, first=first, note=note),
            *claim_steps(workload, bridge, f"{folder}/{ADDRESSES}"),
        )
    )


def folder_of(facts: Facts) -> str:
    """What is known of the networks of the network namespace."""
    return _folder(_bridge(facts))


def network_part(workload: Workload, facts: Facts) -> Part:
    """The bridge, found or made, and the steps that connect the workload to it."""
    bridge = _bridge(facts)
    gateway, gateway6 = gateways(bridge)
    rules = host_rules()
    record = text(f"{_folder(bridge)}/sysctls")
    mend = links.mend_bridge(gateway, gateway6)
    make = links.make_bridge(bridge.label, gateway, bridge.mtu)
    forwarding = (AllowForwarding(record=record, ipv6=gateway6 is not None),)
    return Part(
        host=(
            *(() if bridge.internal else forwarding),
            EnsureBridge(
                label=text(bridge.label),
                address=int(gateway.ip),
                address6=gateway6.packed if gateway6 else b"",
                make=make,
                mend=mend,
                note=_said(bridge),
            ),
            EnsureRules(
                ask=rules.ask,
                mark=rules.mark,
                count=rules.count,
                make=rules.make,
                known=known(bridge.label, internal=bridge.internal),
            ),
            connections.forgotten(ABOVE, bridge.label, gateway6, silence(gateway6)),
            *publish_steps(workload, bridge, record),
            _link(bridge),
        ),
        init=(
            *((_sysctl(*NO_ROUTERS),) if gateway6 else ()),
            JoinNetwork(note=KEY),
            *(_sysctl(*one) for one in SYSCTLS),
        ),
    )


def _sysctl(path: str, value: str, note: str) -> SetSysctl:
    return SetSysctl(path=text(path), value=text(value), note=note)


def _link(bridge: Bridge) -> PrepareLink:
    """What connects the workload, once it has a network namespace."""
    gateway, gateway6 = gateways(bridge)
    return PrepareLink(
        folder=text(f"{_folder(bridge)}/{ADDRESSES}"),
        base=int(gateway.network.network_address),
        mask=int(gateway.netmask),
        create=links.create_links(bridge.mtu),
        adopt=links.adopt_link(gateway6),
        permit=permit(gateway6),
        doubt=connections.note(ABOVE, gateway6),
        configure=links.configure(gateway, gateway6, way_out=not bridge.internal),
        remove=links.remove_link(),
        join=join(bridge.label, internal=bridge.internal),
        note=KEY,
    )


def gateways(bridge: Bridge) -> tuple[IPv4Interface, IPv6Interface | None]:
    """The bridge's own addresses: the first of each subnet."""
    subnet = ip_network(bridge.subnet)
    gateway = cast("IPv4Interface", ip_interface(f"{subnet[1]}/{subnet.prefixlen}"))
    if not bridge.subnet6:
        return gateway, None
    six = ip_network(bridge.subnet6)
    return gateway, cast("IPv6Interface", ip_interface(f"{six[1]}/{six.prefixlen}"))


def addresses(bridge: Bridge) -> tuple[Text, Text]:
    """The workload's own, IPv4 and IPv6, the latter () without."""
    gateway6 = gateways(bridge)[1]
    if gateway6 is None:
        return text(ADDRESS), ()
    head = gateway6.packed[:12].hex()
    groups = [f"{int(head[at : at + 4], 16):x}" for at in range(0, 24, 4)]
    while groups and groups[-1] == "0":
        groups.pop()
    between = ":" if len(groups) == 6 else "::"
    return text(ADDRESS), text(":".join(groups) + between, GROUPS)


def published(workload: Workload, bridge: Bridge) -> Iterator[Text]:
    """Its ports on the host, as the record has them."""
    return shown(held(workload, bridge))


def candidates(workload: Workload, bridge: Bridge) -> tuple[int, int, int]:
    """(base, count, first): `count` addresses from `base`, to be tried from number `first` on, going round. `first`
    follows from the name, so that a workload usually gets the same address again."""
    first, last = (int(ip_address(one)) for one in _usable(bridge))
    if workload.network.address:
        given = _given(workload.network.address, bridge)
        if given is None:
            raise HostUnfit(f"{workload.network.address} is not an address of {bridge.label}")
        return given, 1, 0
    count = last - first + 1
    digest = hashlib.sha256(workload.name.encode()).digest()
    return first, count, int.from_bytes(digest[:4], "little") % count


def _usable(bridge: Bridge) -> tuple[str, str]:
    """The first and last IPv4 address of a workload: behind the gateway, before the broadcast address."""
    subnet = ip_network(bridge.subnet)
    return str(subnet[2]), str(subnet[-2])


def _given(written: str, bridge: Bridge) -> int | None:
    """The IPv4 address that the manifest asks for, or that its IPv6 address comes with; None where it cannot be."""
    one = ip_interface(written)
    first, last = (int(ip_address(end)) for end in _usable(bridge))
    own = bridge.subnet if one.version == 4 else bridge.subnet6
    if not own or one.ip not in ip_network(own) or ("/" in written and str(one.network) != own):
        return None
    number = int(one.ip) & 0xFFFFFFFF
    whole = one.version == 4 or one.packed[:12] == ip_network(own).network_address.packed[:12]
    return number if whole and first <= number <= last else None


def _bridge(facts: Facts) -> Bridge:
    if facts.bridge is None:
        raise ValueError("these facts are without the bridge that the workload joins")
    return facts.bridge


def _folder(bridge: Bridge) -> str:
    """What is known of the networks of one network namespace."""
    return f"{NETWORKS_FOLDER}/{bridge.namespace}"


def _said(bridge: Bridge) -> str:
    return " ".join(filter(None, (bridge.subnet, bridge.subnet6, "internal" * bridge.internal)))
