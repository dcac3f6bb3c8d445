"""Networks of one's own: defined, joined, separated from each other, and taken away with all that they changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.host import front
from tests.host.living import living, until
from tests.host.networks import FOLDER, HOST, HOST6, SERVE, WORLD, WORLD6, asked_here, ip, own_definitions, own_machine
from tests.host.test_names import lives
from volt import api
from volt.api.clearing import link_of
from volt.host import sysctls

__all__ = ["asked_here"]  # fixtures

# Asks each of what a line names, all at once: KIND ADDRESS PORT …; answers with a line of what came of each.
ASKING = """
import errno, socket, sys, threading
KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "ping": (socket.SOCK_DGRAM, None)}
def ask(kind, address, port, told, at):
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    sort, protocol = KINDS[kind]
    if protocol is None:
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    try:
        with socket.socket(family, sort, protocol) as one:
            one.settimeout(0.7)
            one.connect((address, int(port)))
            if kind != "tcp":
                one.send(b"x" if kind == "udp" else bytes([128 if six else 8]) + bytes(7))
            told[at] = "told" if one.recv(100) else "closed"
    except OSError as error:
        told[at] = errno.errorcode[error.errno] if error.errno else type(error).__name__
print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    asked = [words[at:at + 3] for at in range(0, len(words), 3)]
    told = [None] * len(asked)
    threads = [threading.Thread(target=ask, args=(*one, told, at)) for at, one in enumerate(asked)]
    for one in threads: one.start()
    for one in threads: one.join()
    print(*told, flush=True)
