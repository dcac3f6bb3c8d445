"""Which network namespaces there are, in a folder that stands for /proc."""

import os

import pytest

from volt.host.namespaces import network_namespaces


class Processes:
    def __init__(self, folder):
        self.folder = folder
        self.begin(1)
        os.symlink("1", folder / "self")

    def begin(self, pid, threads=()):
        """A process whose threads have a file each for their network namespace."""
        own = self.folder / str(pid)
        (own / "ns").mkdir(parents=True)
        (own / "ns/pid").symlink_to("pid:[4026531836]")
        (own / "fd").mkdir()
        (own / "mountinfo").write_text("24 1 0:22 / /proc rw - proc proc rw\n")
        found = set()
        for thread in threads or (pid,):
            (own / f"task/{thread}/ns").mkdir(parents=True)
            (own / f"task/{thread}/ns/net").touch()
            found.add(os.stat(own / f"task/{thread}/ns/net").st_ino)
        return found


@pytest.fixture
def proc(tmp_path):
    return Processes(tmp_path)


def test_those_of_threads_of_descriptors_and_of_mounts(proc, tmp_path):
    own = proc.begin(7, (7, 8))
    (tmp_path / "7/fd/3").symlink_to("net:[4026532001]")
    (tmp_path / "7/fd/4").symlink_to("mnt:[4026532002]")
    (tmp_path / "7/mountinfo").write_text("30 24 0:4 net:[4026532003] /run/netns/a rw shared:9 - nsfs nsfs rw\n")
    found = network_namespaces(str(tmp_path))
    assert own < found
    assert {4026532001, 4026532003} < found
    assert 4026532002 not in found


def test_a_process_that_ends_meanwhile_is_none(proc, tmp_path):
    (tmp_path / "9").mkdir()
    assert network_namespaces(str(tmp_path)) is not None


def test_where_not_every_process_can_be_looked_at_there_may_be_others(proc, tmp_path):
    (tmp_path / "1/fd/3").write_text("no link: readlink(2) fails")
    assert network_namespaces(str(tmp_path)) is None


def test_a_pid_namespace_shows_its_own_processes_alone(proc, tmp_path):
    os.unlink(tmp_path / "1/ns/pid")
    os.symlink("pid:[4026532999]", tmp_path / "1/ns/pid")
    assert network_namespaces(str(tmp_path)) is None
