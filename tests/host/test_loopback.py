"""Published ports at [::1]: a process, there from the first who comes, passes everything on and can do nothing else."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.host.living import living, until
from tests.host.networks import HOST6, asked_here, own_network

__all__ = ["asked_here", "own_network"]  # fixtures

ALONE = ("::1", 8080)
MIB = 1 << 20
# In a workload: HOST is what it binds. At port 80 everything is sent back when the asker has ended his side; at port 81
# at once, and at port 53 each datagram, in capitals.
SERVE = """
import socket, sys, threading
def back(one, at_once):
    held = b""
    while data := one.recv(1 << 20):
        if at_once:
            one.sendall(data.upper())
        else:
            held += data
    one.sendall(held)
    one.close()
def serve(port, at_once):
    server = socket.create_server((sys.argv[1], port), family=family, backlog=300)
    while True:
        threading.Thread(target=back, args=(server.accept()[0], at_once), daemon=True).start()
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
datagrams = socket.socket(family, socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], 53))
for port, at_once in ((80, False), (81, True)):
    threading.Thread(target=serve, args=(port, at_once), daemon=True).start()
while True:
    said, sender = datagrams.recvfrom(65536)
    datagrams.sendto(said.upper(), sender)
"""
PORTS = ["8080:80", "8081:81", "8053:53/udp", "8082:82"]


def publishing(volt, host="::", ports=PORTS):
    """A living workload that serves at `host`."""
    return living(volt, "python3", "-c", SERVE, host, network={"mode": "bridge", "ports": [*ports]})


def relays(one):
    """The processes of this run's that are the static program, but for its supervisor and its init."""
    children = Path(f"/proc/{one.record.pid}/task/{one.record.pid}/children").read_text().split()
    found = []
    for pid in map(int, children):
        with suppress(OSError):  # it has ended meanwhile
            found += [pid] * (Path(f"/proc/{pid}/exe").readlink().name == "volt")
    return found


def capitals(word=b"hello", port=8081):
    """What is said back at port 81; None where nobody answers."""
    try:
        with socket.create_connection(("::1", port), timeout=5) as client:
            client.sendall(word)
            return client.recv(100)
    except ConnectionError:
        return None


def served():
    """Waits until the workload answers."""
    until(lambda: capitals() == b"HELLO", "an answer")


# ── passed on


@pytest.mark.kernel
@pytest.mark.parametrize("host", ["::", "0.0.0.0"])
def test_connections_and_datagrams_reach_it(volt, machine, host):
    """Also a server that has only its IPv4 address, as many have."""
    with publishing(volt, host):
        served()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.settimeout(5)
            one.connect(("::1", 8053))
            for word in (b"first", b"second", b"x" * 60000):
                one.send(word)
                assert one.recv(65536) == word.upper()


