"""A workload on the bridge: what it reaches and what reaches it, in namespaces of the test's own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.booting import state_of
from tests.host import front
from tests.host.living import living, until
from tests.host.networks import ASK, HOST, HOST6, SERVE, WORLD, WORLD6, asked_here, ip, own_machine, own_network
from volt.host.networks import SUBNETS
from volt.model.folders import NETWORKS_FOLDER

__all__ = ["asked_here", "own_network"]  # fixtures

NETWORKS = Path(NETWORKS_FOLDER)

BRIDGE = {"mode": "bridge"}
GATEWAY = "10.189.0.1"


def configured(settings):
    """A command line on a machine with these settings: a mount in a mount namespace of its own."""
    bind = (
        'mkdir -p /etc/volt && mount -t tmpfs -o mode=0755 none /etc/volt && cp "$0" /etc/volt/config.toml && exec "$@"'
    )
    before = ["unshare", "--mount", "sh", "-c", bind, str(settings)]
    return lambda arguments: [*before, sys.executable, "-m", "volt", *map(str, arguments)]


def bridged(volt, *command, **network):
    """A living workload on the bridge."""
    return living(volt, *command, network={**BRIDGE, **network})


def server(volt, kind="tcp", address="::", port=80):
    return bridged(volt, "python3", "-c", SERVE, kind, address, str(port))


def ask(volt, *words):
    """What a new workload is told by each server."""
    done = volt.run("python3", "-c", ASK, *map(str, words), network=BRIDGE)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split()


def own(record):
    return record.address, record.address6


def served(machine, kind, address, port):
    """Waits until a workload answers."""
    until(lambda: machine.ask(kind, address, port)[0] not in ("ECONNREFUSED", "EHOSTUNREACH"), f"{address}:{port}")


# ── reaching


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_it_reaches_the_host_the_world_its_peers_and_itself(volt, machine, kind):
    machine.serve(kind, "0.0.0.0", 7000)
    machine.serve(kind, "::", 7001)
    machine.serve(kind, WORLD, 7000, world=True)
    machine.serve(kind, WORLD6, 7000, world=True)
    with server(volt, kind) as peer:
        four, six = own(peer.record)
        served(machine, kind, four, 80)
        gateway6 = f"{six.rpartition('::')[0]}::1"
        asked = [(GATEWAY, 7000), (gateway6, 7001), (WORLD, 7000), (WORLD6, 7000), (four, 80), (six, 80)]
        told = ask(volt, *(word for address, port in asked for word in (kind, address, port)))
        mine, mine6 = told[0], told[1]
        assert ip_address(mine) in ip_network(SUBNETS[0])
        assert mine6.startswith(six.rpartition("::")[0])
        assert told[2:] == [HOST, HOST6, f"::ffff:{mine}", mine6], "translated outside, and among peers not"
        assert machine.ask(kind, four, 80, kind, six, 80) == [f"::ffff:{GATEWAY}", gateway6]


ITSELF = """
import socket, sys
for family, address in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind((address, 443))
        server.listen()
        client.connect((address, 443))
        print(server.accept()[1][0])
