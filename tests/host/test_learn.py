"""volt learn: under what it proposes the command passes, and without any one rule of it the command fails."""

from __future__ import annotations

import copy
import itertools
import json
import os
import signal
import subprocess
import time
import tomllib

import pytest
import tomli_w

from volt import api

# A folder, files with names that TOML and strace have to quote, a pipe between programs, a moved file, a listing.
SCRIPT = r"""
set -e
cd /tmp
mkdir 'd "q" <x> = 3'
echo hello > 'd "q" <x> = 3/a'
mv 'd "q" <x> = 3/a' b
cat b | tr a-z A-Z
ls /etc/alternatives > /dev/null
"""


def landlock_without(text):
    """(what was taken, the policy without it) for each place and each right of each rule."""
    document = tomllib.loads(text)
    for kind, places, rights in (
        ("path_beneath", "parent", "allowed_access"), ("net_port", "port", "allowed_access"),
    ):  # fmt: skip
        for number, rule in enumerate(document.get(kind, [])):
            for place, right in itertools.product(rule[places], rule[rights]):
                changed = copy.deepcopy(document)
                others = [one for one in rule[places] if one != place]
                tables = [{**rule, places: others}] if others else []
                left = [one for one in rule[rights] if one != right]
                tables += [{**rule, places: [place], rights: left}] if left else []
                changed[kind][number : number + 1] = tables
                yield f"{right} {place}", tomli_w.dumps({key: value for key, value in changed.items() if value})


def seccomp_without(text):
    """(what was taken, the profile without it) for each call that a rule permits, or refuses whatever its arguments."""
    document = tomllib.loads(text)
    for kind in ("permit", "refuse"):
        for number, rule in enumerate(document.get(kind, [])):
            for call in rule["calls"].split() if kind == "permit" or "where" not in rule else ():
                changed = copy.deepcopy(document)
                left = " ".join(one for one in rule["calls"].split() if one != call)
                changed[kind][number : number + 1] = [{**rule, "calls": left}] if left else []
                yield f"{kind} {call}", tomli_w.dumps({key: value for key, value in changed.items() if value})


