"""Names of workloads on a bridge: who answers for them, for how long, and what it asks the host's resolvers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import OLDER
from tests.host import front
from tests.host.living import living, until
from tests.host.networks import HOST, SUBNET_GATEWAY, WORLD, ip, own_machine
from volt.host.facts import folders, probe_machine
from volt.host.syscalls import landlock_abi
from volt.host.tools import static_program
from volt.model.facts import Resolver
from volt.model.folders import NETWORKS_FOLDER
from volt.model.landlock import PORTS_ABI
from volt.plan.names import withheld

BRIDGE = {"mode": "bridge"}
# Asks a DNS server: KIND SERVER NAME TYPE of each, KIND udp or tcp; prints a line for each: addresses, or why not.
DNS = """
import errno, socket, struct, sys
def question(name, kind):
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", kind, 1)
def told(answer, kind):
    code, count = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
    if code or not count:
        return f"rcode{code}"
    length = {1: 4, 28: 16}[kind]
    return socket.inet_ntop({1: socket.AF_INET, 28: socket.AF_INET6}[kind], answer[-length:])
words = sys.argv[1:]
while words:
    how, server, name, kind, *words = words
    number = {"A": 1, "AAAA": 28}[kind]
    asked = question(name, number)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[how]) as one:
            one.settimeout(2)
            one.connect((server, 53))
            one.send(asked if how == "udp" else struct.pack(">H", len(asked)) + asked)
            answer = one.recv(600)
            print(told(answer[2:] if how == "tcp" else answer, number) if answer else "closed", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno] if error.errno else type(error).__name__, flush=True)
"""
# What getent(1) says of names, of one family: v4 or v6 before each.
FOUND = 'while [ "$1" ]; do echo $(getent ahosts$1 $2 | head -1 | cut -d" " -f1); shift 2; done'


@pytest.fixture
def machine(volt_root):
    """A network namespace that stands for a machine. With the folder of its networks what answers there goes."""
    with own_machine() as own:
        yield own
        left = keepers()
    until(lambda: not any(map(lives, left)), "an end of the resolver")


class Resolved:
    """A machine whose /etc/resolv.conf leads to a file of this test's, as with systemd-resolved."""

    ETC = (
        'mount -t tmpfs none "$0" && mkdir "$0/upper" "$0/work" &&'
        ' mount -t overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" none /etc &&'
        ' ln -sf "$1" /etc/resolv.conf && shift && exec "$@"'
    )

    def __init__(self, place, folder):
        self.place = place
        self.file = folder / "resolv.conf"
        self.say(WORLD)

    def say(self, *servers, search=""):
        """As whoever writes it does: a new file in its place."""
        new = self.file.with_suffix(".new")
        new.write_text("".join(f"nameserver {one}\n" for one in servers) + (f"search {search}\n" if search else ""))
        new.rename(self.file)

    def command(self, arguments):
        before = ["unshare", "--mount", "sh", "-c", self.ETC, self.place, self.file]
        return [*map(str, before), sys.executable, "-m", "volt", *map(str, arguments)]


@pytest.fixture
def resolved(tmp_path):
    """The file in a folder that anybody may look into."""
    with tempfile.TemporaryDirectory(dir="/run", prefix="volt-test-") as folder:
        Path(folder).chmod(0o755)
        (tmp_path / "etc").mkdir()
        yield Resolved(tmp_path / "etc", Path(folder))


@pytest.fixture
def volt(volt, monkeypatch, resolved):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    volt.command = resolved.command
    return volt


def bridged(volt, name="web", *command, **network):
    return living(volt, *command, workload={"name": name}, network={**BRIDGE, **network})


