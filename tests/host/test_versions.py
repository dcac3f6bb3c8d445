"""Two versions of volt on one machine: the newer reads, stops and enters what the older runs; what it cannot, it says.

Both are real: the newer is this tree with the next version of the protocol, and so another table of steps, compiled.
The other way round it is the version that nobody knows yet.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.conftest import Volt
from tests.host.living import until
from volt import api
from volt.model.protocol import OLDEST, VERSION

TREE = Path(__file__).parents[2]
RECORDS = sorted((TREE / "tests/unit/runs/records").glob("*.json"))
# With the system's own C library: guests have no other.
BUILD = "from pathlib import Path; from volt.native.build import build; build(Path('volt/native/volt'), cc='gcc')"
UNSPOKEN = f"web was started by another version of volt: its supervisor speaks protocol {VERSION + 1}"
SCRIPT = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.1; done"


@pytest.fixture(scope="session")
def next_tree(tmp_path_factory):
    """The next version's tree."""
    tree = tmp_path_factory.mktemp("next")
    shutil.copytree(TREE / "volt", tree / "volt", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("profiles", "kernels", "pyproject.toml"):
        (tree / folder).symlink_to(TREE / folder)
    protocol = tree / "volt/model/protocol.py"
    text = protocol.read_text()
    assert f"\nVERSION = {VERSION} " in text
    protocol.write_text(text.replace(f"\nVERSION = {VERSION} ", f"\nVERSION = {VERSION + 1} "))
    (tree / "volt/native/volt").unlink()
    subprocess.run([sys.executable, "-c", BUILD], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True)
    return tree


class Next(Volt):
    """The command line of another tree: Python and the static program take what lies in their folder first."""

    def __init__(self, other, tree):
        super().__init__(other.folder)
        self.tree = tree

    def __call__(self, *arguments, **options):
        return super().__call__(*arguments, cwd=self.tree, **options)


class Versions:
    """This version and the next one, of one state."""

    def __init__(self, this, tree):
        self.this = this
        self.next = Next(this, tree)
        self.manifest = this.manifest(workload={"name": "web"})

    def start(self, which, script=SCRIPT):
        """`web`, run by one of them, which has said that it is up."""
        done = which("run", "-d", self.manifest, "--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr
        run = done.stdout.decode().strip()
        log = self.this.state / f"log/{run}/0.log"
        until(lambda: b"up\n" in log.read_bytes(), "the workload")
        return run, log


@pytest.fixture
def versions(volt, next_tree, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    yield Versions(volt, next_tree)
    api.rm(every=True, force=True, timeout=0)
    api.gc(older_than=0)


def told(done):
    """The one run of an answer."""
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    return run["name"], run["state"], run["status"]


def test_the_next_version_is_another_one(versions):
    """Else nothing below would say anything."""
    for which, version in ((versions.this, VERSION), (versions.next, VERSION + 1)):
        versions.start(which)
        assert [record["protocol"] for record in records(versions)] == [version]
        assert told(which("stop", "--json", "web")) == ("web", "exited", 143)


def test_a_newer_volt_reads_enters_and_stops_what_an_older_one_runs(versions):
    run, log = versions.start(versions.this)
    newer = versions.next
    assert told(newer("ps", "--json")) == ("web", "running", None)
    assert told(newer("inspect", "--json", "web")) == ("web", "running", None)
    assert newer("logs", "web").stdout == b"up\n"
    done = newer("exec", "web", "--", "sh", "-c", "echo $PPID; exit 3")
    assert (done.returncode, done.stderr) == (3, b"")
    assert b"sleep" in newer("top", "web").stdout
    assert newer("kill", "-s", "USR1", "web").returncode == 0
    until(lambda: b"usr1" in log.read_bytes(), "the signal")
    assert told(newer("pause", "--json", "web")) == ("web", "paused", None)
    assert told(newer("unpause", "--json", "web")) == ("web", "running", None)
    assert b"of another version of volt" in newer("audit", "web").stderr
    assert told(newer("stop", "--json", "web")) == ("web", "exited", 143)
    assert newer("rm", run).returncode == 0


def test_a_newer_volt_launches_again_what_an_older_one_runs(versions):
    versions.start(versions.this)
    assert told(versions.next("restart", "--json", "web")) == ("web", "running", None)
    assert [record["protocol"] for record in records(versions)] == [VERSION + 1]


def records(versions):
    """Of what runs."""
    return [json.loads(path.read_text()) for path in (versions.this.state / "run/runs").glob("*/record.json")]


def test_what_speaks_an_unknown_protocol_is_told_by_name_and_not_spoken_to(versions):
    """It goes on: an init that met a frame of another version would end."""
    _, log = versions.start(versions.next)
    older = versions.this
    done = older("exec", "web", "--", "true")
    assert (done.returncode, UNSPOKEN in done.stderr.decode()) == (125, True)
    done = older("kill", "-s", "KILL", "web")
    assert (done.returncode, UNSPOKEN in done.stderr.decode()) == (1, True)
    assert older("audit", "web").returncode != 0
    assert told(older("ps", "--json")) == ("web", "running", None)
    # What its supervisor itself passes on needs no frame.
    assert older("kill", "-s", "USR1", "web").returncode == 0
    until(lambda: b"usr1" in log.read_bytes(), "the signal")
    assert told(older("pause", "--json", "web")) == ("web", "paused", None)
    assert told(older("stop", "--json", "web")) == ("web", "exited", 143)


def test_one_that_ignores_its_signal_and_speaks_an_unknown_protocol_is_ended_with_its_supervisor(versions):
    versions.start(versions.next, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    assert told(versions.this("stop", "--timeout", "1", "--json", "web")) == ("web", "lost", 125)


@pytest.mark.parametrize("fixture", RECORDS, ids=lambda path: path.stem)
def test_a_record_of_each_version_is_enough_to_read_and_stop_what_runs(versions, fixture):
    """As its supervisor would have written it: with the fields of that time."""
    run, _ = versions.start(versions.this)
    path = versions.this.state / f"run/runs/{run}/record.json"
    known, fields = json.loads(path.read_text()), json.loads(fixture.read_text()).keys()
    path.write_text(json.dumps({name: known[name] for name in fields}))
    assert told(versions.next("ps", "--json")) == ("web", "running", None)
    done = versions.next("exec", "web", "--", "true")
    if "protocol" in fields:
        assert done.returncode == 0, done.stderr
    else:
        assert b"does not say which protocol it speaks" in done.stderr
    assert told(versions.next("stop", "--json", "web"))[:2] == ("web", "exited")


def test_the_oldest_protocol_that_is_spoken_is_no_newer_than_this_one():
    assert 0 < OLDEST <= VERSION
