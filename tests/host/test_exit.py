"""How a run ends: exit statuses, signals, and the outcome for programs."""

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host.living import living, until


@pytest.mark.parametrize("status", [0, 1, 2, 7, 125, 133, 255])
def test_the_status_is_the_commands_own(volt, status):
    assert volt.run("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.kernel
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, 137), (signal.SIGTERM, 143), (signal.SIGSEGV, 139)])
def test_a_signal_inside_is_128_and_its_number(volt, number, status):
    assert volt.run("sh", "-c", f"kill -{int(number)} $$").returncode == status


def test_a_command_that_does_not_exist_is_127(volt):
    done = volt.run("no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr


def test_a_command_that_cannot_be_executed_is_126(volt):
    assert volt.run("/etc/passwd").returncode == 126


@pytest.mark.parametrize(
    "arguments",
    [["run", "no-such-file.toml"], ["run", "--no-such-option"], ["run"]],
    ids=["file", "option", "nothing"],
)
def test_a_failure_of_volts_own_is_125(volt, arguments):
    assert volt(*arguments).returncode == 125


def test_findings_are_125_in_run_and_2_elsewhere(volt):
    bad = volt.manifest(workload={"mode": "no-such-mode"})
    assert volt("run", bad).returncode == 125
    assert [volt(verb, bad).returncode for verb in ("validate", "show", "plan")] == [2, 2, 2]


@pytest.mark.kernel
def test_a_step_that_fails_is_125_and_named(volt):
    done = volt.run("true", workload={"workdir": "/no/such/folder"})
    assert done.returncode == 125
    assert b"change-folder" in done.stderr
    assert b"No such file or directory" in done.stderr


def outcome(volt, tmp_path, *command, **sections):
    done = volt.run(*command, options=("--outcome", tmp_path / "outcome.json"), **sections)
    document = json.loads((tmp_path / "outcome.json").read_text())
    assert document["version"] == 1
    assert document["status"] == done.returncode
    return document


def test_the_outcome_tells_the_payloads_status_from_volts(volt, tmp_path):
    ours = outcome(volt, tmp_path, "true", workload={"workdir": "/no/such/folder"})
    theirs = outcome(volt, tmp_path, "sh", "-c", "exit 125")
    assert (ours["by"], ours["step"], ours["error"]) == ("volt", "change-folder", "ENOENT")
    assert (theirs["by"], theirs["step"], theirs["signal"]) == ("payload", None, None)


def test_the_outcome_names_the_signal(volt, tmp_path):
    document = outcome(volt, tmp_path, "sh", "-c", "kill -9 $$")
    assert (document["by"], document["status"], document["signal"]) == ("payload", 137, 9)


def test_findings_reach_the_outcome_too(volt, tmp_path):
    document = outcome(volt, tmp_path, "true", workload={"mode": "no-such-mode"})
    assert (document["by"], document["status"], document["step"]) == ("volt", 125, None)


def test_an_outcome_that_cannot_be_written_stops_the_start(volt, tmp_path):
    marker = tmp_path / "shared"
    marker.mkdir()
    marker.chmod(0o777)
    volume = [{"host": str(marker), "container": "/shared", "owner": "root"}]
    done = volt.run(
        "touch", "/shared/ran", options=("--outcome", "/no/such/folder/outcome"), storage={"volumes": volume}
    )
    assert done.returncode == 125
    assert list(marker.iterdir()) == []


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN])
def test_signals_reach_the_payload(volt, number, tmp_path):
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    run = volt.start("run", volt.manifest(), "--", "sh", "-c", script, stdout=-1)
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(number)
    assert run.communicate(timeout=20)[0] == b"got\n"
    assert run.returncode == 9


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_one_that_the_caller_ignores_reaches_nobody(volt, number):
    """As nohup(1) ignores SIGHUP, and a shell for a job behind `&` the other two."""
    words = ("run", volt.manifest(), "--", "sh", "-c", "echo ready; read word; exit 3")
    ignored = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}
    with volt.start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **ignored) as run:
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(number)
        run.communicate(b"word\n", timeout=20)
    assert run.returncode == 3


def test_an_outcome_into_a_pipe_waits_for_its_reader_and_no_longer_than_the_caller(volt, tmp_path):
    pipe = tmp_path / "outcome"
    os.mkfifo(pipe)

    def waiting():
        run = volt.start("run", "--outcome", pipe, volt.manifest(), "--", "true", stderr=subprocess.PIPE)
        until(lambda: "nanosleep" in Path(f"/proc/{run.pid}/wchan").read_text(), "the wait")
        return run

    with waiting() as run:
        run.send_signal(signal.SIGTERM)
        assert b"outcome" in run.communicate(timeout=20)[1]
        assert run.returncode == 125
    with waiting() as run:
        assert json.loads(pipe.read_text())["status"] == 0
        assert run.wait(20) == 0


def test_a_payload_without_a_handler_dies_of_sigterm(volt):
    run = volt.start("run", volt.manifest(), "--", "sh", "-c", "echo ready; exec sleep 60", stdout=-1)
    run.stdout.readline()
    began = time.monotonic()
    run.terminate()
    assert run.wait(timeout=20) == 143
    assert time.monotonic() - began < 10
    run.stdout.close()


@contextmanager
def _late(pid, call):
    """A process that takes a second longer to make a call."""
    argv = ["strace", "-qq", "-p", str(pid), "-o", "/dev/null", "-e", f"inject={call}:delay_enter=1s"]
    with subprocess.Popen(argv) as tracer:
        until(lambda: f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text(), "the tracer")
        yield
        assert tracer.wait(20) == 0


def _all_passed_on(pid):
    """That no signal waits any more for a supervisor to read it."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return all(int(line.split()[1], 16) == 0 for line in status if line.startswith(("SigPnd", "ShdPnd")))


@pytest.mark.kernel
@pytest.mark.usefixtures("own_runs")
def test_a_signal_that_comes_when_the_payload_has_ended_does_not_hide_how(volt):
    """As systemd sends SIGCONT behind each SIGTERM. What is inside has gone when the supervisor hears of it."""
    with living(volt) as web, _late(web.process.pid, "recvmsg"):
        init, payload = web.tree.init, web.tree.inside[0]
        os.kill(init, signal.SIGSTOP)
        os.kill(payload, signal.SIGTERM)
        web.process.send_signal(signal.SIGCONT)
        until(lambda: _all_passed_on(web.process.pid), "the signal sent inside")
        os.kill(init, signal.SIGCONT)
        assert web.process.communicate(timeout=20) == (b"", b"")
    assert web.process.returncode == 128 + signal.SIGTERM


@pytest.mark.kernel
def test_orphans_inside_are_reaped_and_end_with_the_payload(volt):
    out = volt.shell("(sleep 0.01 & ) ; sleep 0.2; ls /proc | grep -c '^[0-9]'; (sleep 300 &) ; ps=1")
    assert int(out) <= 5
