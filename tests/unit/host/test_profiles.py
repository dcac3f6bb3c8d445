"""Where volt's own profiles are found: in a source tree, in an installed package, or nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from volt.host.profiles import filter_paths, filter_profile, read_profile, shipped_profile, shipped_profiles
from volt.plan.capabilities import BOOT
from volt.plan.seccomp_bound import bound_rules
from volt.plan.seccomp_profile import parse_profile

TREE = Path(__file__).parents[3]
ASK = "from volt.host.profiles import shipped_profile as f; print(f('seccomp', 'default').decode(), end='')"


def ask(folder: Path) -> subprocess.CompletedProcess:
    """The default profile, as the volt in `folder` finds it."""
    argv = [sys.executable, "-P", "-c", ASK]
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False)


def package(folder: Path) -> Path:
    """A copy of what finds profiles, as pip would lay it down."""
    shutil.copytree(TREE / "volt", folder / "volt", ignore=shutil.ignore_patterns("native", "__pycache__"))
    return folder


def test_in_a_source_tree_they_lie_beside_the_package():
    assert shipped_profile("seccomp", "default") == (TREE / "profiles/seccomp/default.toml").read_bytes()
    assert "default" in shipped_profiles("seccomp")


def test_an_image_that_is_booted_has_less_of_default_alone():
    calls = ("mount", "bpf", "perf_event_open", "quotactl", "fanotify_init")

    def permitted(name, *, boots):
        rules = bound_rules(parse_profile(filter_profile(name, boots=boots)), BOOT, "x86_64", (6, 12))
        return [call for call in calls if rules.permits(call)]

    assert permitted("default", boots=False) == [*calls]
    assert permitted("default", boots=True) == ["mount"]
    assert filter_paths("default", boots=True) != filter_paths("default", boots=False)
    assert filter_profile("unconfined", boots=True) == shipped_profile("seccomp", "unconfined")


def test_installed_they_lie_inside_the_package(tmp_path):
    profile = package(tmp_path) / "volt/profiles/seccomp/default.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text("installed")
    assert ask(tmp_path).stdout == "installed"


def test_a_stranger_s_folder_beside_an_installed_package_is_not_read(tmp_path):
    stranger = package(tmp_path) / "profiles/seccomp/default.toml"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("stranger")
    done = ask(tmp_path)
    assert done.stdout == ""
    assert "volt's own seccomp profiles are missing" in done.stderr


@pytest.mark.parametrize("name", ["none", "../seccomp/default", "default.toml", ""])
def test_a_name_that_is_none_of_them_is_refused(name):
    with pytest.raises(LookupError, match="there are: default"):
        shipped_profile("seccomp", name)


def test_a_file_is_read_whole(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("format = 1\n")
    found = read_profile(str(path))
    assert (found.path, found.text, found.problem, found.quotable) == (str(path), "format = 1\n", "", True)


def test_what_is_no_profile_to_read_is_told_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    problems = {
        "absent": "cannot be read: No such file or directory",
        "fifo": "cannot be read: it is no regular file",
        "large": "is longer than 1 MiB",
        "binary": "is no UTF-8 text",
        "nul\0": "cannot be read: embedded null byte",
    }
    assert {name: read_profile(str(tmp_path / name)).problem for name in problems} == problems
