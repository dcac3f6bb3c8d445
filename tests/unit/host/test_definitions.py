"""Definitions of networks as files: whole or not there, and gone in two steps that a crash may come between."""

import fcntl
import os

import pytest

from volt.errors import StateError
from volt.host import definitions
from volt.host.definitions import (
    changing,
    forget,
    hide,
    names,
    outline,
    outlines,
    path_of,
    read,
    show,
    unfinished,
    write,
)
from volt.model.networks import Definition


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "networks")


def written(folder, name, text='subnet = "10.203.0.0/24"\n'):
    with changing(folder):
        write(name, text, folder)


def test_where_nothing_is_defined_there_is_nothing(folder):
    assert (names(folder), outlines(folder), read("lan", folder), unfinished(folder)) == ((), (), None, ((), ()))


def test_what_is_written_is_read_and_never_written_over(folder):
    written(folder, "lan")
    assert names(folder) == ("lan",)
    assert read("lan", folder) == b'subnet = "10.203.0.0/24"\n'
    with pytest.raises(FileExistsError):
        written(folder, "lan", "")
    assert os.listdir(folder) == ["lan.toml"], "nothing beside it, and no half of one"
    assert os.stat(path_of("lan", folder)).st_mode & 0o777 == 0o644


def test_other_files_there_are_no_networks(folder):
    written(folder, "lan")
    for name in ("README", "Lan.toml", ".lan.toml", "-.toml", "lan.toml~", ".web.new-17"):
        with open(f"{folder}/{name}", "w"):
            pass
    assert names(folder) == ("lan",)
    assert read("../networks/lan", folder) is None


def test_a_bad_definition_takes_its_place_as_far_as_it_can_be_read(folder):
    written(folder, "lan", 'subnet = "10.9.0.0/24"\nsubnet6 = 7\nbridge = "br7"\nwhatever = 1\n')
    written(folder, "web", "subnet =")
    assert outlines(folder) == (Definition("lan", "10.9.0.0/24", "br7"), Definition("web", "", "vn-web"))


def test_a_removal_that_has_begun_can_be_ended_or_taken_back(folder):
    written(folder, "lan")
    assert hide("lan", folder)
    assert not hide("lan", folder)
    assert names(folder) == ()
    assert outline("lan", folder) == Definition("lan", "10.203.0.0/24", "vn-lan"), "its places are still known"
    assert unfinished(folder) == ((), ("lan",))
    show("lan", folder)
    assert names(folder) == ("lan",)
    hide("lan", folder)
    forget("lan", folder)
    forget("lan", folder)
    assert os.listdir(folder) == []
    assert outline("lan", folder) is None


def test_one_command_changes_them_at_a_time_and_the_others_do_not_wait_for_ever(folder, monkeypatch):
    monkeypatch.setattr(definitions, "_PATIENCE", 0.05)
    os.makedirs(folder)
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(StateError, match="another command has been changing"), changing(folder):
        pass
    os.close(other)
    with changing(folder):
        pass


def test_a_definition_that_is_no_file_is_an_error_and_waits_for_nobody(folder):
    os.makedirs(folder)
    os.mkfifo(path_of("lan", folder))
    os.mkdir(path_of("web", folder))
    assert read("lan", folder) == b""
    with pytest.raises(StateError, match=r"web\.toml cannot be read"):
        read("web", folder)
