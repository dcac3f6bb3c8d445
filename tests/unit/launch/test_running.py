"""A run in progress: its outcome through a pipe, for whoever asks, as often as he asks."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from volt.errors import LaunchError
from volt.launch.running import Run, read_outcome
from volt.model.run import Events, Outcome

ENDED = {"version": 1, "by": "payload", "status": 7}


def test_an_outcome_comes_back_whole():
    whole = {
        **ENDED,
        "by": "volt",
        "signal": None,
        "step": "open",
        "number": 3,
        "error": "ENOENT",
        "message": "m",
        "hint": "h",
        "undone": False,
        "ended": "time-limit",
    }
    found = read_outcome(json.dumps(whole).encode())
    assert found == Outcome("volt", 7, None, "open", 3, "ENOENT", "m", "h", False, "time-limit")


def test_what_is_absent_has_its_default_and_what_is_more_is_left_out():
    assert read_outcome(json.dumps({**ENDED, "more": 1}).encode()) == Outcome("payload", 7)


def test_the_same_holds_for_what_limits_did():
    newer = {**ENDED, "events": {"oom_kills": 2, "io_stall": 7, "network_stall": 1}}
    assert read_outcome(json.dumps(newer).encode()).events == Events(oom_kills=2, io_stall=7)
    assert read_outcome(json.dumps({**ENDED, "events": {}}).encode()).events == Events()
    assert read_outcome(json.dumps({**ENDED, "events": None}).encode()).events is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"version": 2, "by": "payload", "status": 0}',
        b'{"version": 1}',
        b'{"version": 1, "by": "payload", "status": 0, "events": []}',
        b'{"version": 1, "by": "payload", "status": 0, "events": 0}',
    ],
)
def test_anything_else_is_no_outcome(document):
    with pytest.raises(ValueError):  # noqa: PT011 (what a caller catches)
        read_outcome(document)


@pytest.fixture
def start():
    """A run whose supervisor is a script: `report` and `lifeline` are its descriptors."""
    started = []

    def run(script, **streams):
        report_read, report_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        code = f"import os, sys, time\nreport, lifeline = {report_write}, {lifeline_read}\n{script}"
        argv = [sys.executable, "-I", "-S", "-c", code]
        process = subprocess.Popen(argv, pass_fds=(report_write, lifeline_read), **streams)
        os.close(report_write)
        os.close(lifeline_read)
        started.append(Run("web", process, report_read, lifeline_write))
        return started[-1]

    gc.collect()  # what other tests have left to be collected is closed before it is counted
    before = sorted(os.listdir("/proc/self/fd"))
    yield run
    for one in started:
        one._process.kill()
        one._process.wait()
        one.cancel()
    assert sorted(os.listdir("/proc/self/fd")) == before


REPORT = f"os.write(report, {json.dumps(ENDED).encode()!r})\n"
UNTIL_CUT = "os.read(lifeline, 1)\n"
TORN = "os.write(report, b'{')\nos._exit(3)\n"


def test_it_ends_with_its_outcome_however_often_it_is_asked(start):
    run = start(REPORT)
    assert run.wait() == run.wait(0) == Outcome("payload", 7)


def test_an_outcome_in_pieces(start):
    halves = [json.dumps(ENDED)[:9].encode(), json.dumps(ENDED)[9:].encode()]
    run = start(f"os.write(report, {halves[0]!r})\ntime.sleep(0.1)\nos.write(report, {halves[1]!r})\n")
    assert run.wait(30) == Outcome("payload", 7)


def test_waiting_has_an_end_and_the_run_goes_on(start):
    run = start(UNTIL_CUT + REPORT)
    for limit in (0, 0.05):
        with pytest.raises(TimeoutError, match=f"'web' still runs after {limit} s"):
            run.wait(limit)
    run.cancel()
    assert run.wait(30).status == 7


@pytest.mark.parametrize("seconds", [2.0**31 / 1000, 3e6, float("inf")])
def test_a_time_that_poll_does_not_take(start, seconds):
    assert start("time.sleep(0.2)\n" + REPORT).wait(seconds) == Outcome("payload", 7)
    assert start(REPORT, stdout=-1, stderr=-1).communicate(timeout=seconds) == (b"", b"", Outcome("payload", 7))


def test_it_is_waited_for_again_and_again(start, monkeypatch):
    monkeypatch.setattr("volt.launch.running.LONGEST", 20)
    assert start("time.sleep(0.2)\n" + REPORT).wait(30) == Outcome("payload", 7)


def test_every_thread_that_waits_gets_the_outcome(start):
    run, found = start(UNTIL_CUT + REPORT), []
    threads = [threading.Thread(target=lambda: found.append(run.wait(30))) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    with pytest.raises(TimeoutError):
        run.wait(0.05)
    run.cancel()
    for thread in threads:
        thread.join()
    assert found == [Outcome("payload", 7)] * 8


def test_a_supervisor_without_a_report_is_an_error_each_time(start):
    run = start(TORN)
    for _ in range(2):
        with pytest.raises(LaunchError, match="the supervisor of 'web' exited with 3 without a report"):
            run.wait(30)


def test_a_supervisor_that_was_killed_is_named_so(start):
    with pytest.raises(LaunchError, match="killed by signal 9 without a report"):
        start("os.kill(os.getpid(), 9)").wait(30)


def test_leaving_a_run_that_has_failed_raises_its_failure_and_no_other(start):
    with pytest.raises(LaunchError, match="exited with 3"), start(TORN) as run:
        run.wait(30)
    with pytest.raises(LaunchError, match="exited with 3"), start(TORN):
        pass


def test_leaving_a_run_ends_it_and_closes_its_pipes(start):
    with start(UNTIL_CUT + REPORT, stdin=-1, stdout=-1) as run:
        assert run.pid > 0
    assert run.wait(0).status == 7
    assert (run.stdin.closed, run.stdout.closed) == (True, True)


def test_leaving_a_run_that_reads_no_more_is_no_error(start):
    with start("os.close(0)\n" + REPORT, stdin=-1) as run:
        run.wait(30)
        run.stdin.write(b"left in the buffer")
    assert run.stdin.closed


def test_cancelling_twice_cuts_one_descriptor(start):
    run = start(UNTIL_CUT + REPORT)
    run.cancel()
    free = os.open("/dev/null", os.O_RDONLY)  # it may have the number that was closed
    run.cancel()
    os.close(free)
    assert run.wait(30).status == 7


def test_a_signal_goes_to_the_supervisor_and_to_nobody_once_it_has_ended(start):
    script = "import signal\nsignal.signal(15, lambda *_: (os.write(report, b'{}'), os._exit(0)))\n"
    run = start(f"{script}sys.stdout.write('up'); sys.stdout.flush()\ntime.sleep(30)", stdout=-1)
    assert run.stdout.read(2) == b"up"
    run.signal(signal.SIGTERM)
    with pytest.raises(LaunchError, match="exited with 0"):
        run.wait(30)
    run.signal(signal.SIGTERM)
    run.stdout.close()


def test_communicating_writes_reads_and_waits(start):
    run = start(
        "sys.stdout.write(sys.stdin.read().upper())\nsys.stderr.write('err')\n" + REPORT, stdin=-1, stdout=-1, stderr=-1
    )
    assert run.communicate(b"abc", timeout=30) == (b"ABC", b"err", Outcome("payload", 7))


def test_communicating_without_pipes_only_waits(start):
    assert start(REPORT).communicate() == (b"", b"", Outcome("payload", 7))


def test_communicating_has_an_end_like_waiting(start):
    run = start("os.write(1, b'first')\n" + UNTIL_CUT + REPORT, stdout=-1)
    with pytest.raises(TimeoutError, match=r"'web' still runs after 0\.1 s"):
        run.communicate(timeout=0.1)
    run.cancel()
    assert run.communicate(timeout=30) == (b"first", b"", Outcome("payload", 7))


def test_descriptors_beyond_what_select_knows(start):
    """A program with more than a thousand open files launches too."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1100:
        pytest.fail(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    run = start(REPORT)
    high = 1050
    os.dup2(run._report, high)
    os.close(run._report)
    run._report = high
    assert run.wait(30).status == 7
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
