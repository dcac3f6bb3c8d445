"""Only what root alone can have written is performed, and only as it was written; anything else is planned anew."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.damage import DAMAGES, SOMEBODY, folder
from tests.host import front

WORDS = ("run", "m1.toml")
HEADER = 32  # magic, version, length, seal
FLIPS = 400


@pytest.fixture(scope="module")
def one(tmp_path_factory, busybox):
    """A front with a manifest of its own, and nobody else's entries."""
    folder = tmp_path_factory.mktemp("trust")
    made = front.Front(folder, front.Installation(folder))
    made.manifest(
        workload={"command": ["echo", "performed"]},
        storage={"rootfs": str(front.small_root(folder / "root", busybox)), "writable_layer": "overlay"},
    )
    made("run", "m1.toml")  # it makes the kept layer
    front.let_age()
    return made


@pytest.fixture
def entry(one):
    """The one entry, whole and a hit: the counter-proof for whatever a test does to it."""
    one(*WORDS)
    assert one.cached(*WORDS).stdout == b"performed\n"
    for path in one.entries()[:-1]:
        path.unlink()
    (path,) = one.entries()
    return path


def refused(one):
    """It is no hit; the launch works all the same, and where that can be, leaves a good entry."""
    assert not one.hits(*WORDS)
    assert one.planned(*WORDS).stdout == b"performed\n"


