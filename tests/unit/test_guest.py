"""What scripts/ci-vm builds, keeps and asks; and how it listens to a guest, for which another process stands here."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from guest import GuestFailed, image, kvm, qemu, tree
from guest.__main__ import arguments
from guest.cache import KEPT, Cache
from guest.image import SUITES, Image
from guest.inside import CONTROL, OUTPUT, joined, write_all
from guest.qemu import Channels
from guest.run import Answer, Request, run

TRIXIE, BOOKWORM = SUITES["trixie"], SUITES["bookworm"]
REQUEST = Request(("tests/vm",), {"CI": "true"})

# ── the cache


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path)


def make(folder: Path) -> None:
    (folder / "made").write_text("whole")


def names(cache: Cache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {"lock"}


def test_what_is_there_is_not_built_again(cache):
    first = cache.get("one", make)
    (first / "made").write_text("kept")
    assert cache.get("one", make) == first
    assert (first / "made").read_text() == "kept"


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(folder):
        make(folder)
        raise GuestFailed("no network")

    with pytest.raises(GuestFailed, match="no network"):
        cache.get("one", fail)
    assert names(cache) == set()
    assert (cache.get("one", make) / "made").read_text() == "whole"


def test_two_who_ask_at_once_build_once_and_never_see_half(cache):
    built, seen = [], []

    def slow(folder):
        built.append(folder)
        time.sleep(0.1)
        make(folder)

    asking = [threading.Thread(target=lambda: seen.append((cache.get("one", slow) / "made").read_text())) for _ in "ab"]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert (len(built), seen) == (1, ["whole", "whole"])


def test_what_nobody_used_for_long_and_what_a_killed_builder_left_is_removed(cache):
    for name in ("old", "other", "wanted"):
        cache.get(name, make)
    (cache.folder / ".new-killed").mkdir()
    long_ago = time.time() - KEPT - 1
    for name in ("old", "wanted"):
        os.utime(cache.folder / name, (long_ago, long_ago))
    cache.get("wanted", make)
    assert names(cache) == {"other", "wanted"}


# ── what is built


def test_the_key_is_of_all_that_shapes_the_image(tmp_path):
    recipe = [Path(shutil.copy(path, tmp_path)) for path in image.RECIPE]
    assert {path.name for path in recipe} >= {"image.py", "debian.py", "requirements.txt"}
    keys = [image.key(TRIXIE, recipe), image.key(BOOKWORM, recipe)]
    assert image.key(TRIXIE) == keys[0]
    for path in recipe:
        path.write_text(path.read_text() + "\n")
        keys.append(image.key(TRIXIE, recipe))
    assert len(set(keys)) == len(keys)


def test_the_tree_travels_as_it_is_and_belongs_to_root(tmp_path):
    folder = tmp_path / "tree"
    kept = ("pyproject.toml", "volt/native/volt", "volt/not-committed.py")
    for name in (*kept, ".git/config", ".venv/bin/python", "volt/__pycache__/x.pyc", "build/lib/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "volt/native/volt").chmod(0o755)
    tree.pack(folder, tmp_path / "tree.tar")
    with tarfile.open(tmp_path / "tree.tar") as archive:
        members = archive.getmembers()
    assert {member.name for member in members if member.isfile()} == set(kept)
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "root")}
    assert next(member.mode for member in members if member.name == "volt/native/volt") == 0o755


# ── what is asked


@pytest.mark.parametrize(
    ("words", "long", "asked"),
    [
        ([], False, ("-m", "kernel", "tests/vm", "tests/host")),
        (["-k", "hello"], False, ("-m", "kernel", "-k", "hello", "tests/vm", "tests/host")),
        ([], True, ("tests/vm", "tests/host")),
        (["tests/host/test_kill.py", "-x"], False, ("tests/host/test_kill.py", "-x")),
        (["tests/host/test_kill.py::test_x"], True, ("tests/host/test_kill.py::test_x",)),
    ],
)
def test_files_that_are_named_are_the_only_ones(words, long, asked):
    found = arguments(words, long=long)
    assert tuple(word for word in found if word not in ("--color=yes", "tests/attack")) == asked


def test_the_machine_has_two_disks_that_are_not_written_and_the_channels(tmp_path):
    argv = qemu.arguments(Image(Path("root"), Path("kernel")), Path("tree"), Channels(7, 8, 9), kvm=False, shell=False)
    words = " ".join(argv)
    assert words.count("snapshot=on") == words.count("if=none") == 2
    for part in (
        f"id={OUTPUT},fd=7",
        f"id={CONTROL},fd=8",
        "id=console,fd=9",
        "-accel tcg,thread=single -cpu max,la57=off",
    ):
        assert part in words
    fast = qemu.arguments(Image(Path("root"), Path("kernel")), Path("tree"), Channels(7, 8, 9), kvm=True, shell=True)
    assert {"host", "stdio,id=console,signal=off"} < set(fast)
    assert ["clocksource=tsc" in " ".join(each) for each in (argv, fast)] == [True, False]


# ── KVM


def test_the_verdict_on_kvm_holds_until_the_next_boot(tmp_path):
    remembered = tmp_path / "kvm"
    verdict = kvm.usable(remembered)
    boot, word = remembered.read_text().split()
    assert word == ("usable" if verdict else "unusable")
    remembered.write_text(f"{boot} {'unusable' if verdict else 'usable'}")
    assert kvm.usable(remembered) is not verdict, "it was probed again"
    remembered.write_text(f"another-boot {'unusable' if verdict else 'usable'}")
    assert kvm.usable(remembered) is verdict, "it was believed"


# ── listening

# In QEMU's place: this with a script; `say` writes to a channel by its name.
STAND_IN = """
import json, os, signal, sys, time
channels = dict(zip(("output", "control", "console"), map(int, sys.argv[1:4])))
def say(name, text):
    text = memoryview(text.encode())
    while text:
        text = text[os.write(channels[name], text):]
