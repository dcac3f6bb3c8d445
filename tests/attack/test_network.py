"""A payload with NET_RAW and NET_ADMIN on the bridge: no frame comes out of its link that is not its own to send.

Each frame bears a mark, and is looked for by whoever listens on another port of the same bridge.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from ipaddress import ip_address, ip_network

import pytest

from tests.attack.walls import learning_bridge, open_bridge, unknown_bridge
from tests.host.networks import ip, own_network
from volt.host.networks import probe_bridge

__all__ = ["own_network"]  # fixtures

OWN, OTHER, GATEWAY = "10.189.66.6", "10.189.77.7", "10.189.0.1"
EVERYBODY = b"\xff" * 6
SECTIONS = {
    "network": {"mode": "bridge", "address": OWN},
    "security": {"capabilities": ["NET_ADMIN", "NET_RAW"]},
}
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
    one.bind(("eth0", 0))
    for frame in sys.argv[1:]:
        one.send(bytes.fromhex(frame))
print("sent", flush=True)
"""
IPV4, ARP, IPV6, VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
UDP, ICMP6 = 17, 58


@pytest.fixture
def wire(machine, attack):
    """A socket on another port of the bridge, that sees what the bridge passes on."""
    assert attack("echo", "made", network={"mode": "bridge"}).words == ["made"]
    ip("link", "add", "tap", "type", "veth", "peer", "name", "wire")
    for link in ("tap", "wire"):
        ip("link", "set", link, "up")
    ip("link", "set", "tap", "master", "volt0")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as heard:  # ETH_P_ALL
        heard.bind(("wire", 0))
        yield heard


def mac(address):
    return b"\x02\x56" + ip_address(address).packed


def six(address):
    """The IPv6 address of who has this IPv4 address."""
    return ip_network(probe_bridge().subnet6).network_address.packed[:12] + ip_address(address).packed


def local(address):
    return b"\xfe\x80" + bytes(10) + ip_address(address).packed


def ether(kind, body, source=OWN, to=EVERYBODY):
    return to + mac(source) + struct.pack(">H", kind) + body


def udp(port, data):
    return struct.pack(">HHHH", port, 9, 8 + len(data), 0) + data


def four(source, data, to="255.255.255.255"):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, UDP, 0)
    whole = head + ip_address(source).packed + ip_address(to).packed
    total = sum(struct.unpack(">10H", whole))
    total = (total & 0xFFFF) + (total >> 16)
    return whole[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + whole[12:] + data


def sixth(source, kind, data):
    """To all nodes."""
    head = struct.pack(">IHBB", 6 << 28, len(data), kind, 255)
    return head + source + b"\xff\x02" + bytes(13) + b"\x01" + data


def icmp(kind, data):
    return struct.pack(">BBHI", kind, 0, 0, 0x20000000) + data


def arp(claimed, by=OWN):
    """An answer that says who has an address."""
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, 2)
    return head + mac(by) + ip_address(claimed).packed + EVERYBODY + ip_address(GATEWAY).packed


def hostile():
    """Name → frame, but for its mark at the end."""
    mark = b"mark %s\0"
    hop = struct.pack(">BB", ICMP6, 0) + b"\1\4" + bytes(4)  # a hop-by-hop header with padding
    return {
        "another's IPv4 address": ether(IPV4, four(OTHER, udp(9, mark))),
        "the gateway's": ether(IPV4, four(GATEWAY, udp(9, mark))),
        "another's MAC": ether(IPV4, four(OWN, udp(9, mark)), OTHER),
        "another's MAC and address": ether(IPV4, four(OTHER, udp(9, mark)), OTHER),
        "ARP: the gateway's address": ether(ARP, arp(GATEWAY) + mark),
        "ARP: the own address at another's MAC": ether(ARP, arp(OWN, OTHER) + mark),
        "ARP: all of it another's": ether(ARP, arp(OTHER, OTHER) + mark, OTHER),
        "another's IPv6 address": ether(IPV6, sixth(six(OTHER), UDP, udp(9, mark))),
        "another's link-local address": ether(IPV6, sixth(local(OTHER), UDP, udp(9, mark))),
        "no IPv6 address": ether(IPV6, sixth(bytes(16), UDP, udp(9, mark))),
        "ND: the gateway's address": ether(IPV6, sixth(six(OWN), ICMP6, icmp(136, six("0.0.0.1") + mark))),
        "ND: another's address": ether(IPV6, sixth(local(OWN), ICMP6, icmp(136, local(OTHER) + mark))),
        "a router's advertisement": ether(IPV6, sixth(local(OWN), ICMP6, icmp(134, bytes(8) + mark))),
        "the same behind options": ether(IPV6, sixth(local(OWN), 0, hop + icmp(134, bytes(8) + mark))),
        "a redirection": ether(IPV6, sixth(local(OWN), ICMP6, icmp(137, bytes(32) + mark))),
        "a DHCP server's answer": ether(IPV4, four(OWN, udp(67, mark))),
        "a DHCPv6 server's answer": ether(IPV6, sixth(local(OWN), UDP, udp(547, mark))),
        "a VLAN": ether(VLAN, struct.pack(">HH", 7, IPV4) + four(OWN, udp(9, mark))),
        "a spanning tree": ether(39, b"\x42\x42\x03" + bytes(35) + mark, to=b"\x01\x80\xc2\0\0\0"),
        "another protocol": ether(0x88B5, mark),
    }


