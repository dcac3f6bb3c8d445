"""A connection that somebody outside has with a workload ends with that workload: nothing of it reaches who has the
address next. Counter-proof: without the step that forgets connections it does."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import struct
import subprocess
from ipaddress import ip_address, ip_network

import pytest

from tests.attack.plans import lowered
from tests.attack.walls import remembering_host
from tests.host.networks import ASK, HOST, HOST6, WORLD, WORLD6, own_network
from volt import api
from volt.host.networks import probe_bridge
from volt.model.text import ADDRESS
from volt.plan.connections import lists

__all__ = ["own_network"]  # fixtures

OWN, OTHER = "10.189.77.7", "10.189.66.6"
PORT, PUBLISHED = 5000, 8080
NETFILTER, DONE = 12, 3  # NETLINK_NETFILTER, NLMSG_DONE

# In the world: sends to whoever has said something at port 7000, or to ADDRESS PORT from another, and does not stop.
INSIST = """
import socket, sys, time
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind((sys.argv[1], 0 if sys.argv[2:] else 7000))
    print("ready", flush=True)
    to = (sys.argv[2], int(sys.argv[3])) if sys.argv[2:] else one.recvfrom(100)[1]
    while True:
        one.sendto(b"from outside", to)
        time.sleep(0.02)
"""
# In a workload: says something to port 7000 of an address, if there is one, answers what comes, and waits to be ended.
TALK = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.bind(("::", 5000))
    if sys.argv[1:]:
        one.sendto(b"hello", (sys.argv[1], 7000))
    said, sender = one.recvfrom(100)
    one.sendto(b"answer", sender)
    print(said.decode(), flush=True)
    sys.stdin.read()
"""
# In the next workload: what comes within half a second of its having shown the host where it is: GATEWAYS.
LISTEN = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.bind(("::", 5000))
    one.settimeout(0.5)
    for gateway in sys.argv[1:]:
        one.sendto(b"here", (gateway, 9))
    try:
        print(one.recv(100).decode(), flush=True)
    except TimeoutError:
        print("nothing", flush=True)
"""


def at(address, ports=()):
    return {"mode": "bridge", "address": address, "ports": [*ports]}


def six(address):
    """The IPv6 address of who has this one."""
    return str(ip_address(ip_network(probe_bridge().subnet6).network_address.packed[:12] + ip_address(address).packed))


class Outgoing:
    """The workload says something first."""

    ports = ()

    def __init__(self, version):
        self.words = [f"::ffff:{WORLD}" if version == 4 else WORLD6]
        self.insist = [WORLD if version == 4 else WORLD6]


class Incoming:
    """Through a published port, by somebody who has begun before it was one."""

    words, ports = (), (f"{PUBLISHED}:{PORT}/udp",)

    def __init__(self, version):
        self.insist = [*((WORLD, HOST) if version == 4 else (WORLD6, HOST6)), PUBLISHED]


@contextlib.contextmanager
def somebody(machine, connection):
    """Outside, who does not stop."""
    argv = [*machine.in_world, "python3", "-c", INSIST, *map(str, connection.insist)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def talking(attack, connection, *walls, address=OWN):
    """A workload that has this connection, and ends; its supervisor."""
    plan = attack.plan("python3", "-c", TALK, *connection.words, network=at(address, connection.ports))
    with attack.start(lowered(plan, walls)) as process:
        try:
            assert select.select([process.stdout], [], [], 20)[0], "nothing has come"
            assert process.stdout.readline() == b"from outside\n"
            yield process
        except AssertionError:
            process.terminate()
            raise
        finally:
            said = process.communicate(timeout=30)[1]
            assert said == b"", said.decode()


def kill(process):
    """And the next command removes what says whose the address was."""
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert api.sweep() == ()


def leave(_):
    """It ends by itself."""


def heard_by_the_next(attack, *walls):
    gateways = "::ffff:10.189.0.1", six("0.0.0.1")
    return attack("python3", "-c", LISTEN, *gateways, without=walls, network=at(OWN)).out.strip()


@pytest.mark.kernel
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("direction", [Outgoing, Incoming])
def test_what_is_sent_to_a_workload_does_not_reach_the_next(attack, machine, direction, version):
    """However it ended."""
    attack("echo", "made", network=at(OTHER))
    for walls, end, heard in (
        ((), leave, "nothing"),
        ((), kill, "nothing"),
        ((remembering_host,), leave, "from outside"),
    ):
        connection = direction(version)
        with somebody(machine, connection):
            with talking(attack, connection, *walls) as process:
                end(process)
            assert heard_by_the_next(attack, *walls) == heard, (walls, end)


def flush():
    subprocess.run(["nft", "flush", "ruleset"], check=True)


def test_it_does_not_where_somebody_has_flushed_the_rules_either(attack, machine):
    """And what had been noted in them; whether another launch has made them anew since or not."""
    attack("echo", "made", network=at(OTHER))
    connection = Outgoing(4)
    for mended, end in ((False, leave), (True, kill), (True, leave)):
        with somebody(machine, connection):
            with talking(attack, connection) as process:
                flush()
                if mended:
                    attack("echo", "mended", network=at(OTHER))
                end(process)
            assert heard_by_the_next(attack) == "nothing", (mended, end)


def tracked(address):
    """How many connections there are of this address, as a launch asks for them: linux/netfilter/nfnetlink.h."""
    requests = b"".join(ip_address(address).packed if part is ADDRESS else part for part in lists(None))
    found = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as conntrack:
        for request in (requests[: len(requests) // 2], requests[len(requests) // 2 :]):
            conntrack.send(request)
            while (kinds := kinds_of(conntrack.recv(1 << 16)))[-1] != DONE:
                found += len(kinds)
            found += len(kinds) - 1
    return found


def kinds_of(data):
    found = []
    while data:
        length, kind = struct.unpack_from("<IH", data)
        found.append(kind)
        data = data[length + -length % 4 :]
    return found


def test_the_connections_of_others_stay(attack, machine):
    attack("echo", "made", network=at(OTHER))
    connection = Outgoing(4)
    with somebody(machine, connection), talking(attack, connection, address=OTHER):
        machine.serve("udp", WORLD, 7001, world=True)
        asking = "python3", "-c", ASK, "udp", WORLD, "7001"
        attack(*asking, network=at(OWN))
        assert (tracked(OTHER), tracked(OWN)) == (1, 0)
        attack(*asking, without=[remembering_host], network=at(OWN))
        assert (tracked(OTHER), tracked(OWN)) == (1, 1), "nothing was tried"