"""


def test_it_reaches_itself_by_name_and_binds_any_port_without_a_capability(volt, machine):
    script = f"set -- $(getent ahosts $(hostname) | awk '/STREAM/ {{print $1}}' | sort); python3 -c '{ITSELF}' $1 $2"
    shown = volt.shell(script, network=BRIDGE, workload={"user": "1000:1000"}, security={"capabilities": []})
    four, six = shown.split()
    assert four.startswith("10.189.")
    assert six.startswith("fd")


def test_nothing_outside_reaches_it(volt, machine):
    """Not even from where somebody has made a route."""
    machine.outside("ip", "route", "add", SUBNETS[0], "via", HOST)
    with server(volt) as peer:
        four, six = own(peer.record)
        machine.outside("ip", "-6", "route", "add", f"{six}/128", "via", HOST6)
        served(machine, "tcp", four, 80)
        assert machine.ask("tcp", four, 80, "tcp", six, 80, world=True) == ["TimeoutError"] * 2


# ── addresses


def test_the_address_stays_and_is_told(volt, machine):
    manifest = volt.manifest(network=BRIDGE)
    first, second = (volt("run", manifest, "--", "hostname", "-i").stdout for _ in range(2))
    assert first == second != b""


def test_a_given_address_is_had_or_refused(volt, machine):
    given = {**BRIDGE, "address": "10.189.77.7"}
    with living(volt, network=given) as one:
        assert own(one.record)[0] == "10.189.77.7"
        taken = volt.run("true", network=given)
        assert taken.returncode == 125
        assert f"the address 10.189.77.7 is taken: run {one.record.id}" in taken.stderr.decode()
    for address in ("10.190.0.1", GATEWAY, "10.189.255.255", "10.189.0.9/24", "fd00::1"):
        refused = volt.run("true", network={**BRIDGE, "address": address})
        assert refused.returncode == 125
        assert "foreign-address" in refused.stderr.decode()


def test_on_a_clash_the_next_free_one_is_had(volt, machine, tmp_path):
    """In a subnet for five workloads, the sixth finds none."""
    settings = tmp_path / "config.toml"
    settings.write_text('[network]\nsubnet = "10.9.0.0/29"\n')
    volt.command = configured(settings)
    with ExitStack() as living_ones:
        had = [own(living_ones.enter_context(bridged(volt)).record)[0] for _ in range(5)]
        assert sorted(had) == [f"10.9.0.{last}" for last in range(2, 7)]
        none = volt.run("true", network=BRIDGE)
        assert "no address of the network is free" in none.stderr.decode()


# ── made, and mended


def rules():
    """The rules of volt's tables, as nft(8) lists them, with the elements of sets."""
    words = [["nft", "list", "table", family, "volt"] for family in ("bridge", "inet")]
    return "".join(subprocess.run(each, capture_output=True, text=True, check=False).stdout for each in words)


DAMAGE = {
    "the rules": [["nft", "flush", "ruleset"]],
    "one chain": [["nft", "flush", "chain", "bridge", "volt", "prerouting"]],
    "what it is known by": [
        ["nft", "flush", "set", *of] for of in (("inet", "volt", "bridges"), ("bridge", "volt", "addresses"))
    ],
    "its addresses": [["ip", "addr", "flush", "dev", "volt0"]],
    "its IPv6 address": [["ip", "-6", "addr", "flush", "dev", "volt0", "scope", "global"]],
    "its MAC": [["ip", "link", "set", "volt0", "address", "02:00:00:00:00:01"]],
    "it is down": [["ip", "link", "set", "volt0", "down"]],
    "all of it": [["nft", "flush", "ruleset"], ["ip", "link", "del", "volt0"]],
}
HELD = """
import socket, sys
with socket.create_connection((sys.argv[1], 80)) as held:
    print("connected", flush=True)
    sys.stdin.readline()
    held.sendall(b"still")
    print(held.recv(100).decode(), flush=True)
"""
ECHO = """
import socket
server = socket.create_server(("", 80))
while True:
    one, _ = server.accept()
    one.sendall(one.recv(100))
"""


def neighbours():
    """Who is known to have an address, by MAC: of the bridge itself, and of those on it."""
    own = json.loads(ip("-j", "link", "show", "volt0"))[0]["address"]
    known = json.loads(ip("-j", "neigh", "show", "dev", "volt0", "nud", "permanent"))
    return {own, *((one["dst"], one["lladdr"]) for one in known if "lladdr" in one)}


def addresses(link):
    """Of both families, in the network namespace that stands for a machine."""
    shown = json.loads(subprocess.run(["ip", "-j", "addr", "show", link], capture_output=True, check=True).stdout)
    return {one["local"] for one in shown[0]["addr_info"] if one["scope"] == "global"}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_somebody_has_taken_down_the_next_launch_mends(volt, machine, what):
    """And workloads that run are connected again, with the connections that they had."""
    with bridged(volt, "python3", "-c", ECHO) as peer:
        address = peer.record.address
        served(machine, "tcp", address, 80)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        held = volt.start("run", volt.manifest(network=BRIDGE), "--", "python3", "-c", HELD, address, **pipes)
        assert held.stdout.readline() == b"connected\n"
        before, whole, known = rules(), addresses("volt0"), neighbours()
        for words in DAMAGE[what]:
            subprocess.run(words, check=True)
        assert volt.run("true", network=BRIDGE).returncode == 0
        assert addresses("volt0") == whole
        assert known <= neighbours(), "whoever has an address is known again"
        assert {*before.split("\n")} <= {*rules().split("\n")} or len(rules()) > len(before)
        assert held.communicate(b"\n", timeout=30)[0] == b"still\n"
        with socket.create_connection((address, 80), timeout=20) as asked:  # by a MAC that workloads know
            asked.sendall(b"told")
            assert asked.recv(100) == b"told"
        assert peer.end() == (b"", b""), "nothing is left to be undone"


