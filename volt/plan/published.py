"""Published ports of a workload on a bridge: what holds them on the host, and what leads from there to the workload.

A port without an address is published on every address of the host's, IPv4 and IPv6; one without a port of the host's
gets one that is free when it is launched, the same of both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from volt.model.facts import Bridge
from volt.model.findings import Finding
from volt.model.steps import ClaimPorts, PreparePorts, RelayLoopback, RouteLoopback, Step
from volt.model.text import ADDRESS, Message, Slot, Text, text
from volt.model.text import port as port_slot
from volt.model.values import Value
from volt.model.workload import Workload
from volt.plan.bridge_rules import ABOVE
from volt.plan.connections import of_protocol
from volt.plan.port_rules import PROTOCOLS, UDP, Element, published, taken_back

KEY = "network.ports"
MOST = 512  # of a workload: volt/native/ports.h
EVERY = "*"  # address of both families
_ALL = {4: "0.0.0.0", 6: "::"}  # noqa: S104 (nothing is bound here)


class Held(Value):
    """One socket of the host's: its place in claim-ports, protocol, address, port (None: a free one), and the
    workload's port."""

    number: int
    protocol: str
    address: str
    port: int | None
    inside: int

    @property
    def outside(self) -> int | Slot:
        """The host's port, or the slot for it."""
        return port_slot(self.number) if self.port is None else self.port

    @property
    def addresses(self) -> tuple[str, ...]:
        return (_ALL[4], _ALL[6]) if self.address == EVERY else (self.address,)


def check_ports(workload: Workload, bridge: Bridge) -> Iterator[Finding]:
    """What forbids to publish them, in the words of the manifest."""
    ports = workload.network.ports
    if len(ports) > MOST:
        message = f"{len(ports)} ports are too many: each is held by a socket"
        yield Finding("too-many-ports", KEY, message, f"publish at most {MOST}")
    if not bridge.subnet6 and (six := next((one.address for one in ports if one.address and ":" in one.address), None)):
        message = f"[{six}]: {bridge.label} has no IPv6"
        yield Finding("no-ipv6", KEY, message, "remove it, or let the host have IPv6: net.ipv6.conf.all.disable_ipv6")


def held(workload: Workload, bridge: Bridge) -> tuple[Held, ...]:
    """The sockets that hold its ports."""
    every = EVERY if bridge.subnet6 else _ALL[4]
    ports = enumerate(workload.network.ports)
    return tuple(Held(n, port.protocol, port.address or every, port.host, port.container) for n, port in ports)


def claim_steps(workload: Workload, bridge: Bridge, folder: str) -> tuple[Step, ...]:
    """The sockets; `folder` is where addresses are claimed."""
    sockets = tuple(_words(one) for one in held(workload, bridge))
    return (ClaimPorts(folder=text(folder), label=text(workload.name), sockets=sockets, note=KEY),) if sockets else ()


def publish_steps(workload: Workload, bridge: Bridge, record: Text) -> tuple[Step, ...]:
    """What will lead to the workload, and what lets 127.0.0.1 do so: the rules let no workload and nobody outside use
    that."""
    sockets = held(workload, bridge)
    if not sockets:
        return ()
    found = tuple(element for one in sockets for element in _elements(one, bridge))
    label, note = text(bridge.label), f"{KEY} at 127.0.0.1"
    routed = any(_on_loopback(one) for one in sockets)
    return (
        *((RouteLoopback(label=label, record=record, note=note),) if routed else ()),
        PreparePorts(
            publish=published(ABOVE, found),
            remove=taken_back(ABOVE, found),
            earlier=of_protocol(UDP) if any(one.protocol == "udp" for one in sockets) else b"",
            note=KEY,
        ),
        *((RelayLoopback(address6=(_prefix(bridge), ADDRESS), note=f"{KEY} at [::1]"),) if _relayed(sockets) else ()),
    )


def shown(sockets: Sequence[Held]) -> Iterator[Text]:
    """Each address with its port as people read it: 0.0.0.0:8080->80/tcp."""
    for one in sockets:
        for address in one.addresses:
            front = f"[{address}]" if ":" in address else address
            yield text(f"{front}:", *_number(one), f"->{one.inside}/{one.protocol}")


def _on_loopback(one: Held) -> bool:
    return any(ip_address(address).is_loopback or address == _ALL[4] for address in one.addresses if ":" not in address)


def _relayed(sockets: Sequence[Held]) -> bool:
    """Whether somebody can come to one at [::1]."""
    return any(address in (_ALL[6], "::1") for one in sockets for address in one.addresses)


def _prefix(bridge: Bridge) -> bytes:
    """What an IPv4 address of the bridge has before it where it is an IPv6 address."""
    return ip_address(bridge.subnet6.partition("/")[0]).packed[:12]


def _words(one: Held) -> Text:
    """As claim-ports has it."""
    return text(f"{one.protocol} {one.address} {one.port or 0} {one.inside}")


def _number(one: Held) -> Text:
    return (str(one.port),) if one.port is not None else (one.outside,)  # type: ignore[return-value]


def _elements(one: Held, bridge: Bridge) -> Iterator[Element]:
    for written in one.addresses:
        address = ip_address(written)
        if address.version == 6 and address.is_loopback:
            continue
        outside = one.outside if isinstance(one.outside, Slot) else struct.pack(">HH", one.outside, 0)
        key: Message = (bytes([PROTOCOLS[one.protocol], 0, 0, 0]) + address.packed, outside)
        front = _prefix(bridge) if address.version == 6 else b""
        yield Element(address.version, key, (front, ADDRESS, struct.pack(">HH", one.inside, 0)))
