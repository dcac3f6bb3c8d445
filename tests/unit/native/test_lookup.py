"""The plan cache's reading side under the sanitizers: what is a hit, what is none, and nothing that makes it crash."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.native import programs
from volt.host.kernel import effective_capabilities
from volt.model.entry import Dependency, Depends, encode_entry, file_name, numbers_of, question

WANTED = int(os.environ.get("VOLT_EXAMPLES", "0"))
KEY = bytes(range(16))
WORDS = ["run", "m.toml"]
PLAN = b"any plan at all"
root = pytest.mark.skipif(os.geteuid() != 0, reason="the plan cache is root's")
# What a crash of somebody else's on this machine has left would be a reason for no hit.
CLEAN = ["unshare", "--mount", "sh", "-c", '[ ! -d /run/volt ] || mount -t tmpfs none /run/volt; exec "$@"', "sh"]


def test_the_digest_is_hashlibs_for_every_length_around_every_block(units):
    data = hashlib.shake_128(b"any bytes").digest(700)
    for key in (KEY, bytes(16), b"\xff" * 16):
        done = subprocess.run(
            [units, "digest"], input=key + data, capture_output=True, env=programs.SANITIZED, check=True
        )
        wanted = [hashlib.blake2s(data[:n], digest_size=16, key=key).hexdigest() for n in range(len(data) + 1)]
        assert done.stdout.decode().split() == wanted


# ── what is a hit


class Cache:
    """A VOLT_ROOT with one entry, for the words above in this folder and for the program under test."""

    def __init__(self, top, units):
        self.top, self.units = top, units
        self.plans = top / "state/plans"
        self.plans.mkdir(parents=True)
        (self.plans / "key").write_bytes(KEY)
        self.environment = {**programs.SANITIZED, "VOLT_ROOT": str(top), "PATH": os.environ["PATH"], "TERM": "t"}

    def asked(self, **other):
        given = {
            "program": os.fsencode(self.units.parent.resolve()),
            "path": b"",
            "folder": os.fsencode(self.top.resolve()),
            "root": os.fsencode(self.top),
            "terminal": 0,
            "term": b"t",
        }
        return question([word.encode() for word in WORDS], **{**given, **other})

    def write(self, *dependencies, plan=PLAN, **other):
        path = self.plans / file_name(self.asked(), KEY)
        path.write_bytes(encode_entry(self.asked(**other), dependencies, plan, KEY))
        return path

    def run(self, *words, **environment):
        return subprocess.run(
            [*CLEAN, self.units, *map(str, words)],
            cwd=self.top,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def plan(self, *, words=WORDS, **environment):
        """The plan that is found, None for none."""
        done = self.run("lookup", *words, **environment)
        assert done.returncode in (0, 1), done.stderr
        assert done.stderr == b""
        return done.stdout if done.returncode == 0 else None


@pytest.fixture
def cache(units):
    """Not below pytest's folder alone: every folder on the way to it has to be root's."""
    with tempfile.TemporaryDirectory(prefix="volt-") as folder:
        yield Cache(Path(folder), units)


def status_numbers(path, *, follow=True):
    status = path.stat(follow_symlinks=follow)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def place_numbers(path):
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_mode & 0o170000, status.st_uid, status.st_gid)


def holding(cache):
    """A dependency of each kind that holds."""
    (cache.top / "file").write_text("x")
    (cache.top / "link").symlink_to("file")
    file, link = cache.top / "file", cache.top / "link"
    soft, hard = (value % 2**64 for value in resource.getrlimit(resource.RLIMIT_NOFILE))
    boot = Path("/proc/sys/kernel/random/boot_id")
    return [
        Dependency(Depends.FILE, os.fsencode(link), status_numbers(file)),
        Dependency(Depends.LINK, os.fsencode(link), status_numbers(link, follow=False)),
        Dependency(Depends.ABSENT, os.fsencode(cache.top / "missing")),
        Dependency(Depends.ABSENT, os.fsencode(cache.top / "file/below")),
        Dependency(Depends.PLACE, os.fsencode(cache.top), place_numbers(cache.top)),
        Dependency(Depends.TEXT, os.fsencode(boot), numbers_of(boot.read_bytes(), KEY)),
        Dependency(Depends.UNSET, b"NOBODY_SETS_THIS"),
        Dependency(Depends.CAPABILITIES, b"", (effective_capabilities(),)),
        Dependency(Depends.LIMIT, b"7", (resource.RLIMIT_NOFILE, soft, hard)),
    ]


@root
def test_an_entry_whose_dependencies_hold_is_the_plan(cache):
    cache.write(*holding(cache))
    assert cache.plan() == PLAN
    cache.write()
    assert cache.plan() == PLAN


COUNTED = {
    Depends.FILE: 5,
    Depends.LINK: 5,
    Depends.PLACE: 5,
    Depends.TEXT: 2,
    Depends.CAPABILITIES: 1,
    Depends.LIMIT: 3,
}


@root
def test_every_number_of_every_kind_counts(cache):
    for one in holding(cache):
        cache.write(one)
        assert cache.plan() == PLAN, one
        for n in range(COUNTED.get(one.kind, 0)):
            for bit in (0, 31, 63):
                numbers = tuple(value ^ (1 << bit if at == n else 0) for at, value in enumerate(one.numbers))
                cache.write(Dependency(one.kind, one.name, numbers))
                assert cache.plan() is None, (one, n)


@root
def test_one_that_does_not_hold_among_many_is_enough(cache):
    good = holding(cache)
    for at in range(len(good) + 1):
        cache.write(*good[:at], Dependency(Depends.ABSENT, os.fsencode(cache.top)), *good[at:])
        assert cache.plan() is None


@root
@pytest.mark.parametrize(
    "wrong",
    [
        Dependency(Depends.UNSET, b"TERM"),
        Dependency(Depends.FILE, b"/no/such", (0,) * 5),
        Dependency(Depends.PLACE, b"/no/such", (0,) * 5),
        Dependency(Depends.TEXT, b"/no/such", (0, 0)),
        Dependency(Depends.TEXT, b"/proc", (0, 0)),
        Dependency(Depends.ABSENT, b"/proc/self/../../etc"),
        Dependency(Depends.ABSENT, b"/" + b"a" * 300),  # ENAMETOOLONG is no absence
        Dependency(Depends.LIMIT, b"", (2**31, 0, 0)),
        Dependency(Depends.LIMIT, b"", (9999, 0, 0)),
        Dependency(Depends.UNSET, b"NOT\0SET"),
    ],
    ids=lambda one: f"{one.kind.name}-{one.name[:12]!r}",
)
def test_what_does_not_hold_or_cannot_be_asked_is_no_hit(cache, wrong):
    cache.write(wrong)
    assert cache.plan() is None


@root
@pytest.mark.parametrize("kind", [0, 9, 2**31, 2**32 - 1])
def test_a_kind_that_is_not_known_is_no_hit(cache, kind):
    cache.write(Dependency(kind, b"", ()))
    assert cache.plan() is None


@root
def test_a_variable_that_is_set_later_is_no_hit(cache):
    cache.write(Dependency(Depends.UNSET, b"OPTION"))
    assert cache.plan() == PLAN
    assert cache.plan(OPTION="") is None


@root
@pytest.mark.parametrize(
    "other",
    [{"term": b"other"}, {"folder": b"/"}, {"root": b"/other"}, {"terminal": 1}, {"program": b"/"}, {"path": b"/x"}],
    ids=lambda one: next(iter(one)),
)
def test_the_question_in_the_entry_has_to_be_the_one_that_is_asked(cache, other):
    """The name alone does not say it."""
    cache.write(**other)
    assert cache.plan() is None


@root
def test_other_words_folders_and_variables_are_another_question(cache):
    cache.write()
    assert cache.plan() == PLAN
    assert cache.plan(words=["run"]) is None
    assert cache.plan(words=[*WORDS, ""]) is None
    assert cache.plan(words=["validate", "m.toml"]) is None
    assert cache.plan(TERM="other") is None
    assert cache.plan(PYTHONPATH="/other") is None


@root
def test_slashes_behind_the_root_do_not_count_and_a_relative_one_is_none(cache):
    cache.write()
    assert cache.plan(VOLT_ROOT=f"{cache.top}///") == PLAN
    for wrong in ("/", "//", "relative", f".{cache.top}"):
        assert cache.plan(VOLT_ROOT=wrong) is None


@root
def test_an_empty_plan_is_found_as_such(cache):
    cache.write(plan=b"")
    assert cache.plan() == b""


@root
def test_what_follows_the_plan_is_no_hit(cache):
    path = cache.write()
    whole = path.read_bytes()
    body = whole[32:] + b"\0"
    seal = hashlib.blake2s(body, digest_size=16, key=KEY).digest()
    path.write_bytes(whole[:12] + (len(body) + 32).to_bytes(4, "little") + seal + body)
    assert cache.plan() is None


# ── damage


@root
@pytest.mark.parametrize("many", [True, False])
def test_no_damaged_entry_crashes_the_reader(cache, many):
    """Sealed again: some changes do not matter, in a name's place or in the plan; most are no hit."""
    count = max(WANTED, 5000)
    path = cache.write(*(holding(cache) if many else ()))
    done = cache.run("damaged", path, count, 1, *WORDS)
    assert (done.returncode, done.stderr) == (0, b"")
    accepted, examples = map(int, re.findall(r"\d+", done.stdout.decode()))
    assert examples == count
    assert 0 < accepted < examples * 0.9


@root
def test_another_user_than_root_gets_nothing(cache):
    cache.write()
    cache.top.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", cache.units, "lookup", *WORDS],
        cwd="/",
        env=cache.environment,
        capture_output=True,
        check=False,
    )
    assert done.stdout == b""
    assert done.returncode != 0
