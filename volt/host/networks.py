"""The bridge that workloads join on this machine: its subnets, which no route of the host's may overlap; resolvers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from volt.host.files import lines, read_text
from volt.host.settings import Settings, read_settings
from volt.model.facts import Bridge

if TYPE_CHECKING:
    Network = IPv4Network | IPv6Network

NAMESPACE = "/proc/self/ns/net"
# Tried in this order where the settings name none: what docker, podman, libvirt, LXD and Kubernetes leave free.
SUBNETS = ("10.189.0.0/16", "10.203.0.0/16", "172.29.0.0/16", "10.77.0.0/16", "192.168.189.0/24")
MACHINE = "/etc/machine-id"
RESOLVED = "/run/systemd/resolve/resolv.conf"
# Held by no machine: what follows from it says nothing about the machine's own number, machine-id(5).
_PURPOSE = b"volt: unique local addresses"


def probe_bridge(settings: Settings | None = None, *, proc: str = "/proc/self/net", machine: str = MACHINE) -> Bridge:
    """The bridge as it is set, or by default, in this network namespace. Raises VoltError for settings that are none.

    What cannot be is said in `problem`. Where the bridge is there already, its subnet is the one by default.
    """
    settings = settings or read_settings()
    routes = tuple(_routes(proc))
    subnet, problem = _subnet(settings, routes)
    six = _subnet6(settings, machine) if read_text(f"{proc}/if_inet6") else ""
    if six and not problem and (taken := _overlapping(ip_network(six), settings.bridge, routes)):
        problem = f"its subnet {six} overlaps {taken}"
    namespace = os.stat(NAMESPACE).st_ino  # noqa: PTH116 (paths are text here)
    return Bridge(settings.bridge, subnet, six, settings.mtu, namespace, problem)


def _subnet(settings: Settings, routes: tuple[tuple[str, Network], ...]) -> tuple[str, str]:
    """The IPv4 subnet, and what is wrong with it."""
    own = [str(route) for interface, route in routes if interface == settings.bridge and route.version == 4]
    if settings.subnet:
        taken = _overlapping(ip_network(settings.subnet), settings.bridge, routes)
        if own and settings.subnet not in own:
            return settings.subnet, f"its subnet is {settings.subnet}, and {settings.bridge} is there with {own[0]}"
        return settings.subnet, f"its subnet {settings.subnet} overlaps {taken}" if taken else ""
    if kept := next((one for one in SUBNETS if one in own), ""):  # whatever has been routed since
        return kept, ""
    if own:
        return own[0], f"{settings.bridge} is there with {own[0]}, and no subnet is set"
    for candidate in SUBNETS:
        if not _overlapping(ip_network(candidate), settings.bridge, routes):
            return candidate, ""
    return SUBNETS[0], f"each subnet that it could have overlaps a route of the host's: {', '.join(SUBNETS)}"


def _subnet6(settings: Settings, machine: str) -> str:
    """Unique local, RFC 4193: 40 bits that are this machine's, and a subnet of the bridge's own."""
    if settings.subnet6:
        return settings.subnet6
    known = read_text(machine).strip().encode() or b"no machine-id"
    digest = hashlib.blake2s(_PURPOSE, key=known[:32], digest_size=5).digest()
    number = hashlib.sha256(settings.bridge.encode()).digest()[:2]
    return str(IPv6Network((b"\xfd" + digest + number + bytes(8), 64)))


def _overlapping(subnet: Network, bridge: str, routes: tuple[tuple[str, Network], ...]) -> str:
    """The first route of another interface that leads into a subnet, "" where there is none."""
    for interface, route in routes:
        if interface != bridge and route.version == subnet.version and route.overlaps(subnet):
            return f"the route {route} of {interface}"
    return ""


def _routes(proc: str) -> Iterator[tuple[str, Network]]:
    """(interface, network) of every route but the default ones and those of lo: Documentation/networking/
    ip-sysctl.rst has no word on the files; net/ipv4/fib_trie.c and net/ipv6/route.c write them."""
    for line in lines(read_text(f"{proc}/route"))[1:]:
        words = line.split()
        if len(words) > 7 and words[7] != "00000000":
            address, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 7))
            yield words[0], IPv4Network((address, mask.bit_count()), strict=False)
    for line in lines(read_text(f"{proc}/ipv6_route")):
        words = line.split()
        if len(words) == 10 and words[1] != "00" and words[9] != "lo":
            yield words[9], IPv6Network((bytes.fromhex(words[0]), int(words[1], 16)), strict=False)


# ── resolvers


def upstream(text: str, resolved: str = RESOLVED) -> str:
    """What is left of a resolv.conf(5) without the resolvers that this machine alone reaches. Where that leaves none,
    those that systemd-resolved asks itself, systemd-resolved.service(8)."""
    left = _reachable(text)
    return left if "nameserver" in left else _reachable(read_text(resolved))


def _reachable(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not _is_own(line.split()))


def _is_own(words: list[str]) -> bool:
    """Whether a line names a resolver at a loopback or a link-local address."""
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        address = ip_address(words[1])
    except ValueError:
        return True  # resolv.conf(5) knows no names
    return address.is_loopback or address.is_link_local or address.is_unspecified
