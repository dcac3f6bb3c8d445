"""What a launch costs, in things that can be counted and not in time: so that the path cannot grow unnoticed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.host import front, trace

# Of a cached launch of the manifest below, from the exec of volt until it starts the guard: what was counted when
# this was written, in the comment, and a tenth more. To raise one is to make every launch slower: say in the
# changelog what is gained for it.
CALLS = 325  # 295: system calls of the static program; a module of volt that a first run loads is one stat of them
OPENED = 37  # 35: files that it opens, by whatever call
CLAIM = re.compile(r'^\d+, "\d+"')  # of the ids of a run that lives: each is looked at, and other tests have theirs
PROCESSES = 7  # in all: volt, who covers what nspawn 252 leaves, nspawn and its three (one is the init), the payload
# Of a first launch, until Python is gone: top-level modules, most of them the interpreter's own.
MODULES = 110  # 100
MODULES_LATER = 81  # 74: of a manifest for which a filter is kept
HEAVY = """
    asyncio concurrent cryptography dataclasses email html http inspect logging multiprocessing pkg_resources pydantic
    pydantic_core pygments rich setuptools socket ssl sqlite3 tomli_w tree_sitter tree_sitter_toml typer click
    unittest uuid xml yaml zoneinfo
""".split()
# What sessions are spoken over.
SESSIONS = {"socket"}
# What pyseccomp brings with it to find the library.
FILTERS = "bz2 lzma pyseccomp random shutil subprocess tempfile".split()


@pytest.fixture(scope="module")
def ready(tmp_path_factory, busybox):
    folder = tmp_path_factory.mktemp("counted")
    one = front.Front(folder, front.Installation(folder))
    root = front.small_root(folder / "root", busybox)
    one.manifest(workload={"command": ["true"]}, storage={"rootfs": str(root), "writable_layer": "tmpfs"})
    front.let_age()
    return one


@pytest.fixture(scope="module")
def calls(ready):
    """Every call of a cached launch, and those of the static program before the guard."""
    ready("run", "m1.toml")
    for _ in range(front.TRIES):
        before = ready.installed.starts()
        argv = ["strace", "-f", "-qq", "-o", "trace", *ready.command(["run", "m1.toml"])]
        subprocess.run(argv, env=ready.environment, cwd=ready.folder, check=True)
        if ready.installed.starts() == before:
            break
    every = trace.read(ready.folder / "trace")
    own = [call for call in every if call.pid == every[0].pid]
    return every, own[: next(n for n, call in enumerate(own) if call.kind == "clone3")]


def test_the_system_calls_before_the_guard(calls):
    assert 100 < len(calls[1]) <= CALLS


def test_the_files_that_are_opened_before_the_guard(calls):
    opened = [call.arguments for call in calls[1] if call.kind == "openat" and not call.failed]
    opened = [words for words in opened if not CLAIM.match(words)]
    assert 10 < len(opened) <= OPENED, opened


def test_the_processes_of_a_launch(calls):
    """Up to the payload's end. Behind it systemd-nspawn forks once more, to give network interfaces back, if the
    supervisor has not ended it before: on a busy machine it gets there."""
    started = [call for call in while_it_runs(calls[0]) if call.kind == "clone3" and not call.failed]
    assert 1 + len(started) == PROCESSES


def while_it_runs(every):
    """The calls of all processes until the one that executed a program last, the payload, has ended."""
    payload = [call.pid for call in every if call.name == "execve" and not call.failed][-1]
    return every[: next(n for n, call in enumerate(every) if (call.pid, call.name) == (payload, "exit_group"))]


def test_what_a_first_launch_imports(ready):
    """All that is needed to make a filter too."""
    shutil.rmtree(ready.plans)
    names = imported(ready)
    assert "pyseccomp" in names
    assert sorted(names & {*HEAVY}) == []
    assert len({name.partition(".")[0] for name in names}) <= MODULES


def test_what_the_first_launch_of_a_later_manifest_imports(ready):
    """The filter is there: nothing of what makes one, nor of what that needs."""
    imported(ready)
    names = imported(ready)
    assert sorted(names & {*HEAVY, *FILTERS, "volt.plan.seccomp"}) == []
    assert len({name.partition(".")[0] for name in names}) <= MODULES_LATER


def test_what_the_quick_verbs_import(ready):
    assert ready("run", "-d", "--name", "counted", "m1.toml", "--", "sleep", "60").returncode == 0
    try:
        for words, module in ((("ps",), "volt.runs.states"), (("exec", "counted", "true"), "volt.runs.command")):
            names = imported(ready, *words, module=module)
            assert sorted(names & ({*HEAVY, "pathlib"} - SESSIONS)) == []
    finally:
        subprocess.run([sys.executable, "-m", "volt.cli", "stop", "counted"], env=ready.environment, check=True)


def imported(ready, *words, module="volt.launch.handover"):
    """-X importtime names each module as it is imported; of a `run` up to the exec that is the hand-over."""
    argv = [sys.executable, "-X", "importtime", "-m", "volt.cli", *(words or ("run", "m1.toml"))]
    done = subprocess.run(argv, env=ready.environment, cwd=ready.folder, capture_output=True, check=True)
    names = re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr.decode(), re.MULTILINE)
    assert module in names
    return {*names}


def test_a_heavy_module_would_be_noticed(ready):
    argv = [sys.executable, "-X", "importtime", "-c", "import email"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert "email" in re.findall(r"(\S+)$", done.stderr.decode(), re.MULTILINE)
