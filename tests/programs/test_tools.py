"""Tools of Debian's do their work behind the wall, under the default profiles."""

import json

import pytest

from tests.programs.conftest import EXAMPLES, IN_BOTH_MODES, OWNER

SERVERS = {"nginx", "nginx-strict", "caddy", "redis", "redis-strict", "postgresql", "node", "sshd"}  # test_servers.py
TOOLS = {"python", "gcc", "git", "apt"}  # here
SHARED = {"debian"}  # what the others extend


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == SERVERS | TOOLS | SHARED


@IN_BOTH_MODES
def test_python_has_threads_processes_and_commands(volt):
    counted = json.loads(volt.does("python"))
    assert len(set(counted.values())) == 1
    assert counted["threads"] > 10_000


@IN_BOTH_MODES
def test_gcc_compiles_a_program_that_runs(volt):
    assert volt.does("gcc") == "sum 10 of 4 threads\n"


@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
def test_gcc_compiles_with_sanitizers(volt, sanitizer):
    script = f"gcc -fsanitize={sanitizer} -pthread -o threads /srv/threads.c && exec ./threads"
    assert volt.does("gcc", "sh", "-ec", script) == "sum 10 of 4 threads\n"


@IN_BOTH_MODES
def test_git_makes_a_repository_commits_and_clones(volt):
    work = volt.data("work")
    assert volt.does("git", WORK=work) == "Ada: The first\n"
    assert (work / "clone/README").read_text() == "hello from git\n"
    assert (work / "clone/.git").stat().st_uid == OWNER


def test_apt_installs_packages_that_run_and_stay_in_the_layer(connected, debian):
    """hello is a program and no more; cron brings a group, and a program that is set-gid to it."""
    said = connected.does("apt", PACKAGES="hello cron", timeout=180)
    assert said.endswith("Hello, world!\n")
    assert connected.does("apt", "hello", "--traditional") == "hello, world\n"
    assert connected.does("apt", "stat", "-c", "%A %G", "/usr/bin/crontab") == "-rwxr-sr-x crontab\n"
    assert connected.does("apt", "dpkg", "--audit") == ""
    assert not (debian / "usr/bin/hello").exists()