"""
SERVING = """
import subprocess, sys
both = [subprocess.Popen([sys.executable, "-c", sys.argv[1], kind, "::", "80"]) for kind in ("tcp", "udp")]
both[0].wait()
"""
CAPABLE = {"capabilities": ["NET_ADMIN"]}
# What the kernel sets with forwarding, and not back again.
HARDENED = {
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/wan/forwarding": "1",
    "net/ipv6/conf/wan/forwarding": "1",
}
NOTHING = {"TimeoutError", "ENETUNREACH", "EHOSTUNREACH"}


@pytest.fixture
def machine(volt_root):
    """A network namespace that stands for a machine, on which no network is defined yet."""
    with own_machine() as own, own_definitions():
        yield own


def done(volt, *words):
    """What a verb prints that succeeds."""
    result = volt(*words)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def refused(volt, *words, status=1):
    result = volt(*words)
    assert result.returncode == status, result.stdout.decode()
    return result.stderr.decode()


def known(volt, name="bridge"):
    return json.loads(done(volt, "net", "show", name, "--json"))["network"]


def on(name):
    return {"mode": "custom", "name": name}


def serving(volt, name):
    """A workload on a network that answers TCP and UDP at port 80."""
    return living(volt, "python3", "-c", SERVING, SERVE, network=on(name))


class Asker:
    """A workload that asks what it is told to."""

    def __init__(self, process):
        self.process = process
        assert self.process.stdout.readline() == b"ready\n"

    def __call__(self, *addresses, kinds=("tcp", "udp", "ping"), port=80):
        """What came of each kind to each address."""
        words = [word for address in addresses for kind in kinds for word in (kind, address, str(port))]
        self.process.stdin.write(f"{' '.join(words)}\n".encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().split()


@contextmanager
def asking(volt, network, *before, **sections):
    """On a network: `before` are commands of a shell that it begins with."""
    script = "; ".join([*before, 'exec python3 -c "$0"'])
    manifest = volt.manifest(network=network, **sections)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = volt.start("run", manifest, "--", "sh", "-c", script, ASKING, **pipes)
    try:
        yield Asker(process)
    finally:
        process.communicate(timeout=60)


def world_asks(machine, *addresses):
    """What comes of TCP and UDP from the world."""
    words = [word for address in addresses for kind in ("tcp", "udp") for word in (kind, address, "80")]
    return machine.outside("python3", "-c", ASKING, input=f"{' '.join(words)}\n").split()[1:]


def settings():
    """Every setting of this network namespace that forwarding has to do with, by its path."""
    roots = [Path("/proc/sys/net", family, "conf") for family in ("ipv4", "ipv6")]
    paths = [path for root in roots for path in root.rglob("*") if path.is_file()]
    found = {"net/ipv4/ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text()}
    for path in paths:
        try:
            found[str(path)] = path.read_text()
        except OSError:  # to be written alone, or not set yet
            continue
    return found


def hardened():
    """The settings of a machine where the kernel has more to put back."""
    for setting, value in HARDENED.items():
        Path("/proc/sys", setting).write_text(value)
    return settings()


def ruleset():
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


# ── defined, joined, taken away


@pytest.mark.kernel
def test_a_network_is_defined_joined_and_taken_away_with_all_that_it_changed(volt, machine):
    before, links = hardened(), ip("link")
    assert done(volt, "net", "create", "lan", "--mtu", "1400") == "lan\n"
    assert Path("/etc/volt/networks/lan.toml").stat().st_mode & 0o777 == 0o644
    assert settings() == before, "a definition changes nothing yet"
    assert done(volt, "__complete", "zsh", "net", "rm", "") == "bridge\tthe default one\nlan\n"
    with living(volt, network={**on("lan"), "ports": ["80"]}) as one:
        found = known(volt, "lan")
        assert (found["bridge"], found["present"], found["whole"], found["mtu"]) == ("vn-lan", True, True, 1400)
        assert one.record.address.startswith("10.203.0.")
        assert 'elements = { "vn-lan" }' in ruleset(), "who reads the rules sees of which network they are"
        (user,) = found["workloads"]
        assert user == {"address": one.record.address, "run": one.record.id, "pid": one.record.pid, "name": one.name}
        assert {"path": "net/ipv4/ip_forward", "before": "0", "now": "1"} in found["sysctls"]
        assert [line.split()[4] for line in done(volt, "net", "ls").splitlines()] == ["WORKLOADS", "0", "1"]
        said = refused(volt, "net", "rm", "lan")
        assert f"workloads are on lan: {one.name} ({one.record.address})" in said
        assert known(volt, "lan")["present"], "refused is nothing done"
    keeper = (FOLDER / str(machine.number) / "vn-lan.resolver").read_text().split()[0]
    assert lives(keeper)
    assert done(volt, "net", "rm", "lan") == "lan\n"
    assert not [*Path("/etc/volt/networks").iterdir()]
    assert settings() == before
    assert ruleset() == ""
    assert not lives(keeper), "of what answers for names"
    assert os.listdir(FOLDER / str(machine.number)) == ["addresses"]
    until(lambda: ip("link").replace("state LOWERLAYERDOWN", "state UP") == links, "the links as before")
    assert "there is no network 'lan'" in refused(volt, "net", "rm", "lan")


def test_what_somebody_has_set_since_stays_and_settings_stay_while_a_network_is_left(volt, machine):
    done(volt, "net", "create", "lan")
    assert volt.run("true", network=on("lan")).returncode == 0
    assert volt.run("true", network={"mode": "bridge"}).returncode == 0
    Path("/proc/sys/net/ipv6/conf/wan/accept_ra").write_text("0")
    done(volt, "net", "rm", "lan")
    assert known(volt)["whole"], "the default one still needs its rules"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    removed = volt("net", "rm", "bridge")
    assert removed.returncode == 0
    assert "net/ipv6/conf/wan/accept_ra is 0, which volt did not make it" in removed.stderr.decode()
    assert Path("/proc/sys/net/ipv6/conf/wan/accept_ra").read_text() == "0\n"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    assert volt.run("true", network={"mode": "bridge"}).returncode == 0, "it comes back"


def test_a_launch_that_comes_while_the_settings_are_put_back_has_them(volt, machine, monkeypatch):
    forwards = Path("/proc/sys/net/ipv4/ip_forward")
    assert volt.run("true", network={"mode": "bridge"}).returncode == 0
    put_back = sysctls.put_back
    with ExitStack() as coming:

        def late(folder):
            coming.enter_context(living(volt, network={"mode": "bridge"}))
            assert forwards.read_text() == "1\n", "it found what it needs"
            return put_back(folder)

        monkeypatch.setattr(sysctls, "put_back", late)
        removed = api.remove_network("bridge")
        assert (removed.rules, forwards.read_text()) == (False, "1\n")
        assert "net/ipv4/ip_forward" in [one.path for one in api.network().sysctls]
    monkeypatch.undo()
    assert api.remove_network("bridge").rules
    assert forwards.read_text() == "0\n"


def test_workloads_whose_bridge_somebody_has_removed_are_on_their_network_still(volt, machine):
    done(volt, "net", "create", "lan")
    for name, network in (("bridge", {"mode": "bridge"}), ("lan", on("lan"))):
        with living(volt, network=network) as one:
            ip("link", "del", known(volt, name)["bridge"])
            assert f"workloads are on {name}: {one.name} (" in refused(volt, "net", "rm", name)
        done(volt, "net", "rm", name)


def test_a_subnet_is_free_or_refused_by_name(volt, machine):
    ip("route", "add", "10.203.0.0/16", "via", WORLD)
    done(volt, "net", "create", "lan", "--subnet", "10.9.0.0/24")
    for asked, said in (
        ("10.9.0.128/25", "10.9.0.128/25 overlaps the network lan, which has 10.9.0.0/24"),
        ("10.203.4.0/24", "10.203.4.0/24 overlaps the route 10.203.0.0/16 of wan"),
        ("10.189.4.0/24", "10.189.4.0/24 overlaps the network bridge, which has 10.189.0.0/16"),
        ("10.8.0.0/8", "--subnet: 10.8.0.0/8 has host bits set"),
    ):
        assert said in refused(volt, "net", "create", "web", "--subnet", asked)
    assert done(volt, "net", "create", "web") == "web\n"
    assert known(volt, "web")["subnet"] == "172.29.0.0/24"
    assert "there is a network web already" in refused(volt, "net", "create", "web")
    assert "is a mode, and no network can be called so" in refused(volt, "net", "create", "bridge")


def test_a_name_that_is_not_known_is_a_finding_with_the_nearest_one(volt, machine):
    done(volt, "net", "create", "backend")
    manifest = volt.manifest(network=on("backen"))
    said = refused(volt, "run", manifest, "--", "true", status=125)
    line = next(n for n, text in enumerate(manifest.read_text().splitlines(), 1) if "backen" in text)
    assert f"{manifest}:{line}:8: error: this machine has no network 'backen' [unknown-network]" in said
    assert "did you mean 'backend'? else make it first: volt net create backen" in said


def test_a_definition_that_is_written_by_hand_is_had_or_all_that_is_wrong_with_it_told(volt, machine):
    folder = Path("/etc/volt/networks")
    folder.mkdir()
    (folder / "lan.toml").write_text('subnet = "10.9.0.0/24"\n')
    assert " 10.9.0." in f" {volt.shell('hostname -i', network=on('lan'))}"
    (folder / "web.toml").write_text('subnet = "10.8.0.1/24"\nmtu = "large"\nintern = true\n')
    for words, status in ((("run", volt.manifest(network=on("web")), "--", "true"), 125), (("net", "show", "web"), 2)):
        said = refused(volt, *words, status=status)
        for place, code in (("1:10", "bad-network"), ("2:7", "wrong-type"), ("3:10", "unknown-key")):
            assert any(f"web.toml:{place}: error" in line and f"[{code}]" in line for line in said.splitlines())
        assert "did you mean 'internal'?" in said
    assert "web: /etc/volt/networks/web.toml:1:10: 10.8.0.1/24 has host bits set" in volt("net", "ls").stderr.decode()
    assert done(volt, "net", "rm", "web", "lan") == "web\nlan\n", "what is bad can be taken away"


KILLED_AT = {"the rules": "sendto:4", "the settings": "write:2", "the last": "unlink:2"}


@pytest.mark.parametrize("at", KILLED_AT)
def test_a_removal_that_is_killed_is_taken_up_by_the_next_one_or_by_gc(volt, machine, at):
    before = hardened()
    done(volt, "net", "create", "lan")
    assert volt.run("true", network=on("lan")).returncode == 0
    call, when = KILLED_AT[at].split(":")
    words = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    words += ["-e", f"inject={call}:signal=SIGKILL:when={when}", *volt.command(["net", "rm", "lan"])]
    killed = subprocess.run(words, env=volt.environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [*Path("/etc/volt/networks").iterdir()], "it is still known that there was something to do"
    done(volt, *(["net", "gc"] if at == "the settings" else ["net", "rm", "lan"]))
    assert not [*Path("/etc/volt/networks").iterdir()]
    assert (settings(), ruleset()) == (before, "")
    assert "vn-lan" not in ip("link")


# ── separated


def test_workloads_of_one_network_reach_each_other_and_those_of_others_do_not(volt, machine):
    """Neither by what they have, nor by routes and neighbours that they make up."""
    for name in ("lan", "web"):
        done(volt, "net", "create", name)
    gateway = {name: known(volt, name) for name in ("lan", "web")}
    with serving(volt, "lan") as one, asking(volt, on("lan")) as peer:
        own = one.record.address, one.record.address6
        until(lambda: peer(*own) == ["told"] * 6, "the servers")
        for network in (on("web"), {"mode": "bridge"}):
            with asking(volt, network) as other:
                assert {*other(*own)} <= NOTHING
                machine.serve("tcp", "::", 7000) if network == on("web") else None
                assert other(gateway["lan"]["address"], kinds=["tcp"], port=7000) == ["told"], "the host it reaches"
        lies = [f"ip route add {own[0]} dev eth0", f"ip -6 route add {own[1]} dev eth0"]
        lies += [f"ip neigh add {address} lladdr {mac()} dev eth0" for address in own]
        with asking(volt, on("web"), *lies, security=CAPABLE) as other:
            assert {*other(*own)} <= NOTHING
            subprocess.run(["nft", "flush", "chain", "inet", "volt", "forward"], check=True)
            assert other(*own) == ["told"] * 6, "without the rules"


def mac():
    """The MAC of the bridge vn-web."""
    return json.loads(ip("-j", "link", "show", "vn-web"))[0]["address"]


def test_an_internal_network_has_no_way_out_and_nothing_outside_a_way_in(volt, machine):
    done(volt, "net", "create", "vault", "--internal")
    for kind in ("tcp", "udp"):
        machine.serve(kind, WORLD, 80, world=True)
        machine.serve(kind, WORLD6, 80, world=True)
        machine.serve(kind, "::", 80)
    found = known(volt, "vault")
    gateways = found["address"], found["address6"]
    lies = [f"ip route add default via {gateways[0]}", f"ip -6 route add default via {gateways[1]}"]
    with serving(volt, "vault") as one, asking(volt, on("vault")) as inside:
        own = one.record.address, one.record.address6
        until(lambda: inside(*own) == ["told"] * 6, "the servers")
        assert inside(*gateways) == ["told"] * 6, "the host"
        assert inside(WORLD, WORLD6) == ["ENETUNREACH"] * 6
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n", "nothing has to be forwarded"
        assert volt.run("true", network={"mode": "bridge"}).returncode == 0
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
        with asking(volt, on("vault"), *lies, security=CAPABLE) as liar:
            assert {*liar(WORLD, WORLD6)} <= NOTHING
            machine.outside("ip", "route", "add", found["subnet"], "via", HOST)
            machine.outside("ip", "-6", "route", "add", found["subnet6"], "via", HOST6)
            assert {*world_asks(machine, *own)} <= NOTHING
            subprocess.run(["nft", "flush", "set", "inet", "volt", "internal"], check=True)
            assert liar(WORLD, WORLD6) == ["told"] * 6, "without the wall"


def test_an_internal_network_whose_rules_somebody_flushed_is_internal_again_and_so_is_one_that_becomes_it(
    volt, machine
):
    done(volt, "net", "create", "vault", "--internal")
    assert volt.run("true", network={"mode": "bridge"}).returncode == 0
    machine.serve("tcp", WORLD, 80, world=True)
    way_out = f"ip route add default via {known(volt, 'vault')['address']}"
    with asking(volt, on("vault"), way_out, security=CAPABLE) as liar:
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        ip("link", "del", "vn-vault")
        assert known(volt, "vault")["whole"] is None
        assert volt.run("true", network=on("vault")).returncode == 0
        assert known(volt, "vault")["whole"]
        assert liar(known(volt, "vault")["address"], kinds=["ping"]) == ["told"], "it is connected again"
        assert {*liar(WORLD, kinds=["tcp"])} <= NOTHING
    done(volt, "net", "create", "lan")
    with asking(volt, on("lan")) as one:
        assert volt.run("true", network={"mode": "bridge"}).returncode == 0
        assert one(WORLD, kinds=["tcp"]) == ["told"]
        definition = Path("/etc/volt/networks/lan.toml")
        definition.write_text(definition.read_text().replace("internal = false", "internal = true"))
        assert known(volt, "lan")["whole"] is False
        assert volt.run("true", network=on("lan")).returncode == 0
        assert {*one(WORLD, kinds=["tcp"])} <= NOTHING


# ── what crashes leave


def test_gc_takes_what_a_killed_workload_and_a_killed_command_left(volt, machine):
    done(volt, "net", "create", "lan")
    done(volt, "net", "create", "web")
    claims = FOLDER / str(machine.number) / "addresses"
    with living(volt, network=on("lan")) as killed, living(volt, network=on("lan")) as one:
        own = one.record.address
        os.kill(killed.record.pid, signal.SIGKILL)
        killed.process.wait()
        until(lambda: link_of(killed.record.address) not in ip("link"), "its links' end")
        (claims / "10.203.0.250").write_text("{}")
        ip("link", "add", "volt-0acb00fb", "type", "veth", "peer", "name", "lost")
        os.rename("/etc/volt/networks/web.toml", "/etc/volt/networks/.web.going")
        Path("/etc/volt/networks/.new.new-7").touch()
        found = json.loads(done(volt, "net", "gc", "--dry-run", "--json"))["rubbish"]
        # A dead claim is swept by any volt of this machine, and may be gone already.
        assert {"element", "link", "network", "file"} <= {one["kind"] for one in found} - {"claim"}
        assert ip("link", "show", "volt-0acb00fb"), "which a dry run leaves"
        done(volt, "net", "gc")
        assert [path.name for path in claims.iterdir()] == [own]
        assert "volt-0acb00fb" not in ip("link")
        assert os.listdir("/etc/volt/networks") == ["lan.toml"]
        listed = subprocess.run(["nft", "list", "table", "bridge", "volt"], capture_output=True, text=True, check=True)
        assert listed.stdout.count(f". {own}") == 1
        assert f". {killed.record.address} " not in listed.stdout
        assert machine.ask("tcp", own, 80) == ["ECONNREFUSED"], "who lives is connected still"
    done(volt, "net", "gc")
    found = json.loads(done(volt, "net", "gc", "--dry-run", "--json"))["rubbish"]
    # Whose network namespace is another test's, who may have killed something there just now.
    others = [one for one in found if one["kind"] == "claim" and not one["path"].startswith(f"{claims}/")]
    assert [one for one in found if one not in others] == []
    done(volt, "ps")  # which clears away the rest of the killed one


def test_gc_takes_a_bridge_that_no_network_is_of_and_no_other(volt, machine):
    done(volt, "net", "create", "lan")
    assert volt.run("true", network=on("lan")).returncode == 0
    ip("link", "add", "foreign", "type", "bridge")
    os.unlink("/etc/volt/networks/lan.toml")
    found = json.loads(done(volt, "net", "gc", "--json"))["rubbish"]
    assert "vn-lan" in [one["path"] for one in found if one["kind"] == "bridge"]
    assert "vn-lan" not in ip("link")
    assert "foreign" in ip("link")


def test_what_is_kept_for_a_namespace_goes_with_it_once_that_is_sure(volt, machine):
    with own_machine() as other:
        assert volt.run("true", network={"mode": "bridge"}).returncode == 0
        kept = FOLDER / str(other.number)
        done(volt, "net", "gc")
        assert kept.exists(), "it lives"
        sysctls = (kept / "sysctls").read_text()
    (kept / "addresses").mkdir(parents=True)
    (kept / "sysctls").write_text(sysctls)
    done(volt, "net", "gc")
    seen = subprocess.run(
        [sys.executable, "-c", "from volt.host.namespaces import network_namespaces as n; sys.exit(n() is None)"],
        check=False,
    )
    assert kept.exists() == (seen.returncode != 0)


# ── launches


def test_a_cached_launch_joins_without_python_until_the_definition_changes(tmp_path, busybox, machine):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    root = front.small_root(tmp_path / "root", busybox)
    folder = Path("/etc/volt/networks")
    folder.mkdir()
    (folder / "lan.toml").write_text('subnet = "10.9.0.0/24"\n')
    sections = {"workload": {"command": ["hostname", "-i"]}, "storage": {"rootfs": str(root)}}
    manifest = one.manifest(network=on("lan"), **sections)
    front.let_age()
    first = one.planned("run", manifest)
    assert one.cached("run", manifest).stdout == first.stdout
    assert b"10.9.0." in first.stdout
    (folder / "lan.toml").write_text('subnet = "10.9.0.0/24"\ninternal = true\n')
    assert not one.hits("run", manifest)
