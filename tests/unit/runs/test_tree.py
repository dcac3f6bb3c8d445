"""Removing what a hostile payload has left: whatever its names, its links and its depth."""

import os
import sys

import pytest

from volt.runs.tree import remove_tree

NAME = "deeper"


@pytest.fixture
def outside(tmp_path):
    """What must survive."""
    (tmp_path / "outside/folder").mkdir(parents=True)
    (tmp_path / "outside/file").write_text("kept")
    return tmp_path / "outside"


@pytest.fixture
def top(tmp_path):
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def deep(folder, depth):
    """A chain of folders, made by descriptor: its path is longer than any call takes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(NAME, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open(NAME, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_nothing_there_is_no_error(top):
    remove_tree(f"{top}/missing")


def test_files_and_folders_of_every_kind_go(top):
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/file").write_text("x")
    (top / "empty").mkdir()
    os.mkfifo(top / "a/fifo")
    (top / "a/b/odd\nname\\ ").touch()
    os.close(os.open(os.fsencode(top) + b"/a/\xff", os.O_CREAT))
    remove_tree(str(top))
    assert not top.exists()


def test_links_go_and_what_they_lead_to_stays(top, outside):
    (top / "a/b").mkdir(parents=True)
    (top / "to-folder").symlink_to(outside)
    (top / "a/to-folder").symlink_to(outside / "folder")
    (top / "a/b/to-file").symlink_to(outside / "file")
    (top / "a/b/up").symlink_to("..")
    remove_tree(str(top))
    assert not top.exists()
    assert (outside / "file").read_text() == "kept"
    assert (outside / "folder").is_dir()


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path, outside):
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        remove_tree(f"{tmp_path}/link")
    assert (outside / "file").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(outside):
    with pytest.raises(NotADirectoryError):
        remove_tree(f"{outside}/file")
    assert (outside / "file").exists()


def test_a_tree_deeper_than_any_path_goes_without_recursion(top):
    depth = sys.getrecursionlimit() + 50
    assert depth * len(NAME) > os.pathconf(top, "PC_PATH_MAX")
    deep(top, depth)
    remove_tree(str(top))
    assert not top.exists()


def test_few_descriptors_are_open_at_a_time(top, monkeypatch):
    real, most = os.rmdir, []

    def rmdir(*args, **options):
        most.append(len(os.listdir("/proc/self/fd")))
        real(*args, **options)

    deep(top, 50)
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "rmdir", rmdir)
    remove_tree(str(top))
    assert max(most) <= before + 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_that_removing_uses_itself_do_no_harm(top, outside):
    for number in range(4):
        (top / f".volt-{number}/x/y").mkdir(parents=True)
        (top / f"a/.volt-{number}/.volt-{number}/z").mkdir(parents=True)
    (top / ".volt-4").write_text("a file")
    (top / ".volt-5").symlink_to(outside)
    (top / "a/b/c").mkdir(parents=True)
    remove_tree(str(top))
    assert not top.exists()
    assert (outside / "file").exists()


def test_what_goes_meanwhile_is_no_error(top, monkeypatch):
    """Another sweep removes the same tree: each of its names may be gone by the time it is used."""
    for name in ("a/b/c", "d/e"):
        (top / name).mkdir(parents=True)
        (top / name / "file").touch()
    real, seen = os.rename, []

    def rename(source, target, **options):
        real(source, target, **options)
        if not seen:
            seen.append(source)
            remove_tree(str(top))

    monkeypatch.setattr(os, "rename", rename)
    remove_tree(str(top))
    assert not top.exists()


def test_a_folder_that_cannot_be_removed_is_not_entered(top, monkeypatch):
    """As one that something is mounted on, rmdir(2). On a real one: tests/host/test_probe.py."""
    (top / "busy/inner").mkdir(parents=True)

    def rmdir(path, **_options):
        raise OSError(16, "Device or resource busy", path)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(OSError, match="busy"):
        remove_tree(str(top))
    assert (top / "busy/inner").is_dir()
