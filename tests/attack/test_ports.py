"""Published ports: what somebody outside sends to 127.0.0.1, and what a dead workload's port leads to."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.attack.walls import open_loopback, remembering_senders
from tests.host.living import until
from tests.host.networks import FOLDER, HOST, HOST6, WORLD, ip, own_network
from tests.host.points import elements

__all__ = ["own_network"]  # fixtures

OWN = "10.189.66.6"
LOCAL = {"network": {"mode": "bridge", "ports": ["127.0.0.1:8080:80/udp"]}}
# Answers `last` with all that has come so far, and ends.
HEAR = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
    one.bind(("::", 80))
    print("ready", flush=True)
    heard = []
    while b"last" not in heard:
        said, sender = one.recvfrom(100)
        heard.append(said)
    one.sendto(b" ".join(heard), sender)
"""
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
    one.bind(("eth", 0))
    one.send(bytes.fromhex(sys.argv[1]))
"""


def datagram(source, to, data):
    """As a neighbour sends it to the link `wan`; both are an address and a port."""
    (source, own), (to, port) = source, to
    udp = struct.pack(">HHHH", own, port, 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
    head += ip_address(source).packed + ip_address(to).packed
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + udp


def heard(attack, machine, port, *walls):
    """What comes to a port published at 127.0.0.1 of what a neighbour of the host's sends there, from this port of his:
    what has been tracked once is not looked for again."""
    plan = attack.plan("python3", "-c", HEAR, **LOCAL)
    for wall in walls:
        plan = wall(plan)
    with attack.running(plan) as said, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        assert said == "ready\n"
        wan = bytes.fromhex(ip("-br", "link", "show", "wan").split()[2].replace(":", ""))
        frame = wan + b"\x02" + bytes(5) + b"\x08\x00" + datagram((WORLD, port), ("127.0.0.1", 8080), b"spoofed")
        machine.outside("python3", "-c", SEND, frame.hex())
        here.settimeout(20)
        here.connect(("127.0.0.1", 8080))
        here.send(b"last")
        return here.recv(100).decode().split()


def test_a_neighbour_reaches_nothing_at_the_hosts_127_0_0_1(attack, machine):
    """With route_localnet everywhere, too."""
    subprocess.run(["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"], check=True)
    assert heard(attack, machine, 1001) == ["last"]
    assert heard(attack, machine, 1002, open_loopback) == ["spoofed", "last"]


def killed(attack, **network):
    """A workload that publishes a port was killed, with its supervisor; what it claimed is still there."""
    plan = attack.plan("sh", "-c", "echo ready; cat", network={"mode": "bridge", "ports": ["8080:80"], **network})
    with attack.running(plan) as said:
        assert said == "ready\n"
        claim = FOLDER / str(os.stat("/proc/self/ns/net").st_ino) / "addresses" / OWN
        pid = int(claim.read_bytes().partition(b'"pid":')[2].partition(b"}")[0])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
    return claim


@pytest.mark.parametrize("known", [True, False], ids=["", "a claim that says nothing: what leads there is not found"])
@pytest.mark.alone
def test_nothing_of_a_dead_workload_leads_to_who_has_its_address_next(attack, machine, known):
    """The static program alone: no sweep comes before."""
    later = attack.plan("true", network={"mode": "bridge", "address": OWN})
    claim = killed(attack, address=OWN)
    assert f"{OWN} . 80" in elements()[0]
    if not known:
        claim.write_bytes(claim.read_bytes().partition(b"\n")[0] + b"\n")
    assert attack.perform(later).status == 0
    assert (elements() == []) == known
    assert attack.volt("ps").returncode == 0, "what else the killed one left is swept"


def test_an_element_that_is_there_already_is_replaced_and_anothers_is_left_alone(attack, machine):
    add = ["nft", "add", "element", "inet", "volt", "ports4"]
    assert attack("true", network={"mode": "bridge"}).status == 0, "the table is there"
    subprocess.run([*add, "{ 6 . 0.0.0.0 . 8080 : 10.189.9.9 . 99 }"], check=True)
    plan = attack.plan("sh", "-c", "echo ready; cat", network={"mode": "bridge", "address": OWN, "ports": ["8080:80"]})
    with attack.running(plan):
        assert [OWN in element for element in elements()] == [True, False]
        subprocess.run(["nft", "flush", "map", "inet", "volt", "ports4"], check=True)
        subprocess.run([*add, "{ 6 . 0.0.0.0 . 8080 : 10.189.9.9 . 99 }"], check=True)
    assert ["10.189.9.9 . 99" in element for element in elements()] == [True]
    assert machine.ask("tcp", HOST, 8080) != []


# Sends from one port, three times a second, until it is answered; prints "sent", and the answer.
INSIST = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("", 999))
    one.settimeout(0.3)
    for _ in range(int(sys.argv[2])):
        one.sendto(b"last", (sys.argv[1], 8080))
        print("sent", flush=True)
        try:
            print(one.recv(100).decode(), flush=True)
            break
        except TimeoutError:
            pass
"""


@pytest.mark.parametrize(
    ("address", "walls"),
    [(HOST, ()), (HOST6, ()), (HOST, (remembering_senders,))],
    ids=["IPv4", "IPv6", "without forgetting them"],
)
def test_who_has_been_sending_all_the_time_gets_through_once_the_port_is_published(attack, machine, address, walls):
    assert attack("true", network={"mode": "bridge"}).status == 0, "without rules nothing is tracked"
    plan = attack.plan("python3", "-c", HEAR, network={"mode": "bridge", "ports": ["8080:80/udp"]})
    for wall in walls:
        plan = wall(plan)
    tries = "9" if walls else "100"  # an answer ends them
    words = [*machine.in_world, "python3", "-c", INSIST, address, tries]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout.readline() == "sent\n"
        with attack.running(plan) as said:
            assert said == "ready\n"
            answered = "last" in sender.communicate(timeout=60)[0].split()
            if not answered:
                machine.ask("udp", HOST, 8080)  # ends it
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
                    here.sendto(b"last", (HOST, 8080))
    assert answered == (walls == ())
