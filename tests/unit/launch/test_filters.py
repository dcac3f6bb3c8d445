"""Compiled filters that were kept: used only as root alone can have written them, and of what is as it was."""

from __future__ import annotations

import os
import struct

import pytest

from tests.damage import DAMAGES, SOMEBODY
from volt.launch.cache import FILTER, FILTERS, PlanCache, open_cache
from volt.model.entry import Dependency, Depends, encode_entry, file_name, filter_question, numbers_of_file
from volt.model.facts import Folders

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the plan cache is root's")
MACHINE = ("x86_64", "6.1.0")
PROGRAM = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000) * 3


@pytest.fixture
def where(tmp_path):
    top = str(tmp_path / "volt")
    return Folders(f"{top}/state", f"{top}/run", f"{top}/log", top)


@pytest.fixture
def cache(where, tmp_path):
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    return open_cache(where)


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "libseccomp.so.2"
    path.write_bytes(b"one")
    return path


def question(cache, text=b"profile", capabilities=("KILL",), machine=MACHINE):
    return filter_question(text, capabilities, machine, cache.key)


def on(path):
    return Dependency(Depends.FILE, os.fsencode(path), numbers_of_file(path.stat()))


@pytest.fixture
def entry(cache, library):
    """The one filter that is kept, and found: the counter-proof for whatever a test does to it."""
    cache.keep_filter(question(cache), [on(library)], PROGRAM)
    assert cache.find_filter(question(cache)) == ((on(library),), PROGRAM)
    return cache.folder / (FILTER + file_name(question(cache), cache.key))


def test_it_is_roots_alone_under_the_name_of_its_question(entry):
    assert entry.stat().st_mode & 0o7777 == 0o600
    assert entry.stat().st_uid == 0


OTHERS = [
    {"text": b"profile "},
    {"capabilities": ()},
    {"capabilities": ("KILL", "CHOWN")},
    {"machine": ("aarch64", "6.1.0")},
    {"machine": ("x86_64", "6.1.1")},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_question_has_no_answer_also_from_the_file_of_this_one(cache, entry, other):
    asked = question(cache, **other)
    assert cache.find_filter(asked) is None
    entry.rename(cache.folder / (FILTER + file_name(asked, cache.key)))
    assert cache.find_filter(asked) is None


def test_the_order_of_capabilities_says_nothing(cache):
    assert question(cache, capabilities=("A", "B")) == question(cache, capabilities=("B", "A"))


def test_another_version_of_volt_asks_another_question(cache, monkeypatch):
    before = question(cache)
    monkeypatch.setattr("volt.model.entry.__version__", "9.9.9")
    assert question(cache) != before


def test_one_flipped_bit_anywhere_is_no_filter(cache, entry):
    whole = entry.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        entry.write_bytes(damaged)
        assert cache.find_filter(question(cache)) is None, place
    entry.write_bytes(whole)
    assert cache.find_filter(question(cache))


def test_one_cut_short_or_with_something_behind_is_no_filter(cache, entry):
    whole = entry.read_bytes()
    for length in range(len(whole)):
        entry.write_bytes(whole[:length])
        assert cache.find_filter(question(cache)) is None, length
    entry.write_bytes(whole + b"\0")
    assert cache.find_filter(question(cache)) is None


def test_a_poisoned_one_that_is_sealed_with_another_key_is_no_filter(cache, entry, library):
    entry.write_bytes(encode_entry(question(cache), [on(library)], b"poison!!", os.urandom(16)))
    assert cache.find_filter(question(cache)) is None
    entry.write_bytes(encode_entry(question(cache), [on(library)], b"poison!!", cache.key))
    assert cache.find_filter(question(cache)), "the key is what the seal is worth"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_one_that_root_alone_cannot_have_written_is_no_filter(cache, entry, damage):
    damage(entry)
    assert cache.find_filter(question(cache)) is None


def test_every_folder_on_the_way_has_to_be_roots_alone(cache, entry, tmp_path):
    way = [path for path in (cache.folder, *cache.folder.parents) if path.is_relative_to(tmp_path)]
    assert len(way) == 4
    for path in way:
        before = path.stat().st_mode & 0o7777
        for mode, owner in ((0o770, 0), (0o707, 0), (0o700, SOMEBODY)):
            path.chmod(mode)
            os.chown(path, owner, 0)
            assert cache.find_filter(question(cache)) is None, (path, mode, owner)
        os.chown(path, 0, 0)
        path.chmod(before)
        assert cache.find_filter(question(cache))


def test_a_sticky_folder_on_the_way_is_as_good_but_not_the_last(cache, entry):
    cache.folder.parent.chmod(0o1777)
    assert cache.find_filter(question(cache))
    cache.folder.chmod(0o1777)
    assert cache.find_filter(question(cache)) is None


def test_a_link_on_the_way_is_not_followed(cache, entry):
    state = cache.folder.parent
    state.rename(state.with_name("other"))
    state.symlink_to("other")
    assert cache.find_filter(question(cache)) is None


def replaced(library):
    library.with_name("new").write_bytes(b"one")
    library.with_name("new").rename(library)


def touched(library):
    os.utime(library, ns=(0, 0))


def grown(library):
    library.write_bytes(b"more")


def gone(library):
    library.unlink()


@pytest.mark.parametrize("change", [replaced, touched, grown, gone], ids=lambda one: one.__name__)
def test_with_another_libseccomp_it_is_no_filter(cache, entry, library, change):
    change(library)
    assert cache.find_filter(question(cache)) is None


def test_a_dependency_of_another_kind_is_not_understood_and_so_not_met(cache, library):
    same = numbers_of_file(library.stat())
    for kind in set(Depends) - {Depends.FILE}:
        cache.keep_filter(question(cache), [on(library), Dependency(kind, os.fsencode(library), same)], PROGRAM)
        assert cache.find_filter(question(cache)) is None


def test_filters_and_plans_make_room_each_for_their_own(cache, library):
    cache.keep(b"asked", [], b"plan")
    for number in range(FILTERS + 3):
        cache.keep_filter(question(cache, text=b"%d" % number), [on(library)], PROGRAM)
    found = [path.name for path in cache.folder.iterdir()]
    assert sum(name.startswith(FILTER) for name in found) == FILTERS
    assert {"key", file_name(b"asked", cache.key)} < set(found)


def test_where_nothing_is_kept_nothing_is_found(tmp_path):
    assert PlanCache(tmp_path / "missing", bytes(16)).find_filter(b"asked") is None