@pytest.mark.alone  # a plan that is kept is good as long as the mounts of the machine are the same
def test_one_flipped_bit_anywhere_is_no_hit(one, entry):
    whole = entry.read_bytes()
    step = max(1, len(whole) // FLIPS)
    places = [*range(HEADER), *range(HEADER, len(whole), step), *range(len(whole) - 16, len(whole))]
    for number, place in enumerate(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << number % 8
        entry.write_bytes(flipped)
        assert not one.hits(*WORDS), place
    entry.write_bytes(whole)
    assert one.hits(*WORDS)
    entry.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(one)


def test_one_cut_short_or_with_something_behind_is_no_hit(one, entry):
    whole = entry.read_bytes()
    for length in (0, 1, 8, HEADER - 1, HEADER, HEADER + 4, len(whole) // 2, len(whole) - 1):
        entry.write_bytes(whole[:length])
        assert not one.hits(*WORDS), length
    entry.write_bytes(whole + b"\0")
    refused(one)


@pytest.mark.parametrize("damage", [one for one in DAMAGES if one is not folder], ids=lambda one: one.__name__)
def test_an_entry_that_root_alone_cannot_have_written_is_no_hit(one, entry, damage):
    damage(entry)
    refused(one)
    assert one.cached(*WORDS).stdout == b"performed\n"


def test_a_folder_in_the_place_of_an_entry_is_none(one, entry):
    folder(entry)
    refused(one)
    entry.rmdir()


def test_the_entry_of_other_words_is_none_for_these(one, entry):
    one("run", "m1.toml", "--", "echo", "other")
    newest = one.entries()[-1]
    assert newest != entry
    newest.rename(entry)
    refused(one)


def replaced(key):
    key.unlink()
    key.write_bytes(os.urandom(16))
    key.chmod(0o600)


def key_of_somebody(key):
    os.chown(key, SOMEBODY, 0)


def key_for_all(key):
    key.chmod(0o666)


def key_short(key):
    key.write_bytes(key.read_bytes()[:15])


def key_long(key):
    key.write_bytes(key.read_bytes() + b"\0")


def key_linked(key):
    key.rename(key.with_name("old-key"))
    key.symlink_to("old-key")


def key_gone(key):
    key.unlink()


KEYS = [replaced, key_of_somebody, key_for_all, key_short, key_long, key_linked, key_gone]


@pytest.mark.parametrize("damage", KEYS, ids=lambda one: one.__name__)
def test_another_key_or_one_of_somebody_elses_is_no_hit(one, entry, damage):
    damage(one.plans / "key")
    refused(one)
    shutil.rmtree(one.plans)


def test_a_new_key_leaves_the_old_entries_unread(one, entry):
    replaced(one.plans / "key")
    refused(one)
    assert one.cached(*WORDS).stdout == b"performed\n"
    assert len(one.entries()) == 2  # the old one's name says nothing to anybody now
    shutil.rmtree(one.plans)


# ── the folder, and those above it


@pytest.fixture
def above(busybox):
    """A front whose state lies below folders of this test's own, and the innermost of those."""
    top = Path(tempfile.mkdtemp(prefix="volt-"))
    top.chmod(0o755)
    (top / "a/b").mkdir(parents=True)
    made = front.Front(top, front.Installation(top))
    made.manifest(workload={"command": ["echo", "performed"]}, storage={"rootfs": str(busybox)})
    made.state = top / "a/b/volt"
    made.environment["VOLT_ROOT"] = str(made.state)
    front.let_age()
    made(*WORDS)
    assert made.cached(*WORDS).stdout == b"performed\n"
    yield made
    assert made.left() == []
    shutil.rmtree(top)


def changed_and_back(one, path, mode, owner=0):
    before = path.stat()
    path.chmod(mode)
    os.chown(path, owner, 0)
    hit = one.hits(*WORDS)
    if not hit:
        assert one.planned(*WORDS).stdout == b"performed\n"
    path.chmod(before.st_mode & 0o7777)
    os.chown(path, 0, 0)
    assert one.cached(*WORDS).stdout == b"performed\n"
    return hit


def test_every_folder_on_the_way_has_to_be_roots_alone(above):
    way = [path for path in (above.plans, *above.plans.parents) if path.is_relative_to(above.folder)]
    assert [path.name for path in way[:4]] == ["plans", "state", "volt", "b"]
    for path in way:
        assert not changed_and_back(above, path, 0o770), path
        assert not changed_and_back(above, path, 0o707), path
        assert not changed_and_back(above, path, 0o700, SOMEBODY), path


@pytest.mark.alone
def test_a_sticky_folder_on_the_way_is_as_good(above):
    assert changed_and_back(above, above.folder / "a", 0o1777)
    assert not changed_and_back(above, above.folder / "a", 0o777)
    assert not changed_and_back(above, above.plans, 0o1777)  # the last has nobody else's name in it


def test_a_link_on_the_way_is_not_followed(above):
    (above.folder / "a/b").rename(above.folder / "a/c")
    (above.folder / "a/b").symlink_to("c")
    refused(above)


def test_a_folder_that_is_not_roots_is_not_written_either(above):
    os.chown(above.plans, SOMEBODY, 0)
    for path in above.entries():
        path.unlink()
    for _ in range(2):
        above.planned(*WORDS)
    assert above.entries() == []


# ── what a crash left


def dead_run(one):
    path = one.state / "run/runs/0123456789ab"
    path.mkdir()
    return path


def dead_lock(one):
    path = one.state / "run/runs/0123456789ab.lock"
    path.touch(0o600)
    return path


def dead_name(one):
    path = one.state / "run/names/somebody"
    path.touch(0o600)
    return path


def layer_aside(one):
    path = one.state / "state/layers/.old-0123456789ab"
    path.mkdir()
    return path


@pytest.mark.parametrize("left", [dead_run, dead_lock, dead_name, layer_aside], ids=lambda one: one.__name__)
def test_what_a_crash_left_makes_a_miss_that_clears_it(one, entry, left):
    path = left(one)
    refused(one)
    assert not path.exists()
    assert one.cached(*WORDS).stdout == b"performed\n"


def test_a_dead_claim_on_ids_is_one_too_whoever_clears_it(one, entry):
    """The ranges are the machine's: any volt may be faster than this one."""
    path = Path("/run/volt/uids/1879048192")
    path.touch(0o600)
    hit = one.hits(*WORDS)
    assert not (hit and path.exists())
    assert one(*WORDS).stdout == b"performed\n"
    assert not path.exists()


def test_a_run_that_lives_is_no_crash(one, entry):
    (one.folder / "m2.toml").write_text((one.folder / "m1.toml").read_text().replace('-1"', '-2"'))
    living = one.start("run", "m2.toml", "--", "sh", "-c", "echo up; read x", stdin=-1, stdout=-1)
    assert living.stdout.readline() == b"up\n"
    assert one.cached(*WORDS).stdout == b"performed\n"
    living.communicate(b"\n", timeout=20)
    assert living.returncode == 0