def test_what_is_whole_is_left_alone(volt, machine):
    """Rules that are made anew get other handles."""
    shown = ["nft", "--handle", "list", "ruleset"]
    assert volt.run("true", network={**BRIDGE, "address": "10.189.7.7"}).returncode == 0
    before = subprocess.run(shown, capture_output=True, check=True).stdout
    assert before.count(b'comment "volt ') > 10
    assert volt.run("true", network={**BRIDGE, "address": "10.189.7.7"}).returncode == 0
    assert subprocess.run(shown, capture_output=True, check=True).stdout == before


ADVERTISE = """
import socket, struct
one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth"))
one.sendto(struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0))
"""


def setting(name):
    return Path("/proc/sys", name).read_text().strip()


def test_the_bridge_takes_no_advertisements_from_its_workloads(volt, machine):
    assert setting("net/ipv6/conf/default/accept_ra") == "1"
    assert volt.run("true", network=BRIDGE).returncode == 0
    assert setting("net/ipv6/conf/default/accept_ra") == "2", "nothing was tried"
    assert setting("net/ipv6/conf/volt0/accept_ra") == "0"


def test_a_route_that_a_router_has_advertised_stays(volt, machine):
    """Forwarding takes it away unless accept_ra is 2. What was changed is noted."""
    ip("-6", "route", "del", "default")

    def advertised():
        machine.outside("python3", "-c", ADVERTISE)
        return "proto ra" in ip("-6", "route")

    until(advertised, "the advertised route")
    assert setting("net/ipv6/conf/all/forwarding") == setting("net/ipv4/ip_forward") == "0"
    assert volt.run("true", network=BRIDGE).returncode == 0
    assert "proto ra" in ip("-6", "route")
    assert setting("net/ipv6/conf/all/forwarding") == setting("net/ipv4/ip_forward") == "1"
    noted = (NETWORKS / str(machine.number) / "sysctls").read_text().splitlines()
    assert {"net/ipv4/ip_forward 0", "net/ipv6/conf/all/forwarding 0", "net/ipv6/conf/wan/accept_ra 1"} <= {*noted}
    assert volt.run("true", network=BRIDGE).returncode == 0
    assert (NETWORKS / str(machine.number) / "sysctls").read_text().splitlines() == noted, "nothing is noted twice"


def test_a_subnet_that_a_route_leads_into_is_left_alone(volt, machine, tmp_path):
    ip("route", "add", "10.0.0.0/8", "via", WORLD)
    assert " 172.29." in f" {volt.shell('hostname -i', network=BRIDGE)}"
    settings = tmp_path / "config.toml"
    settings.write_text('[network]\nsubnet = "10.9.0.0/16"\nbridge = "other0"\n')
    volt.command = configured(settings)
    refused = volt.run("true", network=BRIDGE).stderr.decode()
    assert "its subnet 10.9.0.0/16 overlaps the route 10.0.0.0/8 of wan" in refused


# ── who is asked for whom

# Prints the kind of each frame that comes, until something is said.
LISTEN = """
import select, socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 0))
print("listens", flush=True)
while link in (ready := select.select([link, sys.stdin], [], [])[0]) or sys.stdin not in ready:
    frame, sender = link.recvfrom(2000)
    if sender[2] != socket.PACKET_OUTGOING:
        print(frame[12:14].hex(), flush=True)
"""


def heard(volt, speak):
    """The kinds of the frames that a workload gets while `speak` does something that is none of its business."""
    manifest = volt.manifest(network=BRIDGE, security={"capabilities": ["NET_RAW"]})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with volt.start("run", manifest, "--", "python3", "-c", LISTEN, **pipes) as listening:
        assert listening.stdout.readline() == b"listens\n"
        speak()
        return listening.communicate(b"\n", timeout=30)[0].decode().split()


ARP = "0806"


