"""Networks of a test's own: the process enters a network namespace that stands for a machine, whose only way out is a
routed link to another that stands for the world. The machine that runs the tests is not touched."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.host.living import until

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
FOLDER = Path("/run/volt/networks")
HOST, WORLD = "192.0.2.1", "192.0.2.2"
SUBNET_GATEWAY = "10.189.0.1"  # of the first subnet that volt tries
HOST6, WORLD6 = "2001:db8:1::1", "2001:db8:1::2"

# Answers each connection, or datagram, with the sender's address: SERVE FAMILY KIND ADDRESS PORT; prints "ready".
SERVE = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    server.listen()
print("ready", flush=True)
while True:
    if kind == socket.SOCK_DGRAM:
        said, sender = server.recvfrom(100)
        server.sendto(sender[0].encode(), sender)
    else:
        one, sender = server.accept()
        one.sendall(sender[0].encode())
        one.close()
"""
# Asks such servers, each KIND ADDRESS PORT, and prints a line for each: what it was told, or why not.
ASK = """
import errno, socket, sys
words = sys.argv[1:]
while words:
    kind, address, port, *words = words
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]) as one:
            one.settimeout(3)
            one.connect((address, int(port)))
            if kind == "udp":
                one.send(b"x")
            print(one.recv(100).decode() or "closed", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno] if error.errno else type(error).__name__, flush=True)
"""


def _checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unshare_network():
    _checked(LIBC.unshare(CLONE_NEWNET))


def enter(descriptor):
    _checked(LIBC.setns(descriptor, CLONE_NEWNET))


def ip(*words):
    """ip(8): what it prints."""
    done = subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


class Machine:
    """The namespace that the test is in, and the world behind it."""

    def __init__(self):
        self.number = os.stat("/proc/self/ns/net").st_ino
        self.world = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        self.started = []
        until(lambda: os.stat(self.namespace).st_ino != self.number)
        ip("link", "set", "lo", "up")
        ip("link", "add", "wan", "type", "veth", "peer", "name", "eth", "netns", self.world.pid)
        self._set_up("wan", HOST, HOST6)
        self.outside("ip", "link", "set", "lo", "up")
        self._set_up("eth", WORLD, WORLD6, before=self.in_world)
        ip("route", "add", "default", "via", WORLD)
        ip("-6", "route", "add", "default", "via", WORLD6)

    @property
    def namespace(self):
        return f"/proc/{self.world.pid}/ns/net"

    @property
    def in_world(self):
        return ["nsenter", f"--net={self.namespace}"]

    def _set_up(self, link, four, six, before=()):
        for words in (["addr", "add", f"{four}/24", "dev", link], ["link", "set", link, "up"]):
            subprocess.run([*before, "ip", *words], check=True)
        subprocess.run([*before, "ip", "addr", "add", f"{six}/64", "dev", link, "nodad"], check=True)

    def outside(self, *words, **options):
        """A command in the world: what it prints."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run([*self.in_world, *words], check=True, **options).stdout

    def serve(self, kind, address, port, *, world=False):
        """An echo of senders' addresses, in the world or here, as long as the test."""
        before = self.in_world if world else []
        words = [*before, "python3", "-c", SERVE, kind, address, str(port)]
        server = subprocess.Popen(words, stdout=subprocess.PIPE)
        self.started.append(server)
        assert server.stdout.readline() == b"ready\n"

    def ask(self, *words, world=False):
        """What each server asked for says: KIND ADDRESS PORT of each."""
        before = self.in_world if world else []
        done = subprocess.run(
            [*before, "python3", "-c", ASK, *map(str, words)], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.split()

    def end(self):
        for process in (*self.started, self.world):
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(FOLDER / str(self.number), ignore_errors=True)


@contextlib.contextmanager
def own_definitions():
    """In a mount namespace of this test's own, where nothing lies in /etc/volt yet: that folder, or a file, is mounted
    over the machine's own."""
    before, here = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY), os.getcwd()
    os.makedirs("/etc/volt", exist_ok=True)
    _checked(LIBC.unshare(CLONE_NEWNS))
    try:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", "/etc/volt"], check=True)
        yield Path("/etc/volt/networks")
    finally:
        _checked(LIBC.setns(before, CLONE_NEWNS))
        os.close(before)
        os.chdir(here)  # setns(2) led to the root


@contextlib.contextmanager
def own_machine():
    """In a network namespace of this test's own, with a world around."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    unshare_network()
    try:
        machine = Machine()
        try:
            yield machine
        finally:
            machine.end()
    finally:
        enter(before)
        os.close(before)


@pytest.fixture(name="machine")
def own_network(volt_root):
    """A network namespace that stands for a machine."""
    with own_machine() as machine:
        yield machine


@pytest.fixture(name="volt")
def asked_here(volt, monkeypatch):
    """A volt whose runs this process looks at, too."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    return volt
