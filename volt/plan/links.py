"""Links, addresses and routes as rtnetlink(7) messages, for a bridge and for the pair of links of one workload.

linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h. Of the pair one end is called `volt-` and the claimed address in
hex and lies on the bridge; the other is made in the workload's network namespace, as eth0. Its index may be any there.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Interface, IPv6Interface

from volt.model.text import ADDRESS, BRIDGE, HEX, LINK, NAMESPACE, Message
from volt.plan.netlink import ACK, CREATE, EXCL, MARKS, REPLACE, attribute, message, name, nested, slotted

PREFIX = "volt-"
INSIDE = "eth0"
PROTOCOL = 0  # NETLINK_ROUTE

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH, _DELNEIGH = 16, 17, 20, 24, 28, 29  # RTM_
_INET, _BRIDGE, _INET6 = 2, 7, 10  # AF_
_HAIRPIN, _LEARNING, _FLOOD, _ANSWER = 4, 8, 9, 12  # IFLA_BRPORT_: MODE, LEARNING, UNICAST_FLOOD, PROXYARP_WIFI
_PORT = {_HAIRPIN: 1, _LEARNING: 0, _FLOOD: 0, _ANSWER: 1}
_STATIC_ENTRY, _PERMANENT, _OF_MASTER = 0x40, 0x80, 0x04  # NUD_NOARP, NUD_PERMANENT, NTF_MASTER
_UP = 0x1  # IFF_UP
_MAC, _NAME, _MTU, _MASTER, _INFO, _FAMILIES, _NAMESPACE = 1, 3, 4, 10, 18, 26, 28  # IFLA_
_NO_DAD = 0x02  # IFA_F_NODAD: the address is nobody else's, by its claim
_MAIN, _STATIC, _UNICAST = 254, 4, 1  # RT_TABLE_, RTPROT_, RTN_
# Locally administered, and ours: the rest of a MAC is the IPv4 address.
MAC = b"\x02\x56"
LINK_LOCAL = b"\xfe\x80" + bytes(10)  # and the IPv4 address behind it


def port() -> bytes:
    """The name of a workload's link on the host, with its mark."""
    return PREFIX.encode() + MARKS[HEX]


def make_bridge(label: str, gateway: IPv4Interface, mtu: int) -> bytes:
    """Made with a MAC of its own, so that it does not take that of whatever joins it: ip-link(8)."""
    mac = attribute(_MAC, MAC + gateway.packed)
    body = _link() + name(_NAME, label) + mac + _number(_MTU, mtu) + nested(_INFO, name(1, "bridge"))
    return message(_NEWLINK, ACK | CREATE | EXCL, 1, body)


def mend_bridge(gateway: IPv4Interface, gateway6: IPv6Interface | None) -> Message:
    """Up, with the MAC that workloads know it by, and its addresses."""
    index = MARKS[BRIDGE]
    mac = attribute(_MAC, MAC + gateway.packed)
    bodies = [(_NEWLINK, 0, struct.pack("<BxH", 0, 0) + index + struct.pack("<II", _UP, _UP) + mac)]
    bodies += [(_NEWADDR, CREATE | EXCL, _address(one, index)) for one in (gateway, gateway6) if one]
    return _messages(*bodies)


def create_links(mtu: int) -> Message:
    """The pair: one end here, the other where it belongs."""
    peer = _link() + name(_NAME, INSIDE) + attribute(_MAC, MAC + MARKS[ADDRESS]) + _number(_MTU, mtu)
    peer += attribute(_NAMESPACE, MARKS[NAMESPACE])
    info = nested(_INFO, name(1, "veth"), nested(2, nested(1, peer)))
    body = _link() + name(_NAME, port()) + _number(_MTU, mtu) + info
    return _messages((_NEWLINK, CREATE | EXCL, body))


def adopt_link(gateway6: IPv6Interface | None) -> Message:
    """Up, and on the bridge, which knows the MAC behind it and learns no other: it would learn some from frames that no
    rule sees, and what it does not know it would send to everybody. A frame may leave by the link that it came from:
    where the bridge hands its frames to the rules above it, that is how a workload reaches a port of its own.

    The host knows who has the address, and the bridge answers for it when a peer asks (linux/if_link.h: proxy ARP for
    Wi-Fi, which is for what a port's neighbours are asked for): each question would go to all links, and a few hundred
    fill the queue of a processor (net.core.netdev_max_backlog), which drops what comes then."""
    index = struct.pack("<BxH", 0, 0) + MARKS[LINK] + struct.pack("<II", _UP, _UP)
    still = b"".join(attribute(kind, bytes([value])) for kind, value in _PORT.items())
    known = struct.pack("<BxH", _BRIDGE, 0) + MARKS[LINK] + struct.pack("<HBB", _STATIC_ENTRY, _OF_MASTER, 0)
    mac = MAC + MARKS[ADDRESS]
    return _messages(
        (_NEWLINK, 0, index + attribute(_MASTER, MARKS[BRIDGE])),
        (_NEWLINK, 0, index + nested(_INFO, name(4, "bridge"), nested(5, still))),  # IFLA_INFO_SLAVE_
        (_NEWNEIGH, CREATE | REPLACE, known + attribute(2, mac)),  # NDA_LLADDR
        *(_neighbour(family, MARKS[BRIDGE], address, mac) for family, address in _claimed(gateway6)),
    )