def dns(machine, *words, world=False):
    """What servers say to the machine itself, or to the world."""
    before = machine.in_world if world else []
    words = [*before, "python3", "-c", DNS, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def found(volt, *words, **network):
    """What a new workload finds: v4 or v6, and a name, of each; "" for nothing."""
    shown = volt.shell(f"set -- {' '.join(words)}; {FOUND}", network={**BRIDGE, **network})
    return shown.split("\n")[:-1]


@contextmanager
def upstream(server, address, *, before=()):
    """A resolver of the world's, or the host's own: it knows one name."""
    words = [*before, "dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--pid-file", "--no-hosts"]
    words += ["--no-resolv", f"--listen-address={server}", "--bind-interfaces", "--user=root"]
    process = subprocess.Popen([*words, f"--host-record=known.test,{address}", "--local-ttl=1"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def children(pid):
    """proc_pid_task(5)."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def keepers():
    """Of this network namespace: the keeper's and the resolver's process."""
    number = os.stat("/proc/self/ns/net").st_ino
    state = Path(NETWORKS_FOLDER, str(number), "volt0.resolver")
    try:
        words = state.read_text().split()
        return (int(words[0]), *children(int(words[0]))) if words and lives(words[0]) else ()
    except OSError:  # none has been there, or it has ended meanwhile
        return ()


def lives(pid):
    """proc_pid_stat(5): who has ended may wait for a parent that takes its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


# ── finding


@pytest.mark.kernel
def test_workloads_find_each_other_as_long_as_they_run(volt, machine):
    """By both names, in both families, over UDP and TCP; and through the host whatever its resolvers know."""
    with upstream(WORLD, "198.51.100.7", before=machine.in_world):
        with bridged(volt) as web:
            four, six = web.record.address, web.record.address6
            assert found(volt, "v4", "web", "v4", "web.volt", "v6", "web", "v6", "web.volt") == [four, four, six, six]
            gateway6 = f"{six.rpartition('::')[0]}::1"
            servers = [(kind, server) for kind in ("udp", "tcp") for server in (SUBNET_GATEWAY, gateway6)]
            asked = [word for one in servers for record in ("A", "AAAA") for word in (*one, "web.volt", record)]
            assert dns(machine, *asked) == [four, six] * 4, "the host asks the same server"
            assert found(volt, "v4", "known.test", "v4", "nobody", "v4", "nobody.volt") == ["198.51.100.7", "", ""]
        assert found(volt, "v4", "web", "v4", "web.volt") == ["", ""]


def test_what_a_workload_asks_is_the_bridge_unless_its_manifest_says_otherwise(volt, machine, resolved):
    resolved.say(WORLD, search="example.test sub.test")
    shown = volt.shell("cat /etc/resolv.conf", network=BRIDGE).splitlines()
    assert shown == ["search volt example.test sub.test", f"nameserver {SUBNET_GATEWAY}"]
    with bridged(volt, dns=[WORLD]) as other:
        given = volt.shell("cat /etc/resolv.conf", network={**BRIDGE, "dns": [WORLD]})
        assert given == f"nameserver {WORLD}\n"
        assert found(volt, "v4", "web", dns=[WORLD]) == [""]
        assert found(volt, "v4", "web") == [other.record.address], "which others find"


def test_the_hosts_resolvers_are_followed(volt, machine, resolved):
    """Also to one that answers on its loopback, as systemd-resolved does; nothing is launched anew."""
    with (
        upstream(WORLD, "198.51.100.7", before=machine.in_world),
        upstream("127.0.0.53", "198.51.100.53"),
        bridged(volt),
    ):
        asked = ("udp", SUBNET_GATEWAY, "known.test", "A")
        assert dns(machine, *asked) == ["198.51.100.7"]
        resolved.say("127.0.0.53")
        until(lambda: dns(machine, *asked) == ["198.51.100.53"], "the other resolver")
        (keeper, resolver) = keepers()
        resolved.file = resolved.file.with_name("elsewhere")
        resolved.say(WORLD)
        assert volt.run("true", network=BRIDGE).returncode == 0, "a launch finds that the link leads elsewhere"
        assert dns(machine, *asked, "udp", SUBNET_GATEWAY, "web", "A")[0] == "198.51.100.7"
        assert not {keeper, resolver} & {*keepers()}


# ── kept, and mended


@pytest.mark.parametrize("which", ["the resolver", "its keeper", "both"])
def test_one_that_is_killed_is_mended_with_the_names_of_all_that_run(volt, machine, which):
    with bridged(volt) as web:
        before = keepers()
        for pid in {"the resolver": before[1:], "its keeper": before[:1], "both": before}[which]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(lives, before[1:])), "its end")
        if which == "the resolver":
            until(lambda: dns(machine, "udp", SUBNET_GATEWAY, "web", "A") == [web.record.address], "another one")
        assert found(volt, "v4", "web.volt") == [web.record.address]
        assert len(keepers()) == 2


def test_a_connection_to_it_does_not_outlive_it(volt, machine):
    """dnsmasq has a process for each, which has its sockets: a new one could not listen."""
    import socket

    with bridged(volt) as web, socket.create_connection((SUBNET_GATEWAY, 53)) as held:
        held.send(b"\0")
        until(lambda: len(children(keepers()[1])) == 1, "the connection's process")
        os.kill(keepers()[0], signal.SIGKILL)
        assert found(volt, "v4", "web.volt") == [web.record.address]


def test_launches_at_once_start_one(volt, machine):
    words = ("--", "sh", "-c", "echo up; read end; getent ahostsv4 first >/dev/null")
    manifests = [volt.manifest(workload={"name": name}, network=BRIDGE) for name in ("first", "b", "c", "d", "e")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    all_of_them = [volt.start("run", one, *words, **pipes) for one in manifests]
    until(lambda: len(keepers()) == 2, "a resolver")
    first = keepers()
    assert [one.stdout.readline() for one in all_of_them] == [b"up\n"] * len(all_of_them)
    assert keepers() == first
    for one in all_of_them:
        one.communicate(b"\n", timeout=60)
    assert all_of_them[0].returncode == 0


# ── whose a name is


def test_a_name_is_not_taken_over(volt, machine, tmp_path):
    """By a workload of another state of volt's either, which has names of its own."""
    with bridged(volt) as web:
        other = {**os.environ, "VOLT_ROOT": str(tmp_path / "other")}
        manifest = volt.manifest(workload={"name": "web"}, network=BRIDGE)
        refused = volt("run", manifest, "--", "true", env=other)
        assert refused.returncode == 125
        assert f"'web' is already a name on this network: run {web.record.id}" in refused.stderr.decode()
        assert found(volt, "v4", "web") == [web.record.address]
    assert volt("run", manifest, "--", "true", env=other).returncode == 0


UPDATE = """
import socket, struct, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.connect((sys.argv[1], 53))
zone = b"\\4volt\\0" + struct.pack(">HH", 6, 1)
record = b"\\3web\\4volt\\0" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([10, 189, 0, 99])
one.send(struct.pack(">HHHHHH", 7, 5 << 11, 1, 0, 1, 0) + zone + record)
"""


def test_a_workload_changes_no_name(volt, machine):
    """Neither by RFC 2136, nor by asking for an address."""
    with bridged(volt) as web:
        volt.shell(f"python3 -c '{UPDATE}' {SUBNET_GATEWAY}", network=BRIDGE)
        assert found(volt, "v4", "web") == [web.record.address]
        bound = Path("/proc/self/net/udp").read_text()
        assert ":0035 " in bound
        assert ":0043 " not in bound


def test_names_that_mean_something_else_are_nobodys(volt, machine):
    with bridged(volt, "wpad"):
        assert found(volt, "v4", "wpad", "v4", "wpad.volt") == ["", ""]
        said = volt("plan", volt.manifest(workload={"name": "wpad", "command": ["true"]}, network=BRIDGE))
        assert b"no other workload finds wpad by its name" in said.stdout


# ── what it is itself


def status(pid, *keys):
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [lines[key].split()[0] for key in keys]


def test_it_can_do_little_and_nobody_outside_reaches_it(volt, machine):
    with bridged(volt):
        resolver = keepers()[1]
        user, *rest = status(resolver, "Uid", "CapPrm", "CapBnd", "NoNewPrivs")
        assert user != "0"
        assert rest == ["0000000000000400", "0000000000000400", "1"], "NET_BIND_SERVICE alone"
        assert os.readlink(f"/proc/{resolver}/ns/pid") != os.readlink("/proc/self/ns/pid")
        machine.outside("ip", "route", "add", SUBNET_GATEWAY, "via", HOST)
        ways = [(kind, server) for kind in ("udp", "tcp") for server in (HOST, SUBNET_GATEWAY)]
        told = dns(machine, *(word for one in ways for word in (*one, "web.volt", "A")), world=True)
        assert told == ["ECONNREFUSED", "TimeoutError", "ECONNREFUSED", "closed"]


# ── without


def without_dnsmasq(volt):
    hide = 'mount --bind /dev/null /usr/sbin/dnsmasq && exec "$@"'
    command = volt.command
    return lambda arguments: ["unshare", "--mount", "sh", "-c", hide, "sh", *command(arguments)]


WITHOUT = {"it is not installed": "dnsmasq is not installed", "its port is taken": "another DNS server has port 53"}


@pytest.mark.parametrize("why", WITHOUT)
def test_without_it_there_are_the_hosts_resolvers_and_it_is_said(volt, machine, why):
    if why == "its port is taken":
        machine.serve("udp", "0.0.0.0", 53)
    else:
        volt.command = without_dnsmasq(volt)
    manifest = volt.manifest(workload={"name": "web", "command": ["cat", "/etc/resolv.conf"]}, network=BRIDGE)
    said = volt("plan", manifest).stdout.decode()
    assert f"no names of workloads are answered on volt0: {WITHOUT[why]}" in said
    assert volt("run", manifest).stdout.decode() == f"nameserver {WORLD}\n"
    assert keepers() == ()


def test_one_that_cannot_start_ends_the_launch_with_its_own_words_and_is_planned_without(tmp_path, busybox, volt_root):
    """Somebody has taken the port since the plan was made, which is then forgotten; none is kept until he goes."""
    one = front.Front(tmp_path, front.Installation(tmp_path))
    root = front.small_root(tmp_path / "root", busybox)
    sections = {"workload": {"command": ["cat", "/etc/resolv.conf"]}, "storage": {"rootfs": str(root)}}
    manifest = one.manifest(network=BRIDGE, **sections)
    front.let_age()
    with own_machine() as machine:
        named = one.planned("run", manifest).stdout
        assert f"nameserver {SUBNET_GATEWAY}" in named.decode()
        assert one.cached("run", manifest).stdout == named
        until(lambda: not keepers(), "its end")
        machine.serve("tcp", "0.0.0.0", 53)
        failed = one("run", manifest)
        assert failed.returncode == 125
        assert f"failed to create listening socket for {SUBNET_GATEWAY}" in failed.stderr.decode()
        for _ in range(2):
            assert SUBNET_GATEWAY not in one.planned("run", manifest).stdout.decode()
        machine.started[0].kill()
        machine.started[0].wait()
        assert one.planned("run", manifest).stdout == named


# ── ends


def test_it_ends_with_the_last_name_and_not_before(volt, machine):
    with bridged(volt) as web:
        with bridged(volt, "db"):
            first = keepers()
        time.sleep(2.5)
        assert keepers() == first
    assert keepers() == first, "what is launched again soon finds it"
    until(lambda: not keepers(), "its end")
    nothing_left(machine, web)


def test_a_killed_supervisor_leaves_no_name_and_nothing_that_answers(volt, machine):
    """Without any other command: no process of a run may live on."""
    with bridged(volt, "db") as db:
        with bridged(volt) as web:
            os.kill(web.record.pid, signal.SIGKILL)
            web.process.wait()
            until(lambda: dns(machine, "udp", SUBNET_GATEWAY, "web", "A") == ["rcode3"], "an end of the name")
        assert dns(machine, "udp", SUBNET_GATEWAY, "db", "A") == [db.record.address]
        os.kill(db.record.pid, signal.SIGKILL)
        db.process.wait()
        until(lambda: not keepers(), "its end")
        nothing_left(machine, web)
    assert volt("ps").returncode == 0, "which removes what else there is of them"


def nothing_left(machine, web):
    folder = Path(NETWORKS_FOLDER, str(machine.number))
    assert [*(folder / "volt0.names").iterdir()] == []
    assert (folder / "volt0.resolver").read_text() == ""
    assert SUBNET_GATEWAY in ip("addr")
    assert not lives(web.record.pid)


# What is started in its place tries what it may not: FILE, which anybody may read and write.
TRIES = """
exec 1>&2
echo user $(id -u)
cat /etc/passwd >/dev/null && echo reads passwd
(cat $FILE) 2>/dev/null && echo reads
(echo x >>$FILE) 2>/dev/null && echo writes
(echo >/dev/tcp/127.0.0.1/9) 2>&1 | grep -o "Permission denied"
"""


@pytest.mark.skipif(landlock_abi() < PORTS_ABI, reason=OLDER[PORTS_ABI])
def test_it_reads_and_writes_no_more_than_it_has_to(tmp_path):
    """The keeper, with another program for dnsmasq."""
    (tmp_path / "n.names").mkdir()
    facts = probe_machine(folders())
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="volt-test-") as folder:
        file = Path(folder, "file")
        file.write_text("")
        Path(folder).chmod(0o755)
        file.chmod(0o666)
        words = ["65534", "65534", "7f000001", *withheld(facts, Resolver(file="/etc/resolv.conf"))]
        started = [*words, "/bin/bash", "-c", TRIES.replace("$FILE", str(file))]
        lock = 'exec 3<>"$0.resolver" && exec "$1" keep-names "$0" mark "${@:2}"'
        done = subprocess.run(
            ["bash", "-c", lock, str(tmp_path / "n"), static_program(), *started], stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 125
    assert {*done.stderr.decode().splitlines()} == {"user 65534", "reads passwd", "Permission denied"}
