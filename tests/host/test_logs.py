"""volt logs: byte for byte what a detached workload wrote, and nothing of it obeyed by a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.host.kept import RUN, keep, line
from volt import api
from volt.errors import StateError, VoltError

ODD = b"\x1b]0;pwned\x07\x9b31m\xc3\xa4\x00\r over \xff"
SECONDS = 20


@pytest.fixture
def kept(volt, monkeypatch):
    """keep(…) below this test's VOLT_ROOT; it goes at the end, as nothing of it is volt's to remove."""
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    yield lambda **options: keep(volt.state, **options)
    shutil.rmtree(volt.state, ignore_errors=True)


def copied(name, **options):
    out, err = io.BytesIO(), io.BytesIO()
    with api.logs(name, **options) as log:
        log.copy(out, err)
    return out.getvalue(), err.getvalue()


def test_output_comes_out_byte_for_byte_where_it_went(volt, kept):
    kept(log=line(ODD) + line(b"half", tag="P") + line(b"err", "stderr") + line(b"done") + line(b"open", tag="P"))
    done = volt("logs", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, ODD + b"\nhalfdone\nopen", b"err\n")
    assert copied("web") == (done.stdout, done.stderr)


@pytest.mark.parametrize("word", ["web", RUN, RUN[:3]])
def test_a_run_is_meant_by_its_name_its_id_or_how_that_begins(volt, kept, word):
    kept(log=line(b"x"))
    assert volt("logs", word).stdout == b"x\n"
    assert copied(word) == (b"x\n", b"")


def test_of_two_ended_runs_of_a_name_the_newer_is_meant(volt, kept):
    kept(log=line(b"old"), run="aaaaaaaaaaaa", started=5)
    kept(log=line(b"new"), run="bbbbbbbbbbbb", started=7)
    kept(log=line(b"older"), run="cccccccccccc", started=3)
    assert volt("logs", "web").stdout == b"new\n"


OPTIONS = [
    (("-n", "1"), {"last": 1}, b"3\n"),
    (("--since", "2026-11-24T20:46:02Z"), {"since": "2026-11-24T20:46:02Z"}, b"2\n3\n"),
    (("--until", "2026-11-24T20:46:02Z"), {"until": "2026-11-24T20:46:02Z"}, b"0\n1\n"),
    (("--since", "1m"), {"since": "1m"}, b""),
    (("--stdout",), {"streams": ("stdout",)}, b"0\n1\n2\n3\n"),
    (("--stderr",), {"streams": ("stderr",)}, b""),
]


@pytest.mark.parametrize(("words", "options", "expected"), OPTIONS, ids=[" ".join(words) for words, _, _ in OPTIONS])
def test_which_lines(volt, kept, words, options, expected):
    kept(log=line(b"e", "stderr") + b"".join(line(b"%d" % at, at=at) for at in range(4)))
    done = volt("logs", "web", *words)
    assert (done.returncode, done.stdout) == (0, expected)
    assert copied("web", **options) == (done.stdout, done.stderr)


def test_timestamps_stand_at_the_beginning_of_each_line(volt, kept):
    kept(log=line(b"a", tag="P", at=1) + line(b"b", at=2) + line(b"12 bytes discarded: log.rate", "volt", at=3))
    done = volt("logs", "web", "--timestamps")
    assert done.stdout == b"2026-11-24T20:46:01.123456789Z ab\n"
    assert done.stderr == b"2026-11-24T20:46:03.123456789Z volt: 12 bytes discarded: log.rate\n"


def test_json_has_a_document_for_each_line(volt, kept):
    kept(log=line(b"a\x1b[m") + line(b"\xff", "stderr", tag="P"))
    documents = [json.loads(one) for one in volt("logs", "web", "--json").stdout.splitlines()]
    time_ = "2026-11-24T20:46:00.123456789Z"
    assert documents == [
        {"version": 1, "time": time_, "stream": "stdout", "text": "a\x1b[m", "whole": True},
        {"version": 1, "time": time_, "stream": "stderr", "text": "\ufffd", "base64": "/w==", "whole": False},
    ]


REFUSED = {
    "no such run": (("logs", "nobody"), b"no workload called 'nobody'"),
    "no log": (("logs", "mute"), b"mute has no log"),
    "no time": (("logs", "web", "--since", "noon"), b"since: 'noon' is neither a time nor a duration"),
    "both streams": (("logs", "web", "--stdout", "--stderr"), b"--stdout and --stderr exclude each other"),
    "fewer than none": (("logs", "web", "-n", "-1"), b"-1 is no number of lines"),
    "two runs": (("logs", "a"), b"'a' can mean 2 runs"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shown_is_refused_with_the_reason(volt, kept, words, said):
    kept(log=line(b"x"))
    for run in ("aaaaaaaaaaaa", "aabbbbbbbbbb"):
        kept(name="mute", run=run)
    done = volt(*words)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in done.stderr


def test_python_refuses_the_same(kept):
    kept(log=line(b"x"))
    kept(name="mute", run="aaaaaaaaaaaa")
    with pytest.raises(StateError, match="no workload called 'nobody'"):
        api.logs("nobody")
    with pytest.raises(StateError, match="mute has no log"):
        api.logs("mute")
    with pytest.raises(VoltError, match="'noon' is neither"):
        api.logs("web", since="noon")


# ── a terminal


def on_a_terminal(volt, *words):
    """What the verb writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        assert volt(*words, capture_output=False, stdout=theirs, stderr=theirs).returncode == 0
        os.close(theirs)
        found = b""
        while True:
            try:
                found += os.read(ours, 1 << 16)
            except OSError:
                return found
    finally:
        os.close(ours)


