"""volt top and volt stats: which processes a workload has, and what it uses, as the kernel counts it or added up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from itertools import islice

import pytest

from tests.host.kept import RUN, keep
from tests.host.living import until
from volt import api
from volt.errors import StateError

SECONDS = 20
# Until what a shell has started behind `&` is no copy of the shell any more.
SETTLED = "for one in $one $!; do until grep -q sleep /proc/$one/comm; do :; done; done"


@pytest.fixture(autouse=True)
def _here(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


@contextmanager
def running(volt, script, **sections):
    """The name of a workload that has run the script up to its `echo done`."""
    manifest = volt.manifest(**sections)
    name = f"t{os.getpid()}-{volt.manifests}"
    process = volt.start("run", manifest, "--", "sh", "-c", script, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"done\n"
        yield name
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def test_top_lists_the_workloads_own_processes_alone(volt):
    with running(volt, f"sleep 55 & one=$!; sleep 56 & {SETTLED}; echo done; wait") as name:
        until(lambda: all(one.state == "S" for one in api.top(name).processes), "their sleep")
        found = api.top(name)
        assert [(one.inside, one.command[0]) for one in found.processes] == [(2, "sh"), (3, "sleep"), (4, "sleep")]
        assert {one.user for one in found.processes} == {0}
        assert all(one.memory > 0 and one.threads == 1 and one.state == "S" for one in found.processes)
        for one in found.processes:
            assert os.readlink(f"/proc/{one.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")


def test_the_command_line_says_the_same(volt):
    with running(volt, f"sleep 55 & {SETTLED}; echo done; wait") as name:
        document = json.loads(volt("top", name, "--json").stdout)
        found = api.top(name)
        assert [one["pid"] for one in document["processes"]] == [one.pid for one in found.processes]
        assert (document["version"], document["name"], document["source"]) == (1, name, "cgroup")
        head, *rows = volt("top", name).stdout.decode().splitlines()
        assert head.split() == "PID INSIDE USER THREADS CPU MEMORY STATE COMMAND".split()
        assert rows[-1].split()[0] == str(found.processes[-1].pid)
        assert rows[-1].endswith("  sleeps  sleep 55")


def test_another_user_of_the_workload_is_shown_by_his_number_inside(volt):
    with running(volt, "echo done; sleep 60", workload={"user": "1000:1000"}) as name:
        assert {one.user for one in api.top(name).processes} == {1000}


def test_a_command_is_shown_not_obeyed(volt):
    script = r"""exec -a "$(printf 'volt\033[2J\nperform')" sh -c 'echo done; sleep 60; true' """
    with running(volt, f"exec bash -c '{script.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'") as name:
        said = volt("top", name).stdout
        assert b"\x1b" not in said
        assert rb"volt\x1b[2J\nperform" in said


@pytest.mark.kernel
def test_stats_counts_processes_memory_and_time(volt):
    with running(volt, "for i in 1 2 3; do sleep 60 & done; echo done; while :; do :; done") as name:
        first, second = islice(api.stats([name], interval=1.0), 2)
        assert [one.cpu_percent for one in first] == [None]
        (one,) = second
        assert one.name == name
        assert one.pids == 4
        assert 300 << 10 < one.memory < 100 << 20
        assert one.cpu > first[0].cpu
        assert 1 < one.cpu_percent < 110
        assert set(one.sources) == {"cpu", "memory", "pids", "read", "written"}
        assert one.sources["cpu"] == "cgroup"  # which every cgroup counts


def test_the_time_of_children_that_have_ended_counts(volt):
    burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    with running(volt, f"sh -c '{burn}'; echo done; sleep 60") as name:
        (one,) = next(api.stats([name]))
        assert one.cpu > 100


def test_all_that_run_are_shown_and_each_by_its_own(volt):
    with running(volt, "echo done; exec sleep 60") as first, running(volt, "sleep 60 & echo done; wait") as second:
        found = {one.name: one for one in next(api.stats())}
        assert (found[first].pids, found[second].pids) == (1 + 1, 2) or (found[first].pids, found[second].pids) == (
            1,
            2,
        )
        document = json.loads(volt("stats", "--no-stream", "--json").stdout)
        assert {one["name"] for one in document["workloads"]} == {first, second}
        assert document["version"] == 1
        table = volt("stats", "--no-stream", second).stdout.decode().splitlines()
        assert table[0].split() == "NAME ID CPU % MEMORY LIMIT PIDS LIMIT READ WRITTEN".split()
        assert table[1].split()[0] == second
        assert len(table[1].split()) == 9


@pytest.mark.kernel
def test_what_is_added_up_is_marked(volt):
    with running(volt, "echo done; sleep 60") as name:
        (one,) = next(api.stats([name]))
        table = volt("stats", "--no-stream", name).stdout.decode()
        summed = "processes" in one.sources.values()
        assert ("~" in table.splitlines()[1]) is summed
        assert ("~ added up over the processes" in table) is summed


def test_it_goes_on_until_the_workload_has_ended(volt):
    with running(volt, "echo done; sleep 3") as name:
        done = volt("stats", "--interval", "200ms", "--json", name, timeout=SECONDS)
    assert done.returncode == 0
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) > 3
    assert all([one["name"] for one in look["workloads"]] == [name] for look in looks)


@pytest.mark.parametrize("verb", ["top", "stats"])
def test_what_does_not_run_is_refused(volt, verb):
    keep(volt.state, name="over")
    for name, said in (("nobody", "no workload called 'nobody'"), ("over", "over has ended"), (RUN, "over has ended")):
        done = volt(verb, name)
        assert (done.returncode, done.stdout) == (1, b"")
        assert said in done.stderr.decode()
        with pytest.raises(StateError, match=said):
            getattr(api, verb)(*([name] if verb == "top" else [[name]]))
    (volt.state / "run/ended").rename(volt.folder / "ended")


def test_the_live_table_ends_at_an_interrupt(volt):
    with running(volt, "echo done; sleep 60") as name:
        process = volt.start("stats", name, "--interval", "100ms", stdout=subprocess.PIPE)
        for _ in range(6):
            assert process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 130
