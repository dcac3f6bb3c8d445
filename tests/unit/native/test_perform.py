"""`volt perform` of plans that need no root: steps on the host, their undo and release, what is said of a failure."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.native import programs
from volt.model.binary import encode
from volt.model.steps import (
    ClaimName,
    ClaimRun,
    ClaimUids,
    Lifeline,
    MakeCgroup,
    MakeFile,
    MakeFolder,
    MakeLink,
    MemoryFile,
    Open,
    OpenNull,
    PinFile,
    Report,
    Seal,
    SealFile,
    SealInside,
    SealProgram,
    SetAside,
    WriteFile,
)
from volt.model.text import CLOCK, PID, RUN, STARTED, UIDS, Slot, SlotKind, text

FAILS = MakeFolder(note="the one that fails", path=text("/proc/nowhere/x"))


@pytest.fixture
def run(units, tmp_path):
    """Performs steps, under the sanitizers; `report` first, so that the outcome is known."""

    def perform(*steps, **options):
        outcome = tmp_path / "outcome.json"
        done = programs.perform(units, programs.plan(host=[Report(path=text(str(outcome))), *steps]), **options)
        done.outcome = json.loads(outcome.read_text())
        outcome.unlink()
        assert done.stdout == ""
        assert done.returncode == done.outcome["status"]
        return done

    return perform


def at(folder: Path, *parts: object):
    return text(f"{folder}/", *parts)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_nothing_to_do_is_done(run, tmp_path):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.outcome["by"] == "payload"
    assert names(tmp_path) == []


# ── folders


def test_a_folder_goes_with_the_run_and_all_that_is_in_it(run, tmp_path):
    run(
        MakeFolder(path=at(tmp_path, "run")),
        MakeFile(path=at(tmp_path, "run/f")),
        MakeLink(path=at(tmp_path, "run/l"), target=text("/etc")),
    )
    assert names(tmp_path) == []


def test_a_kept_folder_stays_and_goes_when_the_launch_fails(run, tmp_path):
    kept = MakeFolder(path=at(tmp_path, "kept"), mode=0o750, keep=True)
    run(kept)
    assert (tmp_path / "kept").stat().st_mode & 0o7777 == 0o750
    (tmp_path / "kept").rmdir()
    assert run(kept, FAILS).returncode == 125
    assert names(tmp_path) == []


def test_a_folder_that_was_there_stays(run, tmp_path):
    (tmp_path / "old").mkdir()
    run(MakeFolder(path=at(tmp_path, "old")), FAILS)
    assert names(tmp_path) == ["old"]


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_is_no_folder_in_its_place_is_an_error(run, tmp_path, what):
    if what == "link":
        (tmp_path / "x").symlink_to("/etc")
    else:
        (tmp_path / "x").touch()
    done = run(MakeFolder(path=at(tmp_path, "x")))
    assert done.returncode == 125
    assert "x is no folder" in done.stderr
    assert names(tmp_path) == ["x"]


def test_modes_are_as_the_plan_has_them_whatever_the_umask(run, tmp_path):
    before = os.umask(0o077)
    try:
        run(MakeFolder(path=at(tmp_path, "d"), mode=0o711, keep=True))
    finally:
        os.umask(before)
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o711


# ── files


def test_a_file_is_written_whole_and_goes_with_the_run(run, tmp_path):
    out = MakeFolder(path=at(tmp_path, "d"), keep=True)
    run(out, WriteFile(path=at(tmp_path, "d/f"), content=text("x")))
    assert names(tmp_path) == ["d"]


def test_a_file_that_cannot_be_written_leaves_nothing(run, tmp_path):
    (tmp_path / "d").mkdir()
    done = run(WriteFile(path=at(tmp_path, "d"), content=text("x")))
    assert done.outcome["error"] == "EISDIR"
    assert names(tmp_path) == ["d"]


def test_a_pinned_file_stays_and_must_be_the_same(run, tmp_path):
    def pin(content):
        return PinFile(path=at(tmp_path, "pin"), content=text(content), otherwise=text("it is another's"))

    assert run(pin("one")).returncode == 0
    assert (tmp_path / "pin").read_text() == "one"
    assert run(pin("one")).returncode == 0
    for other in ("two", "on", "onee", ""):
        done = run(pin(other))
        assert done.returncode == 125
        assert "it is another's" in done.stderr
        assert done.outcome["hint"] == "discard it with --fresh"
    assert (tmp_path / "pin").read_text() == "one"


def test_a_file_pinned_by_a_launch_that_fails_goes(run, tmp_path):
    run(PinFile(path=at(tmp_path, "pin"), content=text("one"), otherwise=()), FAILS)
    assert names(tmp_path) == []


def test_what_is_set_aside_is_removed_at_the_end_and_back_after_a_failure(run, tmp_path):
    (tmp_path / "layer/deep").mkdir(parents=True)
    aside = SetAside(path=at(tmp_path, "layer"), to=at(tmp_path, "aside"))
    run(aside, FAILS)
    assert names(tmp_path) == ["layer", "layer/deep"]
    run(aside)
    assert names(tmp_path) == []
    assert run(aside).returncode == 0  # nothing there: nothing done


# ── claims


def test_slots_are_what_the_launch_has_claimed(run, tmp_path):
    content = text(RUN, " ", UIDS, " ", Slot(SlotKind.UIDS, 1000), " ", PID, " ", STARTED, " ", CLOCK)
    run(
        ClaimRun(folder=text(str(tmp_path))),
        ClaimUids(folder=text(str(tmp_path)), base=655360, count=10, first=3),
        PinFile(path=at(tmp_path, "slots"), content=content, otherwise=()),
    )
    own, uids, plus, pid, started, clock = (tmp_path / "slots").read_text().split()
    assert len(own) == 12
    assert int(own, 16) >= 0
    assert int(uids) == 655360 + 3 * 65536
    assert int(plus) == int(uids) + 1000
    assert int(pid) > 1
    assert abs(int(started) - (tmp_path / "slots").stat().st_mtime) < 60
    assert int(clock) > 0
    assert names(tmp_path) == ["slots"]  # the claims are released


def test_a_name_is_claimed_once(run, tmp_path):
    claim = ClaimName(folder=text(str(tmp_path)), label=text("web"), content=text('{"run":"0123","pid":42}\n'))
    done = run(claim)
    assert done.returncode == 0
    with (tmp_path / "web").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write('{"run":"\x1bcafe","pid":42}\n')
        held.flush()
        done = run(claim)
        assert done.returncode == 125
        assert "'web' is already running: run \\x1bcafe, pid 42\n" in done.stderr
        assert done.outcome["hint"] == "wait for its end, or give the workload another name"
        assert names(tmp_path) == ["web"]
    assert run(claim).returncode == 0  # its holder is gone: it is replaced
    assert names(tmp_path) == []


def test_a_claim_is_locked_as_long_as_the_program_lives(units, tmp_path):
    """It waits for a reader of its outcome, and the claim is held; it is killed, and the claim can be taken."""
    os.mkfifo(tmp_path / "fifo")
    claim = ClaimName(folder=text(str(tmp_path)), label=text("web"), content=text("{}"))
    descriptor = programs.memory_file(encode(programs.plan(host=[claim, Report(path=at(tmp_path, "fifo"))])))
    process = subprocess.Popen([units, "perform", str(descriptor)], pass_fds=(descriptor,), env=programs.SANITIZED)
    os.close(descriptor)
    try:
        while not (tmp_path / "web").exists():
            assert process.poll() is None
            time.sleep(0.01)
        with (tmp_path / "web").open() as held, pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        process.kill()
        process.wait()
    with (tmp_path / "web").open() as left:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert programs.perform(units, programs.plan(host=[claim])).returncode == 0
    assert names(tmp_path) == ["fifo"]


def test_a_uid_range_in_use_is_passed_over(run, tmp_path):
    def claim(count):
        return ClaimUids(folder=text(str(tmp_path)), base=65536, count=count, first=count - 1)

    with (tmp_path / "131072").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run(claim(2), PinFile(path=at(tmp_path, "uids"), content=text(UIDS), otherwise=()))
        assert (tmp_path / "uids").read_text() == "65536"
        with (tmp_path / "65536").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            done = run(claim(2))
            assert "no range of uids is free" in done.stderr
            assert done.outcome["hint"].startswith("every range of uids is in use")


def test_no_range_reaches_beyond_the_last_uid(run, tmp_path):
    done = run(ClaimUids(folder=text(str(tmp_path)), base=2**32 - 65536, count=1, first=0))
    assert done.outcome["error"] == "ERANGE"


def test_a_slot_that_was_not_claimed_fails_its_step(run, tmp_path):
    done = run(MakeFolder(path=at(tmp_path, RUN)))
    assert done.returncode == 125
    assert "a slot or descriptor is not there yet" in done.stderr
    assert names(tmp_path) == []


# ── descriptors


def test_a_replaced_file_is_not_opened(run, tmp_path):
    (tmp_path / "f").touch()
    status = (tmp_path / "f").stat()
    same = Open(path=at(tmp_path, "f"), device=status.st_dev, inode=status.st_ino, to="f")
    assert run(same).returncode == 0
    other = Open(path=at(tmp_path, "f"), device=status.st_dev, inode=status.st_ino + 1, to="f")
    done = run(other)
    assert (done.outcome["error"], done.returncode) == ("ESTALE", 125)
    assert "it was replaced since the launch was planned" in done.stderr


def test_no_magic_link_is_followed(run):
    assert run(Open(path=text("/proc/self/exe"), to="f")).outcome["error"] == "ELOOP"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"x" * ((1 << 20) + 1)), "a regular file of at most 1 MiB"),
        (lambda path: path.mkdir(), "a regular file of at most 1 MiB"),
        (os.mkfifo, "a regular file of at most 1 MiB"),
        (lambda _: None, "No such file or directory"),
    ],
    ids=["too long", "folder", "fifo", "missing"],
)
def test_an_env_file_is_a_regular_file_of_some_size(run, tmp_path, make, message):
    make(tmp_path / "env")
    done = run(SealFile(path=at(tmp_path, "env"), to="env"))
    assert done.returncode == 125
    assert message in done.stderr


def test_an_env_file_is_the_one_that_was_planned_with(run, tmp_path):
    (tmp_path / "env").write_bytes(b"A=1\n")
    status = (tmp_path / "env").stat()
    same = SealFile(path=at(tmp_path, "env"), device=status.st_dev, inode=status.st_ino, to="env")
    assert run(same).returncode == 0
    other = SealFile(path=at(tmp_path, "env"), device=status.st_dev, inode=status.st_ino + 1, to="env")
    assert "is not what it was when the launch was planned" in run(other).stderr


def test_memory_files_are_made(run, tmp_path):
    (tmp_path / "env").write_bytes(b"A=1\n" * 1000)
    done = run(
        OpenNull(to="null"),
        Seal(content=b"\0" * 100000, to="data"),
        Seal(content=b"", to="nothing"),
        SealFile(path=at(tmp_path, "env"), to="env"),
        SealInside(to="inside"),
        SealProgram(to="program"),
        MemoryFile(to="messages"),
    )
    assert (done.returncode, done.stderr) == (0, "")


# ── the outcome, and failures


def test_a_failure_names_step_note_and_cause(run):
    done = run(FAILS)
    message = "step 2, make-folder (the one that fails): /proc/nowhere/x: No such file or directory"
    assert done.stderr == f"volt: {message}\n"
    assert done.outcome == {
        "version": 1,
        "by": "volt",
        "status": 125,
        "signal": None,
        "step": "make-folder",
        "number": 2,
        "error": "ENOENT",
        "message": message,
        "hint": "",
        "undone": True,
        "ended": None,
        "events": None,
        "skipped": [],
    }


def test_what_cannot_be_undone_is_told(run, tmp_path):
    """The old layer cannot go back to where somebody has begun to use the new one."""
    (tmp_path / "layer").mkdir()
    done = run(
        SetAside(path=at(tmp_path, "layer"), to=at(tmp_path, "aside")),
        MakeFolder(path=at(tmp_path, "layer"), keep=True),
        MakeFile(path=at(tmp_path, "layer/f")),
        FAILS,
    )
    assert done.stderr.endswith(
        "No such file or directory\n"
        "volt: not undone: step 2, set-aside: File exists\n"
        "hint: the next volt command tries again\n"
    )
    assert done.outcome["undone"] is False
    assert done.outcome["message"].endswith("; not undone: step 2, set-aside: File exists")
    assert names(tmp_path) == ["aside", "layer", "layer/f"]


def test_everything_is_undone_newest_first(run, tmp_path):
    run(
        MakeFolder(path=at(tmp_path, "a"), keep=True),
        MakeFolder(path=at(tmp_path, "a/b"), keep=True),
        PinFile(path=at(tmp_path, "a/b/pin"), content=text("x"), otherwise=()),
        SetAside(path=at(tmp_path, "a/b"), to=at(tmp_path, "a/c")),
        MakeFolder(path=at(tmp_path, "a/b"), keep=True),
        FAILS,
    )
    assert names(tmp_path) == []


def test_a_step_that_fails_half_way_is_undone_too(run, tmp_path):
    """make-cgroup makes a folder, then has no descriptor left to open it."""
    few = ("prlimit", "--nofile=64")
    nulls = [OpenNull(to=f"null-{n}") for n in range(100)]
    full = run(*nulls, within=few).outcome["number"]  # the step that has none left; Report is step 1
    done = run(*nulls[: full - 2], MakeCgroup(path=at(tmp_path, "cgroup"), to="cgroup"), within=few)
    assert (done.outcome["step"], done.outcome["error"]) == ("make-cgroup", "EMFILE")
    assert done.outcome["undone"] is True
    assert names(tmp_path) == []


def test_terminal_codes_in_a_path_are_not_obeyed(run, tmp_path):
    done = run(MakeFolder(path=at(tmp_path, "\x1b[2J/\udc9bx")))
    assert "\\x1b[2J/\\x9bx" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\\x1b[2J/\\x9bx" in done.outcome["message"]


def test_the_outcome_replaces_a_file_whole_and_keeps_to_the_umask(run, units, tmp_path):
    path = tmp_path / "o.json"
    path.write_text("old " * 1000)
    plan = programs.plan(host=[Report(path=text(str(path)))])
    before = os.umask(0o027)
    try:
        assert programs.perform(units, plan).returncode == 0
    finally:
        os.umask(before)
    assert json.loads(path.read_text())["status"] == 0
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["o.json"]


def test_the_outcome_goes_to_a_descriptor(units):
    reader, writer = os.pipe()
    done = programs.perform(units, programs.plan(host=[Report(descriptor=writer), FAILS]), keep=(writer,))
    os.close(writer)
    with os.fdopen(reader) as file:
        assert json.load(file)["status"] == done.returncode == 125


def test_the_outcome_goes_to_standard_output(units, tmp_path):
    done = programs.perform(units, programs.plan(host=[Report(path=text("/dev/stdout"))]))
    assert json.loads(done.stdout)["status"] == 0


@pytest.mark.parametrize("path", ["missing/o.json", "."])
def test_an_outcome_that_cannot_be_written_stops_all_before_it_starts(units, tmp_path, path):
    plan = programs.plan(host=[Report(path=at(tmp_path, path)), MakeFolder(path=at(tmp_path, "d"), keep=True)])
    done = programs.perform(units, plan)
    assert done.returncode == 125
    assert "hint: the outcome has to be writable before anything starts" in done.stderr
    assert names(tmp_path) == []


def test_a_disk_that_is_full_for_the_outcome_is_told(units):
    done = programs.perform(units, programs.plan(host=[Report(path=text("/dev/full"))]))
    assert "not undone: step 1, report: No space left on device" in done.stderr


def test_a_lifeline_that_is_not_open_is_an_error(run):
    assert run(Lifeline(descriptor=99)).outcome["error"] == "EBADF"


def test_standard_descriptors_that_the_caller_closed_stay_closed_to_what_is_opened(units, tmp_path):
    """Else the first file that is opened would be standard output, and what is printed would land in it."""
    plan = programs.plan(host=[Seal(content=b"x", to="x"), Report(path=at(tmp_path, "o.json")), FAILS])
    descriptor = programs.memory_file(encode(plan))
    os.set_inheritable(descriptor, True)
    script = f'exec "$1" perform {descriptor} <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, "sh", units], close_fds=False, env=programs.SANITIZED, check=False)
    os.close(descriptor)
    assert done.returncode == 125
    assert json.loads((tmp_path / "o.json").read_text())["step"] == "make-folder"