def test_curl_reaches_it_by_name(volt, machine):
    with publishing(volt):
        served()
        words = ["curl", "-6", "-s", "-N", "--http0.9", "--max-time", "20", "http://localhost:8081/there"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as curl:
            assert curl.stdout.readline() == b"GET /THERE HTTP/1.1\r\n"
            curl.kill()  # nobody else ends the connection


def test_it_is_reached_where_it_is_published_there_alone(volt, machine):
    with publishing(volt, ports=["[::1]:8081:81"]):
        served()
        assert machine.ask("tcp", HOST6, 8081, world=True) == ["ECONNREFUSED"]


def test_much_is_passed_both_ways_and_an_end_is_one_way(volt, machine):
    """All of it comes back after the asker has ended his side."""
    data = os.urandom(10 * MIB)
    with publishing(volt):
        served()
        with socket.create_connection(ALONE, timeout=30) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            back = b"".join(iter(lambda: client.recv(MIB), b""))
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


def test_two_hundred_at_a_time_have_an_answer_each_and_leave_nothing(volt, machine):
    with publishing(volt) as one, ExitStack() as all_of_them:
        served()
        (relay,) = relays(one)
        until(lambda: held(relay) == 4, "an end of the first")
        clients = [all_of_them.enter_context(socket.create_connection(("::1", 8081), timeout=20)) for _ in range(200)]
        for n, client in enumerate(clients):
            client.sendall(b"number %d" % n)
        assert [client.recv(100) for client in clients] == [b"NUMBER %d" % n for n in range(200)]
        assert relays(one) == [relay]
        all_of_them.close()
        until(lambda: held(relay) == 4, "an end of all")


def test_where_there_are_few_descriptors_the_others_wait(volt, machine):
    prefix = ["prlimit", "--nofile=160:160", sys.executable, "-m", "volt"]
    volt.command = lambda arguments: [*prefix, *map(str, arguments)]
    with publishing(volt), ExitStack() as all_of_them:
        served()
        clients = [all_of_them.enter_context(socket.create_connection(("::1", 8081), timeout=20)) for _ in range(100)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
            client.close()


def test_senders_of_datagrams_are_told_apart(volt, machine):
    with publishing(volt), ExitStack() as all_of_them:
        served()
        senders = [all_of_them.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(150)]
        for n, sender in enumerate(senders):
            sender.settimeout(5)
            sender.sendto(b"number %d" % n, ("::1", 8053))
            assert sender.recvfrom(100) == (b"NUMBER %d" % n, ("::1", 8053, 0, 0))


def test_who_does_not_read_holds_up_nobody_else(volt, machine):
    with publishing(volt):
        served()
        with socket.create_connection(("::1", 8081)) as slow:
            slow.setblocking(False)
            until(lambda: stuck(slow), "a full pipe")
            assert capitals() == b"HELLO"


def stuck(client):
    """Whether nothing more can be sent, for a while."""
    try:
        while client.send(b"x" * MIB):
            pass
    except BlockingIOError:
        time.sleep(0.3)
        return not select.select([], [client], [], 0)[1]
    return False


# ── not passed on


def test_where_nobody_listens_the_connection_is_closed(volt, machine):
    with publishing(volt):
        served()
        assert not capitals(port=8082)
        assert capitals() == b"HELLO"


def test_a_reset_is_one_at_the_other_end(volt, machine):
    with publishing(volt) as one:
        served()
        (relay,) = relays(one)
        until(lambda: held(relay) == 4, "an end of the first")
        client = socket.create_connection(("::1", 8081))
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: held(relay) == 4, "an end of both sides")


def test_who_comes_past_the_rules_is_refused(volt, machine):
    """Where somebody has flushed them, the sockets are what is reached."""
    with publishing(volt):
        served()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert machine.ask("tcp", HOST6, 8081, world=True)[0] in ("ECONNRESET", "closed")
        assert capitals() == b"HELLO"


# ── the process


def held(pid):
    """How many descriptors it has: of these ports, a socket each."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_there_is_none_before_somebody_comes_and_it_can_do_nothing_else(volt, machine):
    with publishing(volt) as one:
        time.sleep(0.3)
        assert relays(one) == []
        served()
        (relay,) = relays(one)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{relay}/status").read_text().splitlines())
        assert {status[key].strip() for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert {*status["Uid"].split(), *status["Gid"].split()} == {str(one.record.uids + 65535)}
        assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"].strip()) == ("1", "2", "")
        until(lambda: held(relay) == 4, "an end of the connection")


def test_another_comes_where_one_has_died(volt, machine):
    with publishing(volt) as one:
        served()
        (relay,) = relays(one)
        os.kill(relay, signal.SIGKILL)
        served()
        assert relays(one) != [relay]


def ended(client):
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_run(volt, machine, number):
    """However that ends, and with connections."""
    with publishing(volt) as one:
        served()
        (relay,) = relays(one)
        with socket.create_connection(("::1", 8081)) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
            os.kill(one.record.pid, number)
            one.process.wait(timeout=20)
            until(lambda: not Path(f"/proc/{relay}").exists(), "its end")
            client.settimeout(5)
            assert ended(client)
    assert volt.run("true", network={"mode": "bridge", "ports": PORTS}).returncode == 0
