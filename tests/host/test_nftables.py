"""Ports held by nftables where Landlock has none: from inside, and that without the rules the same probe gets through.

The kernel that runs may well have Landlock's ports: the facts that a plan is made from are changed here, no product's
switch is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.host.living import until
from volt.api.auditing import compared
from volt.api.looking import running
from volt.api.planning import planned, resolved
from volt.errors import HostUnfit, StateError
from volt.host.facts import folders
from volt.host.kernel import modules
from volt.host.profiles import shipped_profile
from volt.host.syscalls import landlock_abi
from volt.host.watch import Watch, watch_machine
from volt.launch import handover
from volt.model.facts import Call
from volt.model.landlock import PORTS_ABI
from volt.model.steps import BoundCapabilities, SendNetlink, SetCapabilities
from volt.plan.assemble import make_plan
from volt.plan.nftables import PROTOCOL
from volt.plan.seccomp import filter_of
from volt.runs.processes import tree_of

pytestmark = pytest.mark.kernel

MPTCP = Path("/proc/sys/net/mptcp/enabled")
OLD = 2  # Debian 12's Landlock

# For each word, FAMILY:PORT: somebody listens there, and somebody else connects and is heard.
PROBE = """
import errno, socket, sys
for word in sys.argv[1:]:
    family, _, port = word.partition(":")
    kind, address = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1")}[family]
    try:
        with socket.socket(kind) as server, socket.socket(kind) as client:
            server.bind((address, int(port)))
            server.listen()
            client.settimeout(10)
            client.connect((address, server.getsockname()[1]))
            with server.accept()[0] as heard:
                client.send(b"x")
                assert heard.recv(1) == b"x"
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno] if error.errno else type(error).__name__)
"""
# Delete the table, as `nft delete table inet volt`: prints the name of the errno, or "done".
DELETE = f"""
import errno, socket, struct
def message(number, kind, flags, family, to, body=b""):
    head = struct.pack("<IHHII", 20 + len(body), kind, flags, number, 0)
    return head + struct.pack(">BBH", family, 0, to) + body
name = struct.pack("<HH", 9, 1) + b"volt" + bytes(4)
batch = message(1, 0x10, 1, 0, 10) + message(2, 10 << 8 | 2, 5, 1, 0, name) + message(3, 0x11, 1, 0, 10)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, {PROTOCOL}) as netlink:
    netlink.send(batch)
    error = -struct.unpack_from("<i", netlink.recv(4096), 16)[0]
print(errno.errorcode[error] if error else "done")
"""
STRICT = {"landlock_profile": "strict"}


class Old:
    """Plans for a kernel whose Landlock has no ports, launched here."""

    def __init__(self, volt):
        self.volt = volt

    def plan(self, *command, **sections):
        """The plan that Debian 12's kernel would get."""
        path, call = self.volt.manifest(**sections), Call(command=command)
        workload = resolved(path, None, None, None).workload
        found = replace(planned(path, None, None, call)[1], landlock_abi=OLD, nftables=True)
        profile = shipped_profile("seccomp", workload.security.seccomp_profile or "default")
        return found, make_plan(workload, found, call, lambda caps: filter_of(profile, caps, found))

    def ports(self, *ports, access=("bind_tcp", "connect_tcp")):
        """A policy that gives these, and asks for nothing else: under `none` a manifest declares no ports."""
        path = self.volt.folder / "ports.toml"
        path.write_text(f"[[net_port]]\nport = {[*ports]}\nallowed_access = {[*access]}\n")
        return {"landlock_profile": str(path)}

    def run(self, facts, plan):
        """(status, standard output and error) of a plan."""
        process = handover.spawn(facts.program, plan, (-3, -1, -2), ())
        said = process.communicate(timeout=60)[0].decode()
        return process.returncode, said

    def __call__(self, facts, plan):
        """What a workload prints that ends well."""
        status, said = self.run(facts, plan)
        assert status == 0, said
        return said.split()


@pytest.fixture
def old(volt, volt_root):
    return Old(volt)


