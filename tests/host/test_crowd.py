"""Hundreds of workloads of one bridge, started eight at a time, some of whose supervisors are killed: each has an
address, a port and a name of its own, and nothing of any is left."""

import os
import random
import re
import signal
from contextlib import suppress

import pytest

from tests.host.living import until
from tests.host.networks import HOST, asked_here, ip, own_network
from tests.host.points import NETWORKS, elements
from tests.host.test_mixes import Command
from tests.host.test_names import keepers
from volt import api
from volt.cli import app

__all__ = ["asked_here", "own_network"]  # fixtures

CROWD, AT_ONCE = 300, 8
KILLED = 30  # supervisors, by chance
SERVE = "hostname > /srv/index.html; exec busybox httpd -f -p 80 -h /srv"
# What each URL says, or why not, a line each.
GET = """
import sys, urllib.request, urllib.error
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=5).read().decode().strip())
    except urllib.error.URLError as error:
        print(type(error.reason).__name__)
"""
RESOLVE = "import socket, sys; print(*(socket.gethostbyname(name) for name in sys.argv[1:]))"


def do(commands, said):
    """Each `volt WORDS`, eight at a time, and all have succeeded."""
    at_work, failed = {}, []
    for words in [*commands, None]:
        while at_work and (len(at_work) == AT_ONCE or words is None):
            process, status = os.wait()
            if (one := at_work.pop(process, None)) and status:
                failed.append(str(one))
        if words:
            one = Command("any", words, "any", said, None)
            at_work[one.pid] = one
    assert failed == [], said.read_text()


@pytest.fixture(name="crowd")
def started(volt, machine, busybox, tmp_path):
    """The names of workloads that run, each of which answers with its name."""
    app.command_line  # noqa: B018 (imported here, and by no command)
    sections = {"storage": {"rootfs": str(busybox)}, "network": {"mode": "bridge", "ports": ["80"]}}
    names = [f"crowd-{number}" for number in range(CROWD)]
    manifests = [volt.manifest(workload={"name": name, "command": ["sh", "-c", SERVE]}, **sections) for name in names]
    do([("run", "-d", "--rm", str(path)) for path in manifests], tmp_path / "said")
    yield names
    with suppress(api.VoltError):  # what a test that failed has left
        api.rm(every=True, force=True, timeout=0)


def test_each_has_what_is_its_own_and_leaves_nothing(volt, machine, crowd, tmp_path):
    runs = {run.name: run for run in api.ps().runs}
    assert sorted(runs) == sorted(crowd)
    assert len({run.address for run in runs.values()}) == CROWD
    ports = {name: int(re.match(r"0\.0\.0\.0:(\d+)->80/tcp", run.ports[0])[1]) for name, run in runs.items()}
    assert len({*ports.values()}) == CROWD
    urls = [f"http://{HOST}:{ports[name]}/" for name in crowd]
    assert machine.outside("python3", "-c", GET, *urls).split() == crowd
    found = volt.run("python3", "-c", RESOLVE, *crowd, network={"mode": "bridge"})
    assert found.stdout.decode().split() == [runs[name].address for name in crowd], found.stderr

    chance = random.Random(CROWD)
    killed = {*chance.sample(crowd, KILLED)}
    for name in killed:
        os.kill(runs[name].pid, signal.SIGKILL)
    others = [name for name in crowd if name not in killed]
    chance.shuffle(others)
    do([("stop", "--timeout", "0", name) for name in others], tmp_path / "said")
    assert api.ps().runs == ()
    assert elements() == []
    assert [*(NETWORKS / str(machine.number) / "addresses").iterdir()] == []
    until(lambda: "volt-" not in ip("link"), "an end of the links")
    until(lambda: not keepers(), "an end of the resolver")
    another = volt.run("true", network={"mode": "bridge"})
    assert another.returncode == 0, another.stderr
    assert {*machine.outside("python3", "-c", GET, *urls).split()} == {"ConnectionRefusedError"}
    assert volt.left() == []