@pytest.fixture
def attempt(volt):
    """Runs a command under two texts; the status and what it wrote."""

    def run(landlock, seccomp, command):
        (volt.folder / "landlock.toml").write_text(landlock)
        (volt.folder / "seccomp.toml").write_text(seccomp)
        security = {
            "landlock_profile": "custom",
            "landlock_policy": "./landlock.toml",
            "seccomp_profile": "./seccomp.toml",
        }
        done = volt.run(*command, security=security)
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_command_passes_under_it_and_fails_without_any_one_rule(volt, attempt):
    command = ("sh", "-c", SCRIPT)
    folder = volt.folder / "learned"
    folder.mkdir()
    done = volt("learn", volt.manifest(), "-o", folder, "--", *command, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert b'landlock_profile = "custom"' in done.stdout
    landlock, seccomp = (folder / "landlock.toml").read_text(), (folder / "seccomp.toml").read_text()
    passed = (0, b"HELLO\n", b"")
    assert attempt(landlock, seccomp, command) == passed
    taken = [*landlock_without(landlock)]
    assert len(taken) > 8
    assert [what for what, text in taken if attempt(text, seccomp, command) == passed] == []
    taken = [*seccomp_without(seccomp)]
    assert len(taken) > 15
    assert [what for what, text in taken if attempt(landlock, text, command) == passed] == []


def test_python_and_the_command_line_learn_the_same(volt):
    manifest = volt.manifest(workload={"command": ["cat", "/etc/hostname"]})
    learned = api.learn(manifest)
    assert learned.minimal
    assert learned.compared == ("stdout", "stderr")
    done = volt("learn", manifest, "--json")
    document = json.loads(done.stdout)
    assert document.pop("version") == 1
    assert document == {**document, "landlock": learned.landlock, "seccomp": learned.seccomp, "rules": learned.rules}
    (rule,) = [one for one in tomllib.loads(learned.landlock)["path_beneath"] if "/etc/hostname" in one["parent"]]
    assert rule["allowed_access"] == ["read_file"]


def test_ports_and_calls_that_are_answered_with_an_error(volt, attempt):
    program = (
        "import socket, threading\n"
        "s = socket.create_server(('127.0.0.1', 8080))\n"
        "t = threading.Thread(target=lambda: s.accept()); t.start()\n"
        "socket.create_connection(('127.0.0.1', 8080)); t.join(); print('met')\n"
    )
    whole = ["/usr/lib", "/usr/local/lib", "/etc"]
    learned = api.learn(volt.manifest(), command=["/usr/bin/python3", "-c", program], whole=whole)
    policy, profile = tomllib.loads(learned.landlock), tomllib.loads(learned.seccomp)
    if "handled_access_net" in policy["ruleset"][-1]:
        assert [rule["port"] for rule in policy["net_port"]] == [[8080]]
    assert "clone3" in [call for rule in profile["refuse"] for call in rule["calls"].split()]  # ENOSYS, as ever
    assert "clone" in [rule["calls"] for rule in profile["permit"] if "where" in rule]  # with its condition
    assert all(
        "python3" not in place for rule in policy["path_beneath"] for place in rule["parent"] if "/lib/" in place
    )
    assert attempt(learned.landlock, learned.seccomp, ("/usr/bin/python3", "-c", program))[:2] == (0, b"met\n")


def test_learning_changes_no_volume_and_no_kept_layer(volt, tmp_path):
    data = volt.folder / "data"
    data.mkdir()
    (data / "count").write_text("1")
    for path in (data, data / "count"):
        os.chown(path, 1000, 1000)
    manifest = volt.manifest(
        storage={"writable_layer": "overlay", "volumes": [{"host": str(data), "container": "/data"}]},
    )
    assert volt("run", manifest, "--", "sh", "-c", "echo kept > /srv-file").returncode == 0
    done = volt("learn", manifest, "--", "sh", "-c", "test ! -e /srv-file; echo 2 > /data/count; echo > /srv-file")
    assert done.returncode == 0, done.stderr.decode()
    assert (data / "count").read_text() == "1"
    assert volt("run", manifest, "--", "cat", "/srv-file").stdout == b"kept\n"
    assert [*volt.state.glob("state/learn-*")] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--", "sh", "-c", "echo it is broken >&2; exit 3"), b"it said: it is broken"),
        (("--", "sh", "-c", "date +%N >/tmp/x; exit 1"), b"ends with 1"),
        (("--whole", "usr", "--", "true"), b"'usr' is no absolute path"),
        (("-o", "/nowhere", "--", "true"), b"/nowhere is no folder"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(volt, arguments, message):
    done = volt("learn", volt.manifest(), *arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_nothing_is_overwritten(volt):
    (volt.folder / "seccomp.toml").write_text("mine")
    done = volt("learn", volt.manifest(), "-o", volt.folder, "--", "true")
    assert (done.returncode, b"is there already" in done.stderr) == (1, True)
    assert (volt.folder / "seccomp.toml").read_text() == "mine"
    assert not (volt.folder / "landlock.toml").exists()


def test_where_runs_are_used_up_what_was_found_is_said_not_to_be_the_least(volt):
    done = volt("learn", volt.manifest(), "--runs", "12", "--json", "--", "cat", "/etc/hostname")
    assert done.returncode == 1
    assert json.loads(done.stdout)["minimal"] is False


def test_a_workload_that_had_no_capabilities_gets_none_by_it(volt):
    learned = api.learn(volt.manifest(security={"seccomp_profile": "strict"}), command=["true"])
    assert learned.capabilities == ()


def test_a_learner_that_is_ended_leaves_nothing(volt):
    for number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        learner = volt.start(
            "learn", volt.manifest(), "--", "sh", "-c", "sleep 0.2", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert learner.stderr.readline().startswith(b"volt: running it twice")
        time.sleep(0.3)
        learner.send_signal(number)
        assert learner.wait(30) == status
        learner.stderr.close()
    assert volt("learn", volt.manifest(), "--", "true").returncode == 0
    assert [*volt.state.glob("state/learn-*")] == []