def remove_link() -> Message:
    return _messages((_DELLINK, 0, _link() + name(_NAME, port())))


def forget_neighbour(gateway6: IPv6Interface | None) -> Message:
    """Who the host knows to have the address, and the packets that wait where it does not know."""
    heads = ((struct.pack("<BxH", family, 0), address) for family, address in _claimed(gateway6))
    rest = MARKS[BRIDGE] + bytes(4)
    return _messages(*((_DELNEIGH, 0, head + rest + attribute(1, address)) for head, address in heads))  # NDA_DST


def _claimed(gateway6: IPv6Interface | None) -> list[tuple[int, bytes]]:
    """The workload's addresses, with their families."""
    four = _INET, MARKS[ADDRESS]
    return [four, (_INET6, gateway6.packed[:12] + MARKS[ADDRESS])] if gateway6 else [four]


def _neighbour(family: int, index: bytes, address: bytes, mac: bytes) -> tuple[int, int, bytes]:
    """Who has an address, which nobody is asked for: struct ndmsg, NDA_DST, NDA_LLADDR."""
    head = struct.pack("<BxH", family, 0) + index + struct.pack("<HBB", _PERMANENT, 0, 0)
    return _NEWNEIGH, CREATE | REPLACE, head + attribute(1, address) + attribute(2, mac)


def remove(label: str) -> bytes:
    """An interface that is told by its name; a bridge lets go of its ports, a pair of links goes together."""
    return message(_DELLINK, ACK, 1, _link() + name(_NAME, label))


def configure(gateway: IPv4Interface, gateway6: IPv6Interface | None, *, way_out: bool = True) -> Message:
    """Inside: its addresses, the way out and who has it. Of IPv6 addresses it has these alone, which follow from its
    claim."""
    index = MARKS[LINK]
    link = struct.pack("<BxH", 0, 0) + index
    up = (_NEWLINK, 0, link + struct.pack("<II", _UP, _UP))
    own = (_NEWADDR, CREATE | EXCL, _own(_INET, gateway.network.prefixlen, 0, index, MARKS[ADDRESS]))
    ways = [(_NEWROUTE, CREATE | EXCL, _route(_INET, gateway.packed, index))] * way_out
    host = MAC + gateway.packed
    known = [_neighbour(_INET, index, gateway.packed, host)]
    if gateway6 is None:
        return _messages(up, own, *ways, *known)
    known.append(_neighbour(_INET6, index, gateway6.packed, host))
    ways += [(_NEWROUTE, CREATE | EXCL, _route(_INET6, gateway6.packed, index))] * way_out
    no_others = nested(_FAMILIES, nested(_INET6, attribute(8, b"\1")))  # IFLA_INET6_ADDR_GEN_MODE: none
    local = _own(_INET6, 64, 253, index, LINK_LOCAL + MARKS[ADDRESS])
    own6 = _own(_INET6, gateway6.network.prefixlen, 0, index, gateway6.packed[:12] + MARKS[ADDRESS])
    return _messages(
        (_NEWLINK, 0, link + bytes(8) + no_others),
        up,
        own,
        (_NEWADDR, CREATE | EXCL, local),
        (_NEWADDR, CREATE | EXCL, own6),
        *ways,
        *known,
    )


def _messages(*bodies: tuple[int, int, bytes]) -> Message:
    return slotted(b"".join(message(kind, ACK | flags, n, body) for n, (kind, flags, body) in enumerate(bodies, 1)))


def _link() -> bytes:
    """struct ifinfomsg of a link that is told by its name."""
    return bytes(16)


def _address(one: IPv4Interface | IPv6Interface, index: bytes) -> bytes:
    return _own(_INET if one.version == 4 else _INET6, one.network.prefixlen, 0, index, one.packed)


def _own(family: int, length: int, scope: int, index: bytes, address: bytes) -> bytes:
    """struct ifaddrmsg, IFA_LOCAL, IFA_ADDRESS."""
    flags = _NO_DAD if family == _INET6 else 0
    return struct.pack("<BBBB", family, length, flags, scope) + index + attribute(2, address) + attribute(1, address)


def _route(family: int, gateway: bytes, index: bytes) -> bytes:
    """struct rtmsg of the default route, RTA_GATEWAY, RTA_OIF."""
    head = struct.pack("<BBBBBBBBI", family, 0, 0, 0, _MAIN, _STATIC, 0, _UNICAST, 0)
    return head + attribute(5, gateway) + attribute(4, index)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("<I", value))
