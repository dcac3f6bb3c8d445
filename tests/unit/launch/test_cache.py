"""Writing the plan cache: whole files of root's alone, a bound, and no launch that fails for it."""

import os
import stat

import pytest

from volt.launch import cache
from volt.launch.cache import ENTRIES, PlanCache, open_cache
from volt.model.entry import DIGEST, MOST, encode_entry, file_name
from volt.model.facts import Folders

root = pytest.mark.skipif(os.geteuid() != 0, reason="the plan cache is root's")
KEY = bytes(16)


@pytest.fixture
def where(tmp_path):
    top = str(tmp_path / "volt")
    return Folders(f"{top}/state", f"{top}/run", f"{top}/log", top)


@pytest.fixture
def kept(tmp_path):
    return PlanCache(tmp_path, KEY)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@root
def test_the_folder_and_its_key_are_made_for_root_alone(where):
    made = open_cache(where)
    assert len(made.key) == DIGEST
    assert [path.stat().st_mode & 0o7777 for path in (made.folder, made.folder / "key")] == [0o700, 0o600]
    assert stat.S_IMODE(made.folder.parent.stat().st_mode) == 0o711
    assert names(made.folder) == ["key"]


@root
def test_the_key_stays_and_is_nobody_elses(where, tmp_path):
    first = open_cache(where)
    assert open_cache(where) == first
    other = open_cache(Folders(f"{tmp_path}/b/state", f"{tmp_path}/b/run", f"{tmp_path}/b/log", f"{tmp_path}/b"))
    assert other.key != first.key


@root
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777, 0o750])
def test_a_folder_that_others_have_a_part_in_is_none(where, mode):
    open_cache(where).folder.chmod(mode)
    assert open_cache(where) is None


@root
def test_a_folder_of_somebody_else_or_a_link_is_none(where, tmp_path):
    folder = open_cache(where).folder
    os.chown(folder, 1000, 0)
    assert open_cache(where) is None
    os.chown(folder, 0, 0)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert open_cache(where) is None


@root
@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_key_of_another_length_is_none(where, length):
    (open_cache(where).folder / "key").write_bytes(bytes(length))
    assert open_cache(where) is None


def test_where_there_is_no_place_there_is_no_cache(tmp_path):
    (tmp_path / "file").touch()
    top = f"{tmp_path}/file/volt"
    assert open_cache(Folders(f"{top}/state", f"{top}/run", f"{top}/log", top)) is None


def test_an_entry_is_there_under_its_name_and_nothing_else(kept, tmp_path):
    kept.keep(b"asked", [], b"plan")
    assert names(tmp_path) == [file_name(b"asked", KEY)]
    path = tmp_path / file_name(b"asked", KEY)
    assert path.read_bytes() == encode_entry(b"asked", [], b"plan", KEY)
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_newer_one_takes_the_place_of_the_older(kept, tmp_path):
    kept.keep(b"asked", [], b"plan")
    before = (tmp_path / file_name(b"asked", KEY)).stat().st_ino
    with (tmp_path / file_name(b"asked", KEY)).open("rb") as reader:
        kept.keep(b"asked", [], b"another")
        assert reader.read() == encode_entry(b"asked", [], b"plan", KEY)  # whoever reads goes on reading one
        assert (tmp_path / file_name(b"asked", KEY)).stat().st_ino != before
    assert len(names(tmp_path)) == 1


def test_what_is_left_of_a_writer_that_died_is_no_obstacle(kept, tmp_path):
    (tmp_path / f".{file_name(b'asked', KEY)}-{os.getpid()}").write_bytes(b"half")
    kept.keep(b"asked", [], b"plan")
    assert names(tmp_path) == [file_name(b"asked", KEY)]


def test_one_that_is_too_long_is_not_kept(kept, tmp_path):
    kept.keep(b"asked", [], bytes(MOST))
    assert names(tmp_path) == []


def test_the_oldest_make_room(kept, tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    os.utime(tmp_path / "key", (0, 0))
    for number in range(ENTRIES + 5):
        (tmp_path / f"{number:04}").touch()
        os.utime(tmp_path / f"{number:04}", (1000 + number, 1000 + number))
    kept.keep(b"asked", [], b"plan")
    found = names(tmp_path)
    assert len(found) == ENTRIES + 1  # and the key, which is no entry, however old
    assert {"key", file_name(b"asked", KEY), "0006"} < set(found)
    assert "0005" not in found


@pytest.mark.parametrize("obstacle", ["missing", "file", "folder-of-that-name"])
def test_what_cannot_be_written_is_not_kept_and_no_failure(tmp_path, obstacle):
    folder = tmp_path / "plans"
    if obstacle == "file":
        folder.touch()
    elif obstacle == "folder-of-that-name":
        (folder / file_name(b"asked", KEY)).mkdir(parents=True)
        (folder / file_name(b"asked", KEY) / "x").touch()
    PlanCache(folder, KEY).keep(b"asked", [], b"plan")
    assert not folder.is_dir() or names(folder) == [file_name(b"asked", KEY)]


def test_a_folder_among_the_oldest_does_not_fail_a_launch(kept, tmp_path):
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "folder", (0, 0))
    for number in range(ENTRIES):
        (tmp_path / f"{number:04}").touch()
    kept.keep(b"asked", [], b"plan")


def test_a_first_writer_of_the_key_wins(tmp_path):
    cache._write(tmp_path / "key", b"a" * 16, replace=False)
    with pytest.raises(FileExistsError):
        cache._write(tmp_path / "key", b"b" * 16, replace=False)
    assert (tmp_path / "key").read_bytes() == b"a" * 16
    assert names(tmp_path) == ["key"]
