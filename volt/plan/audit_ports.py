"""What leads from the host's ports to a run beside what it publishes: a pure function of both."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from volt.model.audit import Point
from volt.model.plan import LaunchPlan
from volt.model.steps import PreparePorts
from volt.plan.bridge_rules import ABOVE
from volt.plan.explain_words import names
from volt.plan.port_rules import FAMILIES, PROTOCOLS

NAME = "network.ports"
NONE = "none"


def listings() -> tuple[bytes, ...]:
    """Netlink messages that ask for all that is published on a machine."""
    return tuple(ABOVE.elements(family.keys) for family in FAMILIES.values())


def port_points(
    plan: LaunchPlan, ports: Sequence[str], own: Sequence[str], there: Mapping[bytes, bytes]
) -> Iterator[Point]:
    """One point where it publishes anything; `ports` as its record has them, `own` its addresses, `there` what the
    maps have, by key. Whatever else leads to it is wrong too."""
    if not any(isinstance(step, PreparePorts) for step in plan.host):
        return
    addresses: dict[int, bytes] = {ip_address(one).version: ip_address(one).packed for one in own if one}
    planned = dict(found for one in ports if (found := _element(one, addresses)))
    missing = [_said(key) for key, value in planned.items() if there.get(key) != value]
    more = [_said(key) for key, value in there.items() if value[:-4] in addresses.values() and key not in planned]
    wrong = [*(f"{one} does not lead to it" for one in missing), *(f"{one} leads to it too" for one in more)]
    shown = names([_said(key) for key in planned]) or NONE
    yield Point(NAME, shown, "; ".join(wrong) or shown, not wrong)


def _element(port: str, own: Mapping[int, bytes]) -> tuple[bytes, bytes] | None:
    """The element for 0.0.0.0:8080->80/tcp; None where there is none."""
    front, _, behind = port.partition("->")
    written, _, number = front.rpartition(":")
    inside, _, protocol = behind.partition("/")
    address = ip_address(written.strip("[]"))
    if address.version == 6 and address.is_loopback:
        return None
    key = bytes([PROTOCOLS[protocol], 0, 0, 0]) + address.packed + struct.pack(">HH", int(number), 0)
    return key, own[address.version] + struct.pack(">HH", int(inside), 0)


def _said(key: bytes) -> str:
    """0.0.0.0:8080/tcp of a key."""
    protocol = next((name for name, number in PROTOCOLS.items() if number == key[0]), str(key[0]))
    address = ip_address(key[4:-4])
    shown = f"[{address}]" if address.version == 6 else str(address)
    return f"{shown}:{struct.unpack('>H', key[-4:-2])[0]}/{protocol}"