def probe(*words):
    return ("python3", "-c", PROBE, *words)


def without_rules(plan):
    """The plan, less the wall."""
    kept = tuple(step for step in plan.init if not isinstance(step, SendNetlink))
    assert len(kept) < len(plan.init)
    return replace(plan, init=kept)


WORDS = ("4:8080", "6:8080", "4:8079", "6:8081", "4:1", "4:65535", "4:0")


def test_declared_ports_are_reached_and_no_others(old):
    facts, plan = old.plan(*probe(*WORDS), security=old.ports(8080))
    assert old(facts, plan) == ["done"] * 2 + ["ECONNREFUSED"] * 5
    assert old(facts, without_rules(plan)) == ["done"] * 7


def test_strict_reaches_none_where_none_is_declared(old):
    facts, plan = old.plan(*probe("4:8080", "6:8080"), security=STRICT)
    assert old(facts, plan) == ["ECONNREFUSED"] * 2
    assert old(facts, without_rules(plan)) == ["done"] * 2


@pytest.mark.parametrize(("right", "picked"), [("bind_tcp", "done"), ("connect_tcp", "ECONNREFUSED")])
def test_each_right_is_held_by_itself_and_to_bind_port_0_is_to_be_given_one(old, right, picked):
    security = old.ports(0, 80, 81, 82, access=[right])
    facts, plan = old.plan(*probe("4:81", "4:0", "4:83"), security=security)
    assert old(facts, plan) == ["done", picked, "ECONNREFUSED"]


def other_ports(plan):
    """The plan with port 8081 in the place of 8080."""
    ports = [one.to_bytes(2, "big") + bytes(2) for one in (8080, 8081)]
    assert any(ports[0] in step.request for step in plan.init if isinstance(step, SendNetlink))

    def change(step):
        return replace(step, request=step.request.replace(*ports)) if isinstance(step, SendNetlink) else step

    return replace(plan, init=tuple(map(change, plan.init)))


def test_audit_compares_the_rules_and_names_each_chain_that_is_not_there_or_another(old):
    security = old.ports(8080)
    facts, plan = old.plan("sleep", "60", security=security)
    both = {"nftables input", "nftables output"}
    _, input_alone = old.plan("sleep", "60", security=old.ports(8080, access=["bind_tcp"]))

    def missing(launched):
        process = handover.spawn(facts.program, launched, (-3, -3, -3), ())
        try:
            record = until(lambda: sleeping(plan.name), plan.name)
            found = {point.name: point.holds for point in compared(record, plan).points}
        finally:
            process.terminate()
            process.wait(timeout=60)
        assert both <= found.keys()
        return {name for name in both if not found[name]}

    assert missing(plan) == set()
    assert missing(without_rules(plan)) == both
    assert missing(other_ports(plan)) == both
    assert missing(replace(plan, init=input_alone.init)) == {"nftables output"}


def sleeping(name):
    """Its record, once its command runs."""
    try:
        record = running(folders(), name)
        payload = tree_of(record).inside[0]
    except StateError:
        return None
    return record if Path(f"/proc/{payload}/comm").read_text() == "sleep\n" else None


def test_udp_and_sockets_by_path_are_left_alone(old):
    script = """
import socket
one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
one.bind(("127.0.0.1", 5353))
other.sendto(b"udp", ("127.0.0.1", 5353))
print(one.recv(9).decode())
server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
server.bind("/tmp/s")
server.listen()
client.connect("/tmp/s")
print("path")
"""
    assert old(*old.plan("python3", "-c", script, security=STRICT)) == ["udp", "path"]


