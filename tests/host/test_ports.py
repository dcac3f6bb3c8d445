"""Published ports: who reaches them and who does not, what holds them, and what takes them back."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.host import front
from tests.host.living import living, until
from tests.host.networks import ASK, HOST, HOST6, asked_here, own_machine, own_network
from tests.host.points import elements
from volt.plan.published import MOST

__all__ = ["asked_here", "own_network"]  # fixtures

# Answers each connection and each datagram at these ports, IPv4 and IPv6, with the asker's address and the port.
SERVE = """
import select, socket, sys
servers = []
for number in map(int, sys.argv[1:]):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        one = socket.socket(socket.AF_INET6, kind)
        one.bind(("::", number))
        if kind == socket.SOCK_STREAM:
            one.listen()
        servers.append(one)
while True:
    for one in select.select(servers, [], [])[0]:
        if one.type == socket.SOCK_DGRAM:
            said, sender = one.recvfrom(100)
            one.sendto(f"{sender[0].removeprefix('::ffff:')}|{one.getsockname()[1]}".encode(), sender)
        else:
            asker, sender = one.accept()
            asker.sendall(f"{sender[0].removeprefix('::ffff:')}|{one.getsockname()[1]}".encode())
            asker.close()
"""
GATEWAY = "10.189.0.1"


def publishing(volt, *ports, inside=(80,), **network):
    """A living workload that serves at the ports `inside`, and publishes."""
    words = ("python3", "-c", SERVE, *map(str, inside))
    return living(volt, *words, network={"mode": "bridge", "ports": [*ports], **network})


def served(machine, address, port, kind="tcp"):
    """Waits until it answers; what it says."""
    refused = ("ECONNREFUSED", "EHOSTUNREACH", "TimeoutError")
    return until(
        lambda: [said for said in machine.ask(kind, address, port) if said not in refused], f"{address}:{port}"
    )


def asked(volt, *words):
    """What a new workload is told by each."""
    done = volt.run("python3", "-c", ASK, *map(str, words), network={"mode": "bridge"})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split()


HANDED = "/proc/sys/net/bridge/bridge-nf-call-ip{}tables"


def hand_up(value):
    """Whether a bridge hands its frames to the rules above it: Documentation/networking/ip-sysctl.rst."""
    for path in map(Path, map(HANDED.format, ("", "6"))):
        if path.exists():
            path.write_text(value)


@pytest.mark.kernel
@pytest.mark.parametrize(("kind", "handed"), [("tcp", "1"), ("udp", "0")])
def test_a_port_is_reached_from_everywhere(volt, machine, kind, handed):
    hand_up(handed)
    with publishing(volt, f"8080:80/{kind}") as one:
        served(machine, HOST, 8080, kind)
        wanted = [kind, HOST, 8080, kind, HOST6, 8080]
        assert [said.rpartition("|")[0] for said in machine.ask(*wanted, world=True)] == ["192.0.2.2", "2001:db8:1::2"]
        gateway6 = f"{one.record.address6.rpartition('::')[0]}::1"
        said = machine.ask(*wanted, kind, "127.0.0.1", 8080)
        assert [each.rpartition("|")[0] for each in said] == [GATEWAY, gateway6, GATEWAY], "the host itself"
        peer = asked(volt, *wanted)
        assert [each.rpartition("|")[2] for each in peer] == ["80", "80"]
        script = f"import sys; sys.argv[1:] = {[str(word) for word in wanted]}\n{ASK}"
        own = volt("exec", one.name, "--", "python3", "-c", script)
        assert [each.rpartition("|")[2] for each in own.stdout.decode().split()] == ["80", "80"], "itself"


# ── held


def test_a_clash_is_refused_before_anything_starts_and_names_who_has_the_port(volt, machine):
    with publishing(volt, "8080:80") as one:
        for again in ("8080:81", "127.0.0.1:8080:80", "[::]:8080:80"):
            refused = volt.run("touch", "/tmp/started", network={"mode": "bridge", "ports": [again]})
            assert refused.returncode == 125
            said = refused.stderr.decode()
            assert f"is taken: the workload '{one.name}' has it: run {one.record.id}, pid {one.record.pid}" in said
        other = volt.run("true", network={"mode": "bridge", "ports": ["8080:80/udp", "8081:80"]})
        assert other.returncode == 0, other.stderr.decode()
    again = volt.run("true", network={"mode": "bridge", "ports": ["8080:80"]})
    assert again.returncode == 0, again.stderr.decode()


@pytest.mark.parametrize(
    ("kind", "address", "port", "clashes"),
    [
        ("tcp", "0.0.0.0", "8080:80", True),
        ("tcp", "127.0.0.1", "8080:80", True),
        ("tcp", "::", "8080:80", True),
        ("tcp", "::1", "8080:80", True),
        ("udp", HOST, "8080:80/udp", True),
        ("tcp", HOST, f"{HOST}:8080:80", True),
        ("tcp", "::", f"{HOST}:8080:80", True),
        ("tcp", HOST, "127.0.0.1:8080:80", False),
        ("tcp", "::1", "0.0.0.0:8080:80", False),
        ("udp", "0.0.0.0", "8080:80/tcp", False),
    ],
)
def test_a_foreign_listener_is_named(volt, machine, kind, address, port, clashes):
    kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kinds[kind]) as one:
        one.bind((address, 8080))
        if kind == "tcp":
            one.listen()
        done = volt.run("true", network={"mode": "bridge", "ports": [port]})
    assert (done.returncode == 125) == clashes, done.stderr.decode()
    if clashes:
        assert f"has it, pid {os.getpid()}" in done.stderr.decode()


def test_a_port_cannot_be_taken_while_it_is_published(volt, machine):
    with publishing(volt, "8080:80", "8080:80/udp"):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, HOST), (socket.AF_INET6, "::1")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as one:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    with pytest.raises(OSError, match="in use"):
                        one.bind((address, 8080))


def test_connections_that_have_ended_are_not_in_the_way(volt, machine):
    """And who shares the port with them cannot have it either, once it is held: socket(7), SO_REUSEADDR."""
    server = socket.create_server(("127.0.0.1", 8080))
    with server, socket.create_connection(("127.0.0.1", 8080)) as client:
        taken, _ = server.accept()
        taken.close()
        client.recv(1)
    with socket.socket() as one, pytest.raises(OSError, match="in use"):
        one.bind(("127.0.0.1", 8080))
    with publishing(volt, "8080:80"):
        served(machine, "127.0.0.1", 8080)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", 8080))


def test_an_address_that_is_not_this_machines_is_refused(volt, machine):
    refused = volt.run("true", network={"mode": "bridge", "ports": ["192.0.2.77:8080:80"]})
    assert refused.returncode == 125
    assert "port 8080/tcp of 192.0.2.77: " in refused.stderr.decode()


# ── free ports, ranges


def test_a_free_port_is_found_and_told(volt, machine):
    with publishing(volt, "80", "80/udp", "127.0.0.1::81", inside=(80, 81)) as one:
        four, six, datagrams, _, local = one.record.ports
        number = int(four.partition("->")[0].rpartition(":")[2])
        assert (four, six) == (f"0.0.0.0:{number}->80/tcp", f"[::]:{number}->80/tcp")
        served(machine, HOST, number)
        assert machine.ask("tcp", HOST6, number, world=True) == ["2001:db8:1::2|80"]
        assert datagrams.endswith("->80/udp")
        assert served(machine, "127.0.0.1", int(local.partition("->")[0].rpartition(":")[2])) == [f"{GATEWAY}|81"]
        assert f"0.0.0.0:{number}->80/tcp, " in volt("ps").stdout.decode()
        assert f'"{six}"' in volt("inspect", one.name).stdout.decode()


def test_a_range_leads_port_by_port(volt, machine):
    with publishing(volt, "8000-8002:80-82", inside=(80, 81, 82)):
        served(machine, HOST, 8002)
        assert [said[-3:] for said in machine.ask(*(w for n in range(3) for w in ("tcp", HOST, 8000 + n)))] == [
            "|80",
            "|81",
            "|82",
        ]
        assert "0.0.0.0:8000-8002->80-82/tcp " in volt("ps").stdout.decode()


def test_as_many_as_there_may_be_are_published_and_taken_back(volt, machine):
    """Within the descriptors that a process usually may have."""
    ports = {"mode": "bridge", "ports": [f"10000-{10000 + MOST - 1}"]}
    script = "import time; time.sleep(0.5); print('ran')"
    done = volt.run("python3", "-c", script, network=ports, call={"preexec_fn": usual_descriptors})
    assert done.stdout == b"ran\n", done.stderr.decode()
    assert elements() == []


def usual_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


# ── private


def test_what_is_published_on_a_loopback_address_stays_private(volt, machine):
    with publishing(volt, "127.0.0.1:8080:80", "127.0.0.1:8080:80/udp"):
        served(machine, "127.0.0.1", 8080)
        assert machine.ask("udp", "127.0.0.1", 8080) == [f"{GATEWAY}|80"]
        wanted = ["tcp", HOST, 8080, "tcp", HOST6, 8080]
        assert machine.ask(*wanted) == machine.ask(*wanted, world=True) == ["ECONNREFUSED"] * 2
        assert asked(volt, *wanted, "tcp", "127.0.0.1", 8080) == ["ECONNREFUSED"] * 3


# ── ends, and mending


def test_nothing_leads_to_a_workload_that_has_ended(volt, machine):
    with publishing(volt, "8080-8089:80-89", "8080:80/udp", "70"):
        assert len(elements()) == 24
    assert elements() == []
    assert machine.ask("tcp", HOST, 8080, world=True) == ["ECONNREFUSED"]


@pytest.mark.alone
def test_what_a_killed_supervisor_left_the_next_command_takes_back(volt, machine):
    for command in (("ps",), ("run", volt.manifest(network={"mode": "bridge"}), "--", "true")):
        with publishing(volt, "8080:80") as one:
            served(machine, HOST, 8080)
            os.kill(one.record.pid, signal.SIGKILL)
            one.process.wait()
            assert len(elements()) == 2
            assert volt(*command).returncode == 0
            assert elements() == []


def test_ports_are_published_again_when_the_rules_were_flushed(volt, machine):
    with publishing(volt, "8080:80", address="10.189.66.6"), publishing(volt, "127.0.0.1:8081:80"):
        served(machine, "127.0.0.1", 8081)
        before = sorted(elements())
        assert len(before) == 3
        for words in (["nft", "flush", "ruleset"], ["ip", "link", "del", "volt0"]):
            subprocess.run(words, check=True)
        assert volt.run("true", network={"mode": "bridge"}).returncode == 0
        assert sorted(elements()) == before
        wanted = ["tcp", "127.0.0.1", 8080, "tcp", "127.0.0.1", 8081]
        assert machine.ask(*wanted) == [f"{GATEWAY}|80"] * 2
        assert machine.ask("tcp", HOST, 8080, world=True) == ["192.0.2.2|80"]


# ── audited


def test_audit_finds_what_leads_to_a_workload_and_what_should_not(volt, machine):
    with publishing(volt, "8080:80", "80/udp") as one:
        whole = volt("audit", one.name)
        assert whole.returncode == 0, whole.stdout.decode() + whole.stderr.decode()
        to = f"{one.record.address} . 81"
        subprocess.run(["nft", "add", "element", "inet", "volt", "ports4", f"{{ 6 . {HOST} . 22 : {to} }}"], check=True)
        subprocess.run(["nft", "delete", "element", "inet", "volt", "ports4", "{ 6 . 0.0.0.0 . 8080 }"], check=True)
        said = volt("audit", one.name)
        assert said.returncode == 1
        assert f"0.0.0.0:8080/tcp does not lead to it; {HOST}:22/tcp leads to it too" in said.stdout.decode()


# ── planned before


@pytest.mark.alone
def test_a_launch_that_was_planned_starts_no_python_and_still_sees_a_clash(tmp_path, busybox, volt_root):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    root = front.small_root(tmp_path / "root", busybox)
    show = "nc -l -p 80 -e echo hello"
    sections = {"workload": {"command": ["sh", "-c", show]}, "storage": {"rootfs": str(root)}}
    manifest = one.manifest(network={"mode": "bridge", "ports": ["8080:80", "127.0.0.1::80/udp"]}, **sections)
    front.let_age()
    with own_machine() as machine:

        def reached(start):
            with ThreadPoolExecutor() as pool:
                ended = pool.submit(start, "run", manifest)
                assert served(machine, HOST, 8080) == ["hello"]
                assert ended.result().returncode == 0, ended.result().stderr

        reached(one.planned)
        before = one.installed.starts()
        reached(one)
        assert one.installed.starts() == before
        with socket.create_server(("127.0.0.1", 8080)):
            refused = one.cached("run", manifest)
        own = Path("/proc/self/comm").read_text().strip()
        assert f"port 8080/tcp is taken: {own} has it, pid {os.getpid()}" in refused.stderr.decode()