def test_a_terminal_obeys_nothing_of_a_payload(volt, kept):
    kept(log=line(ODD) + line(b"tab\there\r") + line(b"\xe2\x80", tag="P") + line(b"\xae!") + line(b"\x1b[m", "stderr"))
    assert on_a_terminal(volt, "logs", "web") == (
        b"\\x1b]0;pwned\\x07\\x9b31m\xc3\xa4\\x00\\r over \\xff\r\ntab\there\r\n\\u202e!\r\n\\x1b[m\r\n"
    )


def test_it_obeys_when_it_is_told_to(volt, kept):
    kept(log=line(ODD))
    assert on_a_terminal(volt, "logs", "web", "--raw") == ODD + b"\r\n"


# ── a run that lives


@pytest.fixture
def living(volt, kept):
    """A run whose supervisor is a process of this test's: its folder, its lock, and a log to write to."""
    runs = volt.state / "run/runs"
    runs.mkdir(parents=True)
    supervisor = subprocess.Popen(["flock", "--no-fork", runs / f"{RUN}.lock", "sleep", "60"])
    deadline = time.monotonic() + SECONDS
    while f" {supervisor.pid} " not in Path("/proc/locks").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stat = Path(f"/proc/{supervisor.pid}/stat").read_text()
    kept(log=b"", ended=False, pid=supervisor.pid, clock=int(stat.rpartition(")")[2].split()[19]), boot_id="")
    yield supervisor, volt.state / "log" / RUN
    supervisor.kill()
    supervisor.wait()


def append(folder, data):
    with (folder / "0.log").open("ab") as file:
        file.write(data)


def test_a_log_is_followed_across_rotation_until_the_run_ends(volt, living):
    supervisor, folder = living
    append(folder, line(b"before"))
    following = volt.start("logs", "-f", "web", stdout=subprocess.PIPE)
    assert following.stdout.readline() == b"before\n"
    append(folder, line(b"meanwhile"))
    assert following.stdout.readline() == b"meanwhile\n"
    (folder / "0.log").rename(folder / "1.log")
    append(folder, line(b"rotated"))
    assert following.stdout.readline() == b"rotated\n"
    append(folder, line(b"the last"))
    supervisor.kill()
    supervisor.wait()
    assert following.communicate(timeout=SECONDS)[0] == b"the last\n"
    assert following.returncode == 0


def test_following_ends_when_its_time_has_passed(volt, living):
    append(living[1], line(b"x"))
    soon = f"{time.time() + 1:.2f}"
    assert volt("logs", "-f", "--until", soon, "web", timeout=SECONDS).stdout == b"x\n"
    assert copied("web", follow=True, until=soon) == (b"x\n", b"")


def test_the_last_lines_and_then_what_comes(volt, living):
    supervisor, folder = living
    append(folder, line(b"1") + line(b"2"))
    following = volt.start("logs", "-f", "-n", "1", "web", stdout=subprocess.PIPE)
    assert following.stdout.readline() == b"2\n"
    append(folder, line(b"3"))
    assert following.stdout.readline() == b"3\n"
    supervisor.kill()
    supervisor.wait()
    assert following.communicate(timeout=SECONDS)[0] == b""


def test_a_reader_that_goes_away_ends_it(volt, living):
    following = volt.start("logs", "-f", "web", stdout=subprocess.PIPE)
    append(living[1], line(b"x"))
    assert following.stdout.readline() == b"x\n"
    following.stdout.close()
    append(living[1], line(b"y"))
    assert following.wait(SECONDS) == 141