def harmless():
    mark = b"mark %s\0"
    return {
        "IPv4": ether(IPV4, four(OWN, udp(9, mark))),
        "ARP": ether(ARP, arp(OWN) + mark),
        "IPv6": ether(IPV6, sixth(six(OWN), UDP, udp(9, mark))),
        "ND": ether(IPV6, sixth(local(OWN), ICMP6, icmp(136, six(OWN) + mark))),
        "options": ether(IPV6, sixth(local(OWN), 0, struct.pack(">BB", UDP, 0) + b"\1\4" + bytes(4) + udp(9, mark))),
        "last": ether(IPV4, four(OWN, udp(10, mark))),
    }


def drain(wire):
    """What has come before does not count."""
    wire.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while wire.recv(4096):
            pass


def seen(wire, attack, frames, *walls):
    """The names of the frames that come to another port of the bridge. The last one always does, as the last."""
    drain(wire)
    marked = {name: frame.replace(b"mark %s", b"mark %02d" % n) for n, (name, frame) in enumerate(frames.items())}
    done = attack("python3", "-c", SEND, *(frame.hex() for frame in marked.values()), without=walls, **SECTIONS)
    assert done.words == ["sent"], done.err
    wire.settimeout(20)
    found = []
    while "last" not in found:
        frame = wire.recv(4096)
        found += [name for n, name in enumerate(frames) if b"mark %02d" % n in frame]
    return found


@pytest.mark.kernel
def test_only_what_is_its_own_comes_out_of_a_workloads_link(wire, attack):
    frames = {**hostile(), **harmless()}
    assert seen(wire, attack, frames) == [*harmless()]
    assert seen(wire, attack, frames, open_bridge) == [*frames]


def learned():
    """The MACs that the bridge thinks to be behind a port."""
    return subprocess.run(["bridge", "fdb"], capture_output=True, text=True, check=True).stdout


def test_another_s_mac_is_not_learned_from_frames_that_only_the_bridge_takes(wire, attack):
    """LLDP: such frames come past the chains that see all others."""
    frame = ether(0x88CC, b"mark %s\0", OTHER, to=b"\x01\x80\xc2\0\0\x0e")
    written = "02:56:0a:bd:4d:07"

    def sent(*walls):
        plan = attack.plan("python3", "-c", SEND + "sys.stdin.read()", frame.hex(), **SECTIONS)
        for wall in walls:
            plan = wall(plan)
        with attack.running(plan) as said:
            assert said == "sent\n"
            time.sleep(0.1)
            return written in learned()

    assert not sent()
    assert sent(learning_bridge)


def test_services_on_the_hosts_loopback_are_not_reached(wire, attack, machine):
    """Where somebody has enabled route_localnet too, Documentation/networking/ip-sysctl.rst."""
    subprocess.run(["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"], check=True)
    frame = ether(IPV4, four(OWN, udp(9, b"hello"), "127.0.0.1"), to=mac(GATEWAY))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 9))
        service.settimeout(1)
        for walls, reached in (((), False), ((unknown_bridge,), False), ((open_bridge,), True)):
            assert attack("python3", "-c", SEND, frame.hex(), without=walls, **SECTIONS).words == ["sent"]
            try:
                assert service.recv(100) == b"hello"
                assert reached
            except TimeoutError:
                assert not reached
