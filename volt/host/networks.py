"""The networks that workloads join on this machine: subnets, which no route of the host's may overlap; resolvers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import count

from volt.errors import NetworkError
from volt.host.definitions import names, outlines
from volt.host.files import lines, read_text
from volt.host.settings import Settings, read_settings
from volt.model.facts import Bridge
from volt.model.networks import DEFAULT, DEFINITIONS, Definition, bridges_of
from volt.model.values import Value, replace

Network = IPv4Network | IPv6Network

NAMESPACE = "/proc/self/ns/net"
PROC = "/proc/self/net"
# Tried in this order where the settings name none: what docker, podman, libvirt, LXD and Kubernetes leave free.
SUBNETS = ("10.189.0.0/16", "10.203.0.0/16", "172.29.0.0/16", "10.77.0.0/16", "192.168.189.0/24")
MACHINE = "/etc/machine-id"
RESOLVED = "/run/systemd/resolve/resolv.conf"
# Held by no machine: what follows from it says nothing about the machine's own number, machine-id(5).
_PURPOSE = b"volt: unique local addresses"


class Taken(Value):
    """A subnet that is not free, and what takes it, in words. `interface` is the one that it lies at, "" for none."""

    subnet: Network
    by: str
    interface: str = ""


def probe_bridge(
    network: Definition | None = None,
    settings: Settings | None = None,
    *,
    proc: str = PROC,
    machine: str = MACHINE,
    folder: str = DEFINITIONS,
) -> Bridge:
    """The bridge of a network in this network namespace: of one of this machine's own, or without one the bridge as it
    is set, or by default. Raises VoltError for settings that are none.

    What cannot be is said in `problem`. Where the bridge is there already, its subnet is the one by default.
    """
    settings = settings or read_settings()
    name = network.name if network else DEFAULT
    others = tuple(_others(name, settings, folder))
    taken = (*_defined(others), *_routes(proc))
    if network:
        values = {"subnet": network.subnet, "subnet6": network.subnet6, "mtu": network.mtu}
        settings = replace(settings, bridge=network.bridge, **values)
    subnet, problem = _subnet(settings, taken)
    six = (settings.subnet6 or _subnet6(settings.bridge, machine)) if read_text(f"{proc}/if_inet6") else ""
    if six and not problem and (overlapped := overlap(six, taken, settings.bridge)):
        problem = f"its subnet {six} overlaps {overlapped}"
    if same := next((one.name for one in others if one.bridge == settings.bridge), ""):
        problem = f"the network {same} has a bridge of that name"
    internal = network is not None and network.internal
    return Bridge(settings.bridge, subnet, six, settings.mtu, namespace(), problem, name, internal)


def no_bridge(name: str, folder: str = DEFINITIONS) -> Bridge:
    """What there is of a network that is not known."""
    import difflib

    near = next(iter(difflib.get_close_matches(name, names(folder), 1)), "")
    return Bridge("", "", "", 0, namespace(), network=name, near=near)


def namespace() -> int:
    """The inode of this network namespace."""
    return os.stat(NAMESPACE).st_ino  # noqa: PTH116 (paths are text here)


def _others(name: str, settings: Settings, folder: str) -> Iterator[Definition]:
    """Every network but this one, as far as its definition can be read."""
    if name != DEFAULT:
        yield Definition(DEFAULT, settings.subnet, settings.bridge, settings.subnet6)
    yield from (one for one in outlines(folder) if one.name != name)


def _defined(networks: Iterable[Definition]) -> Iterator[Taken]:
    for one in networks:
        for subnet in filter(None, (one.subnet, one.subnet6)):
            yield Taken(ip_network(subnet), f"the network {one.name}, which has {subnet}")


def _subnet(settings: Settings, taken: tuple[Taken, ...]) -> tuple[str, str]:
    """The IPv4 subnet, and what is wrong with it."""
    own = [str(one.subnet) for one in taken if one.interface == settings.bridge and one.subnet.version == 4]
    if settings.subnet:
        overlapped = overlap(settings.subnet, taken, settings.bridge)
        if own and settings.subnet not in own:
            return settings.subnet, f"its subnet is {settings.subnet}, and {settings.bridge} is there with {own[0]}"
        return settings.subnet, f"its subnet {settings.subnet} overlaps {overlapped}" if overlapped else ""
    if kept := next((one for one in SUBNETS if one in own), ""):  # whatever has been routed since
        return kept, ""
    if own:
        return own[0], f"{settings.bridge} is there with {own[0]}, and no subnet is set"
    for candidate in SUBNETS:
        if not overlap(candidate, taken, settings.bridge):
            return candidate, ""
    return SUBNETS[0], f"each subnet that it could have overlaps a route of the host's: {', '.join(SUBNETS)}"


def _subnet6(bridge: str, machine: str) -> str:
    """Unique local, RFC 4193: 40 bits that are this machine's, and a subnet of the bridge's own."""
    known = read_text(machine).strip().encode() or b"no machine-id"
    digest = hashlib.blake2s(_PURPOSE, key=known[:32], digest_size=5).digest()
    number = hashlib.sha256(bridge.encode()).digest()[:2]
    return str(IPv6Network((b"\xfd" + digest + number + bytes(8), 64)))


def overlap(subnet: str, taken: Iterable[Taken], bridge: str = "") -> str:
    """What takes a part of a subnet already, but for the bridge itself; "" where nothing does."""
    wanted = ip_network(subnet)
    found = (one for one in taken if not bridge or one.interface != bridge)
    return next((one.by for one in found if one.subnet.version == wanted.version and one.subnet.overlaps(wanted)), "")


def choose(
    asked: Definition,
    settings: Settings | None = None,
    *,
    proc: str = PROC,
    machine: str = MACHINE,
    folder: str = DEFINITIONS,
) -> Definition:
    """A new network, whole: what `asked` leaves open is picked so that it takes nobody's place. Raises NetworkError
    for what it asks for and somebody has."""
    own = probe_bridge(None, settings, proc=proc, machine=machine, folder=folder)
    default = Definition(DEFAULT, own.subnet, own.label, own.subnet6)
    others = (default, *outlines(folder))
    taken = (*_defined(others), *_routes(proc))
    for subnet in filter(None, (asked.subnet, asked.subnet6)):
        if overlapped := overlap(subnet, taken):
            message = f"{subnet} overlaps {overlapped}"
            raise NetworkError(message, hint="choose another one, or none: then a free one is taken")
    used = {one.bridge for one in others} | {line.partition(":")[0].strip() for line in lines(read_text(f"{proc}/dev"))}
    bridge = next(one for one in bridges_of(asked.name) if one not in used)
    six = asked.subnet6 or next(free for free in _sixes(bridge, machine) if not overlap(free, taken))
    return replace(asked, bridge=bridge, subnet=asked.subnet or _free(taken), subnet6=six)


def _free(taken: Iterable[Taken]) -> str:
    """The first /24 of the pools that nothing overlaps."""
    for pool in SUBNETS:
        for one in ip_network(pool).subnets(new_prefix=24):
            if not overlap(str(one), taken):
                return str(one)
    hint = "give it one: --subnet CIDR"
    raise NetworkError(f"no subnet is free: routes and networks take all of {', '.join(SUBNETS)}", hint=hint)


def _sixes(bridge: str, machine: str) -> Iterator[str]:
    """One after the other where another bridge has the same number."""
    return (_subnet6(bridge + "+" * more, machine) for more in count())


def _routes(proc: str) -> Iterator[Taken]:
    """Every route but the default ones and those of lo: Documentation/networking/
    ip-sysctl.rst has no word on the files; net/ipv4/fib_trie.c and net/ipv6/route.c write them."""
    for line in lines(read_text(f"{proc}/route"))[1:]:
        words = line.split()
        if len(words) > 7 and words[7] != "00000000":
            address, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 7))
            yield _route(IPv4Network((address, mask.bit_count()), strict=False), words[0])
    for line in lines(read_text(f"{proc}/ipv6_route")):
        words = line.split()
        if len(words) == 10 and words[1] != "00" and words[9] != "lo":
            yield _route(IPv6Network((bytes.fromhex(words[0]), int(words[1], 16)), strict=False), words[9])


def _route(to: Network, interface: str) -> Taken:
    return Taken(to, f"the route {to} of {interface}", interface)


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
