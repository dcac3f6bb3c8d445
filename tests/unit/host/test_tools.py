"""Programs and libraries: found at known places, trusted only as root's."""

import os
from pathlib import Path

import pytest

from volt.host import tools

ROOT = os.geteuid() == 0


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\n[ $# = 1 ] && echo 'systemd 254 (254.1-3)'\n")
    path.chmod(0o755)
    return path


def find(path):
    return tools.find_program(path.name, (f"{path.parent}/missing", str(path.parent)))


def test_a_program_of_roots_is_found_and_nobody_elses(program):
    assert find(program) == (str(program) if ROOT else "")


@pytest.mark.parametrize("mode", [0o644, 0o775, 0o757])
def test_what_others_can_write_or_nobody_can_execute_is_none(program, mode):
    program.chmod(mode)
    assert find(program) == ""


def test_a_folder_is_no_program(tmp_path):
    (tmp_path / "tool").mkdir()
    assert find(tmp_path / "tool") == ""


def test_the_callers_path_does_not_matter(program, monkeypatch):
    monkeypatch.setenv("PATH", str(program.parent))
    assert tools.find_program("tool") == ""


def test_systemds_number_is_in_the_name_of_its_library(tmp_path):
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "libsystemd-shared-252.so").touch()
    assert tools.systemd_version("/not/started", (str(tmp_path),)) == 252


def test_fedora_puts_a_release_behind_it(tmp_path):
    (tmp_path / "libsystemd-shared-254.1-3.fc39.so").touch()
    assert tools.systemd_version("/not/started", (str(tmp_path),)) == 254


def test_the_same_library_at_two_places_is_one(tmp_path):
    for folder in ("lib", "lib64"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "libsystemd-shared-252.so").touch()
    assert tools.systemd_version("/not/started", (f"{tmp_path}/lib", f"{tmp_path}/lib64")) == 252


def test_of_an_unfinished_upgrade_the_program_is_asked(tmp_path, program):
    for number in (252, 255):
        (tmp_path / f"libsystemd-shared-{number}.so").touch()
    assert tools.systemd_version(str(program), (str(tmp_path),)) == 254


def test_without_a_program_there_is_no_number(tmp_path):
    assert tools.systemd_version("", ("/usr/lib",)) == 0
    assert tools.systemd_version(f"{tmp_path}/missing", (str(tmp_path),)) == 0


def test_a_program_that_says_something_else_has_no_number(program, tmp_path):
    program.write_text("#!/bin/sh\necho hello\n")
    assert tools.systemd_version(str(program), (str(tmp_path),)) == 0


def test_a_library_is_found_at_the_first_of_its_places(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lib.so").touch()
    assert (
        tools.find_library("lib.so", (f"{tmp_path}/none", f"{tmp_path}/b", f"{tmp_path}/a")) == f"{tmp_path}/b/lib.so"
    )
    assert tools.find_library("other.so", (f"{tmp_path}/a",)) == ""


def test_the_static_program_lies_beside_its_sources_once_it_is_built(tmp_path):
    (tmp_path / "native").mkdir()
    assert tools.static_program(tmp_path) == ""
    (tmp_path / "native" / "volt").touch(0o644)
    assert tools.static_program(tmp_path) == ""
    (tmp_path / "native" / "volt").chmod(0o755)
    assert tools.static_program(tmp_path) == f"{tmp_path}/native/volt"


def test_this_machine():
    places = tools.libraries(os.uname().machine)
    assert tools.find_program("sh") in ("/usr/bin/sh", "/bin/sh")
    assert Path(tools.find_library("libseccomp.so.2", places)).is_file()
    nspawn = tools.find_program("systemd-nspawn")
    assert bool(tools.systemd_version(nspawn, places)) is bool(nspawn)