ELSEWISE = """
import errno, socket, sys
def served(server, *bound):
    server.listen()
    with socket.socket() as client:
        for port in bound:
            client.bind(("127.0.0.1", port))
        client.connect(("127.0.0.1", server.getsockname()[1]))
def multipath():
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    server.bind(("127.0.0.1", 8081))
    served(server)
def source():
    server = socket.socket()
    server.bind(("127.0.0.1", 8080))
    served(server, 8099)
for act in (lambda: served(socket.socket()), multipath, source):
    try:
        act()
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_where_it_holds_more_than_landlock_and_where_less(old):
    """Listening without bind and over multipath TCP; the port that a client binds. docs/reference/landlock.md"""
    facts, plan = old.plan("python3", "-c", ELSEWISE, security=old.ports(8080))
    multipath = "ECONNREFUSED" if MPTCP.exists() else "EPROTONOSUPPORT"
    assert old(facts, plan) == ["ECONNREFUSED", multipath, "done"]
    assert old(facts, without_rules(plan))[0] == "done"


# ── who may change the rules

FREE = {"landlock_profile": "strict", "seccomp_profile": "unconfined"}


def with_capabilities(plan, *names):
    """The plan, with more than the manifest gives."""
    given = {BoundCapabilities: {"caps": names}, SetCapabilities: {"caps": names}}
    return replace(plan, payload=tuple(replace(step, **given.get(type(step), {})) for step in plan.payload))


def test_a_payload_cannot_take_the_rules_away(old):
    others = ["NET_RAW", "SYS_ADMIN", "DAC_OVERRIDE", "SETPCAP"]
    for listed in ({}, {"capabilities": others}):
        facts, plan = old.plan("python3", "-c", DELETE, security={**FREE, **listed})
        assert old(facts, plan) == ["EPERM"]
    assert old(facts, with_capabilities(plan, "NET_ADMIN")) == ["done"], "the probe works for whoever may"


@pytest.mark.parametrize("power", ["NET_ADMIN", "SYS_PTRACE"])
def test_where_it_could_the_wall_does_not_count(old, power):
    with pytest.raises(HostUnfit, match=rf"bind_tcp, connect_tcp .* could be changed with {power}"):
        old.plan("true", security={**FREE, "capabilities": [power]})


# ── failures


def doubled(plan):
    """The plan, with every batch sent twice: the table is there already."""
    steps = []
    for step in plan.init:
        steps += [step] * (1 + isinstance(step, SendNetlink))
    return replace(plan, init=tuple(steps))


def test_rules_that_the_kernel_refuses_end_the_start(old):
    facts, plan = old.plan("true", security=STRICT)
    status, said = old.run(facts, doubled(plan))
    assert status == 125
    assert "send-netlink" in said
    assert "message 2 of the request: File exists" in said


def test_rules_that_say_nonsense_end_the_start(old):
    facts, plan = old.plan("true", security=STRICT)
    init = tuple(
        replace(step, request=step.request.replace(b"reject\0", b"nonsen\0")) if isinstance(step, SendNetlink) else step
        for step in plan.init
    )
    status, said = old.run(facts, replace(plan, init=init))
    assert (status, "send-netlink" in said) == (125, True), said


def test_many_ranges_go_in_several_batches(old):
    words = ("4:2000", "4:2298", "4:2598", "4:2001", "4:2600")
    facts, plan = old.plan(*probe(*words), security=old.ports(*range(2000, 2600, 2)))
    assert len([step for step in plan.init if isinstance(step, SendNetlink)]) > 3
    assert old(facts, plan) == ["done"] * 3 + ["ECONNREFUSED"] * 2


# ── the kernel as it is


def test_declared_ports_are_reached_and_no_others_on_every_kernel(old):
    """By Landlock, which refuses to bind, or by these rules: nothing is changed here."""
    done = old.volt.run(*probe("4:8080", "6:8080", "4:8081"), security=old.ports(8080))
    assert done.returncode == 0, done.stderr.decode()
    refused = "EACCES" if landlock_abi() >= PORTS_ABI else "ECONNREFUSED"
    assert done.stdout.decode().split() == ["done", "done", refused]


def test_a_plan_depends_on_what_can_be_loaded_where_that_counts():
    watch = Watch(bytes(16))
    watch_machine(watch)
    noted = modules(os.uname().release) in {name for _, name in watch.found}
    assert noted == (landlock_abi() < PORTS_ABI)