def answer(status=0, junit="", output=0):
    say("control", json.dumps({"status": status, "junit": junit, "output": output}) + "\\n")
def asked():
    line = b""
    while not line.endswith(b"\\n"):
        line += os.read(channels["control"], 1000)
    return json.loads(line)
"""


class Port(io.BytesIO):
    """Takes a few bytes at a time."""

    def write(self, text):
        return super().write(text[:5])


def test_a_port_that_takes_little_at_a_time_gets_everything():
    port = Port()
    write_all(port, b"more than five bytes")
    assert port.getvalue() == b"more than five bytes"


def stand_in(script: str):
    def argv(channels: Channels) -> list[str]:
        numbers = map(str, (channels.output, channels.control, channels.console))
        return [sys.executable, "-c", STAND_IN + script, *numbers]

    return argv


def listen(script: str, deadline: float = 30.0) -> tuple[Answer, bytes]:
    out = io.BytesIO()
    return run(stand_in(script), REQUEST, deadline, out), out.getvalue()


def test_the_request_arrives_and_the_answer_with_all_output_comes_back():
    script = """
request = asked()
say("output", "x" * 1_000_000)
answer(3, "<xml/>" + request["arguments"][0] + request["environment"]["CI"], 1_000_000)
time.sleep(60)
"""
    answer, out = listen(script)
    assert answer == Answer(3, "<xml/>tests/vmtrue")
    assert out == b"x" * 1_000_000


def test_output_that_comes_after_the_answer_is_waited_for():
    answer, out = listen('asked(); answer(0, "", 5); time.sleep(0.2); say("output", "later"); time.sleep(60)')
    assert (answer.status, out) == (0, b"later")


class Flushed(io.BytesIO):
    """Makes a file when it has been flushed."""

    def __init__(self, mark: Path):
        super().__init__()
        self.mark = mark

    def flush(self):
        self.mark.touch()


def test_output_is_passed_on_while_the_guest_runs(tmp_path):
    mark = tmp_path / "flushed"
    script = f"""
asked()
say("output", "now")
while not os.path.exists({str(mark)!r}):
    time.sleep(0.01)
answer(0, "", 3)
time.sleep(60)
"""
    assert run(stand_in(script), REQUEST, 30.0, Flushed(mark)).status == 0


def test_a_guest_that_hangs_is_ended_at_the_deadline_with_its_console_shown(tmp_path):
    mark = tmp_path / "pid"
    script = f"""
open({str(mark)!r}, "w").write(str(os.getpid()))
say("output", "tests/vm/test_one.py .")
say("console", "\\x1b[1mwatchdog: BUG: soft lockup\\x1b[0m\\r\\n")
time.sleep(60)
"""
    with pytest.raises(GuestFailed, match="has not ended after 1 s") as failed:
        listen(script, deadline=1.0)
    assert str(failed.value).endswith("\nwatchdog: BUG: soft lockup\n")
    assert not Path("/proc", mark.read_text()).exists()


def test_a_guest_that_dies_is_told_at_once_with_its_console():
    start = time.monotonic()
    with pytest.raises(GuestFailed, match="ended without an answer") as failed:
        listen('say("console", "Kernel panic - not syncing")')
    assert "Kernel panic" in str(failed.value)
    assert time.monotonic() - start < 15


def test_a_guest_that_dies_in_the_middle_of_its_answer_has_given_none():
    with pytest.raises(GuestFailed, match="ended without an answer"):
        listen("""asked(); say("control", '{"status": 0')""")


def test_the_guest_ends_with_the_process_that_runs_it(tmp_path):
    mark = tmp_path / "pid"
    inner = STAND_IN + f'open({str(mark)!r}, "w").write(str(os.getpid())); time.sleep(60)'
    code = (
        "import sys; from guest.run import *\n"
        f"run(lambda c: [sys.executable, '-c', {inner!r}, '7', '8', '9'], Request((), {{}}), 60, sys.stdout.buffer)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=image.TOP) as runner:
        wait_for(lambda: mark.exists() and mark.read_text())
        runner.kill()
    guest = Path("/proc", mark.read_text())
    wait_for(lambda: not guest.exists() or "\nState:\tZ" in (guest / "status").read_text())


def wait_for(holds, patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_results_of_before_a_reboot_and_of_after_it_are_one():
    before, after = (f'<testsuites><testsuite name="{name}" /></testsuites>' for name in ("before", "after"))
    assert joined(before, after) == '<testsuites><testsuite name="before" /><testsuite name="after" /></testsuites>'
    assert joined(before, "") == joined("", before) == before
