"""Servers behind a port, and the clients in the world that ask them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import peers
from bench.measure import BenchFailed
from bench.namespaces import Machine, Namespace, link
from bench.world import World

HTTP, ECHO, IPERF = 8080, 7007, 5201  # ports of a machine
# Both at once: busybox's nc starts a cat for each connection, which sends back what it reads.
SERVE = f"/bin/iperf3 -s >/dev/null & exec /bin/busybox nc -ll -p {ECHO} -e /bin/cat"
BARE = 'mount --bind /dev "$0/dev" && exec chroot "$0" /bin/busybox sh -c "$1"'
BARE_RULES = """\
table ip bare {{
    chain arriving {{
        type nat hook prerouting priority dstnat
        tcp dport {{ {ports} }} dnat to {inside}
    }}
}}
"""
SECONDS = 1  # of each iperf3
PATIENCE = 60.0  # seconds until a server answers
ASKED, PAUSE = 0.1, 0.001  # seconds for a connection, and until the next
TURNS = 0.1  # seconds of round trips
MESSAGE = b"x" * 64


def serving_root(root: Path) -> None:
    """The usual one, with iperf3, its libraries, and a page."""
    peers.root_file_system(root)
    (root / "bin/cat").symlink_to("busybox")
    (root / "index.html").write_text("a page\n")
    (root / "tmp").chmod(0o1777)
    iperf3 = peers.find_program("iperf3", os.environ)
    shutil.copy(iperf3, root / "bin/iperf3")
    listed = subprocess.run(["ldd", iperf3], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        place = root / library[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


@contextmanager
def bare_machine(world: World, outside: Namespace) -> Iterator[Machine]:
    """The same servers of the same root in a network namespace, behind one veth and one rule, with no walls."""
    inside_address, gateway = "10.0.0.2", "10.0.0.1"
    with Machine(outside, 2) as machine, Namespace() as inside:
        link((machine, "bare", gateway), (inside, "eth0", inside_address))
        inside.run("ip", "route", "add", "default", "via", gateway)
        machine.do(Path("/proc/sys/net/ipv4/ip_forward").write_text, "1")
        machine.run("nft", "-f", "-", said=BARE_RULES.format(ports=f"{ECHO}, {IPERF}", inside=inside_address))
        serve = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BARE, str(world.root), SERVE]
        server = inside.do(subprocess.Popen, serve, stdin=subprocess.DEVNULL)
        try:
            yield machine
        finally:
            server.kill()
            server.wait()


def first_answer(address: str) -> float:
    """When an HTTP server first answers, by the clock that counts. Raises BenchFailed."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        try:
            with socket.create_connection((address, HTTP), ASKED) as one:
                one.settimeout(PATIENCE)
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if one.recv(1):
                    return time.perf_counter()
        except OSError:  # not yet
            time.sleep(PAUSE)
    raise BenchFailed(f"{address}:{HTTP} has not answered for {PATIENCE:.0f} seconds")


def throughput(outside: Namespace, address: str) -> float:
    """Gbit/s that come in through a port. Raises BenchFailed."""
    return outside.do(_throughput, address)


def _throughput(address: str) -> float:
    deadline = time.perf_counter() + PATIENCE
    argv = ["iperf3", "--json", "-c", address, "-p", str(IPERF), "-t", str(SECONDS)]
    while True:
        said = json.loads(subprocess.run(argv, capture_output=True, check=False).stdout)
        if "error" not in said:
            return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9
        if time.perf_counter() > deadline:  # until it listens, or has done with the one before
            raise BenchFailed(f"{address}: {said['error']}")


def turns(outside: Namespace, address: str) -> float:
    """Round trips a second of a small message over one connection. Raises BenchFailed."""
    return outside.do(_turns, address)


def _turns(address: str) -> float:
    with connected(address) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + TURNS:
            one.sendall(MESSAGE)
            if one.recv(len(MESSAGE), socket.MSG_WAITALL) != MESSAGE:
                raise BenchFailed(f"{address}:{ECHO} answers something else")
            count += 1
        return count / (time.perf_counter() - begin)


def connected(address: str) -> socket.socket:
    """To the echo, once that listens. Raises BenchFailed."""
    deadline = time.perf_counter() + PATIENCE
    while True:
        try:
            return socket.create_connection((address, ECHO), PATIENCE)
        except OSError as error:
            if time.perf_counter() > deadline:
                raise BenchFailed(f"{address}:{ECHO} does not answer: {error}") from error
            time.sleep(PAUSE)