def test_who_has_an_address_nobody_is_asked_for(volt, machine):
    """Neither by the host nor by a workload: each question would go to all of a network's links."""
    machine.serve("tcp", "0.0.0.0", 7000)
    with server(volt) as peer:
        four = peer.record.address
        served(machine, "tcp", four, 80)

        def speak():
            told = ask(volt, "tcp", four, 80, "tcp", GATEWAY, 7000)
            assert all(ip_address(one.removeprefix("::ffff:")) in ip_network(SUBNETS[0]) for one in told), told
            assert machine.ask("tcp", four, 80) == [f"::ffff:{GATEWAY}"]

        assert ARP not in heard(volt, speak)
        port = f"volt-{int(ip_address(four)):08x}"
        for words in (["neigh", "flush", "all", "nud", "permanent"], ["link", "set", port, "type", "bridge_slave"]):
            ip(*words, *(["proxy_arp_wifi", "off"] if words[0] == "link" else []))
        assert ARP in heard(volt, speak), "where it is not known"


def test_one_that_ends_without_its_bridge_leaves_nothing_to_be_undone(volt, machine):
    """And is started anew, on a bridge that is made for it."""
    made = volt.start("run", volt.manifest(network=BRIDGE), "--", "sleep", "300", stderr=subprocess.PIPE)
    with made as started:
        until(lambda: "PERMANENT" in ip("neigh"), "it is connected")
        ip("link", "del", "volt0")
        started.terminate()
        assert started.stderr.read() == b""
    service = {"restart": "on-failure", "restart_sec": "100ms"}
    path = volt.manifest(network=BRIDGE, service=service)
    run = volt("run", "-d", path, "--", "sh", "-c", "sleep 1; exit 3").stdout.decode().strip()
    ip("link", "del", "volt0")
    until(lambda: state_of(volt, run)["restarts"], "another start")
    until(lambda: "volt0" in ip("link"), "its bridge")
    assert volt("rm", "--force", run).returncode == 0


def test_a_workload_asks_for_no_router(volt, machine):
    """Volt gives its routes, and each question would go to all links."""
    accepts = "cat /proc/sys/net/ipv6/conf/eth0/accept_ra"
    assert volt.shell(accepts, network=BRIDGE) == "0\n"


def test_what_the_host_knows_of_a_workload_ends_with_it(volt, machine):
    with bridged(volt) as one:
        known = [line for line in ip("neigh", "show", "dev", "volt0").splitlines() if "PERMANENT" in line]
        assert sorted(line.split()[0] for line in known) == sorted(own(one.record))
    assert "PERMANENT" not in ip("neigh", "show", "dev", "volt0")


# ── ends


def test_a_supervisor_that_is_killed_leaves_its_address_free(volt, machine):
    """And its link, if it is still there, is not in the way of the next workload that claims it."""
    given = {**BRIDGE, "address": "10.189.77.7"}
    for _ in range(3):
        with living(volt, network=given) as one:
            os.kill(one.record.pid, signal.SIGKILL)
            one.process.wait()
            done = volt.run("true", network=given)
            assert done.returncode == 0, done.stderr.decode()
    with living(volt, network=given) as one:
        os.kill(one.record.pid, signal.SIGKILL)
        one.process.wait()
    assert volt.run("true", network=BRIDGE).returncode == 0, "with another address"
    nothing_left(machine)


def nothing_left(machine):
    assert [*(NETWORKS / str(machine.number) / "addresses").iterdir()] == []
    until(lambda: "volt-" not in ip("link"), "an end of the links")


def test_a_launch_that_was_planned_starts_no_python_and_another_namespace_is_no_hit(tmp_path, busybox, volt_root):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    root = front.small_root(tmp_path / "root", busybox)
    sections = {"workload": {"command": ["hostname", "-i"]}, "storage": {"rootfs": str(root)}}
    manifest = one.manifest(network=BRIDGE, **sections)
    front.let_age()
    with own_machine():
        first = one.planned("run", manifest)
        again = one.cached("run", manifest)
        assert first.stdout == again.stdout != b"", again.stderr
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert one.cached("run", manifest).stdout == first.stdout
        assert "comment" in rules()
    with own_machine():
        assert not one.hits("run", manifest)


def test_audit_finds_what_was_planned(volt, machine):
    with bridged(volt) as one:
        done = volt("audit", one.name)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
