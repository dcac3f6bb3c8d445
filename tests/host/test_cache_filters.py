"""A second manifest's first launch takes the filter that the first one's made, and never another one."""

from __future__ import annotations

import os
import shutil
import struct

import pytest

from tests.host import front
from tests.host.test_cache_machine import ALONE, edited_profile, libseccomp
from volt.launch.cache import FILTER
from volt.model.entry import decode_entry, encode_entry, file_name
from volt.model.filter import Filter

ALLOW = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW
SOMEBODY = 1000
MANIFESTS = 50  # all made beforehand: no plan of a manifest that has just been written is kept
STATUS = "grep ^Seccomp /proc/self/status"


class Machine:
    """A front, with manifests that differ in nothing but their names: each is planned anew."""

    def __init__(self, folder, busybox):
        self.front = front.Front(folder, front.Installation(folder))
        self.root = front.small_root(folder / "root", busybox)
        shutil.copy2(libseccomp(), folder / "copy")
        self.copy = folder / "copy"
        self.bare = self.manifest(security={"capabilities": []})
        self.unused = [self.manifest() for _ in range(MANIFESTS)]

    def manifest(self, **sections):
        storage = {"rootfs": str(self.root), "writable_layer": "tmpfs"}
        return self.front.manifest(workload={"command": ["sh", "-c", STATUS]}, storage=storage, **sections)

    def launch(self, manifest=None, prefix=(), env=None):
        """Whether a manifest's first launch loaded libseccomp's binding; the payload is filtered in any case."""
        path = manifest or self.unused.pop()
        done = self.front.planned("run", path, prefix=prefix, env={"PYTHONPROFILEIMPORTTIME": "1", **(env or {})})
        assert done.returncode == 0, done.stderr.decode()
        assert b"Seccomp:\t2\n" in done.stdout
        return b" pyseccomp\n" in done.stderr

    def filters(self):
        return sorted(self.front.plans.glob(f"{FILTER}*"))

    def program(self):
        """The one filter that is kept."""
        (path,) = self.filters()
        body = path.read_bytes()[32:]
        (length,) = struct.unpack_from("<I", body)
        found = decode_entry(path.read_bytes(), body[4 : 4 + length], self.key())
        return Filter.decode(found[1]).program

    def key(self):
        return (self.front.plans / "key").read_bytes()

    def newest(self):
        """The newest plan, as it was kept."""
        return self.front.entries()[-1].read_bytes()


@pytest.fixture(scope="module")
def machine(tmp_path_factory, busybox):
    made = Machine(tmp_path_factory.mktemp("filters"), busybox)
    front.let_age()
    return made


@pytest.fixture
def one(machine):
    """With one filter, kept and used: the counter-proof for whatever a test does to it."""
    shutil.rmtree(machine.front.plans, ignore_errors=True)
    assert machine.launch()
    assert not machine.launch()
    return machine


def test_the_second_manifest_has_the_filter_of_the_first(one):
    first, second = (entry.read_bytes() for entry in one.front.entries())
    assert len(one.program()) > 1000
    assert one.program() in first
    assert one.program() in second


def test_a_plan_with_a_filter_that_was_kept_depends_on_what_that_was_made_with(one):
    for name in (
        os.fsencode(libseccomp()),
        b"/pyseccomp.py",
        b"/volt/plan/seccomp.py",
        b"/profiles/seccomp/default.toml",
    ):
        assert name in one.newest(), name


def test_other_capabilities_have_a_filter_of_their_own(one):
    shutil.rmtree(one.front.plans)
    assert one.launch(one.bare)
    bare = one.program()
    assert one.launch()
    assert len(one.filters()) == 2
    assert bare not in one.newest()


def poisoned(one, path):
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(one.program())] + ALLOW * (len(one.program()) // len(ALLOW)))


def poisoned_and_sealed(one, path):
    """As whoever does not know the key can do it."""
    body = path.read_bytes()[32:]
    (length,) = struct.unpack_from("<I", body)
    path.write_bytes(encode_entry(body[4 : 4 + length], (), Filter(ALLOW, ALLOW).encode(), bytes(16)))


def truncated(one, path):
    os.truncate(path, path.stat().st_size - 8)


def owned(one, path):
    os.chown(path, SOMEBODY, 0)


def writable(one, path):
    path.chmod(0o666)


def of_another_question(one, path):
    path.write_bytes(encode_entry(b"another", (), Filter(ALLOW, ALLOW).encode(), one.key()))


DAMAGES = [poisoned, poisoned_and_sealed, truncated, owned, writable, of_another_question]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_what_root_has_not_kept_for_this_is_made_anew(one, damage):
    good = one.program()
    (path,) = one.filters()
    damage(one, path)
    assert one.launch()
    assert good in one.newest()
    assert one.program() == good, "it has taken the place of the other"
    assert not one.launch()


def test_the_poison_would_be_seen(one):
    """Whoever has root's key can do this, and anything else."""
    (path,) = one.filters()
    body = path.read_bytes()[32:]
    (length,) = struct.unpack_from("<I", body)
    asked = body[4 : 4 + length]
    assert path.name == FILTER + file_name(asked, one.key())
    path.write_bytes(encode_entry(asked, (), Filter(ALLOW * 1001, ALLOW).encode(), one.key()))
    assert not one.launch()
    assert ALLOW * 1001 in one.newest()


def test_with_another_libseccomp_it_is_made_anew(one):
    """A copy is mounted over it: the same bytes, another file."""
    script = f'mount --bind {one.copy} $(realpath {libseccomp()}); exec "$@"'
    before = one.filters()[0].stat().st_ino
    assert one.launch(prefix=(*ALONE, script, "sh"))
    assert one.filters()[0].stat().st_ino != before
    assert one.launch(), "and once more with the first one"
    assert not one.launch()


def test_what_a_library_from_elsewhere_made_is_used_once_and_not_kept(one):
    """LD_LIBRARY_PATH is of one launch alone."""
    shutil.rmtree(one.front.plans)
    elsewhere = one.front.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.copy2(libseccomp(), elsewhere / "libseccomp.so.2")
    assert one.launch(env={"LD_LIBRARY_PATH": str(elsewhere)})
    assert (one.filters(), one.front.entries()) == ([], [])
    assert one.launch()
    assert len(one.filters()) == 1


def test_with_another_profile_it_is_made_anew(one):
    good = one.program()
    path = one.front.installed.tree / "profiles/seccomp/default.toml"
    text = path.read_text()
    edited_profile(one.front.installed)
    front.let_age()
    assert one.launch()
    changed = one.newest()
    path.write_text(text)
    front.let_age()
    assert good not in changed


def test_with_other_code_that_makes_it_it_is_made_anew(one):
    os.utime(one.front.installed.tree / "volt/plan/seccomp.py")
    front.let_age()
    assert one.launch()
    assert not one.launch()
