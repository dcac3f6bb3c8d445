"""`volt run --detach`: who waits how long, what stays of the run, what its log holds, and what it costs nobody."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.host import front
from tests.host.living import until
from volt import api
from volt.runs.claims import is_held

# https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr|volt) [FP] ")


class Detached:
    """The runs of one volt that outlive their callers; all are ended with the test."""

    def __init__(self, volt):
        self.volt = volt
        self.run = volt.state / "run"

    def start(self, *command, options=(), manifest=None, **sections):
        """The run's id."""
        path = manifest or self.volt.manifest(**sections)
        done = self.volt("run", "-d", *options, path, "--", *command)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def record(self, run):
        for kind in ("runs", "ended"):
            path = self.run / kind / run / "record.json"
            if path.exists():
                return json.loads(path.read_text())
        raise AssertionError(f"{run} has no record")

    def ended(self, run):
        """Its outcome, when it has ended."""
        path = self.run / "ended" / run / "outcome.json"
        until(path.exists, f"the end of {run}")
        until(lambda: not (self.run / "runs" / f"{run}.lock").exists(), f"the release of {run}")
        return json.loads(path.read_text())

    def log(self, run, number=0):
        text = (self.volt.state / "log" / run / f"{number}.log").read_text()
        assert [line for line in text.splitlines() if not LINE.match(line)] == []
        return text

    def gone(self):
        """Until no run of this volt's holds its lock any more; other volts of the machine are left alone."""
        until(lambda: not any(is_held(path) for path in (self.run / "runs").glob("*.lock")), "the end of every run")

    def end_all(self):
        for path in (self.run / "runs").glob("*/record.json"):
            os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
        self.gone()
        self.volt.run("true")  # a launch sweeps
        for path in (self.run / "ended").glob("*/*"):
            path.unlink()
        for path in (self.run / "ended").glob("*"):
            path.rmdir()


@pytest.fixture
def detached(volt):
    one = Detached(volt)
    yield one
    one.end_all()


@pytest.mark.kernel
def test_the_caller_gets_the_id_when_the_command_runs_and_the_run_goes_on(detached):
    begun = time.monotonic()
    run = detached.start("sh", "-c", "echo up; sleep 60")
    assert time.monotonic() - begun < 30
    record = detached.record(run)
    assert (record["id"], record["detached"], record["kept"]) == (run, True, True)
    until(lambda: " stdout F up\n" in detached.log(run), "its line")
    assert os.getsid(record["pid"]) == record["pid"]


@pytest.mark.kernel
def test_record_outcome_and_log_stay_after_the_end(detached):
    run = detached.start("sh", "-c", "echo out; echo err >&2; exit 3")
    assert detached.ended(run)["status"] == 3
    streams = {line.split(" ", 1)[1] for line in detached.log(run).splitlines()}
    assert streams == {"stdout F out", "stderr F err"}
    assert detached.record(run)["command"] == ["sh", "-c", "echo out; echo err >&2; exit 3"]


def test_nothing_of_the_callers_is_held(detached):
    """A pipe of the caller's has its end as soon as the caller has."""
    read, write = os.pipe()
    done = detached.volt("run", "-d", detached.volt.manifest(), "--", "sleep", "60", pass_fds=(write,))
    os.close(write)
    assert done.returncode == 0
    assert os.read(read, 1) == b""
    os.close(read)
    record = detached.record(done.stdout.decode().strip())
    links = [os.readlink(path) for path in Path(f"/proc/{record['pid']}/fd").iterdir()]
    assert links.count("/dev/null") >= 3
    assert Path(f"/proc/{record['pid']}/cwd").readlink() == Path("/")


def test_a_command_that_is_not_there_is_127_and_leaves_nothing(detached):
    done = detached.volt("run", "-d", detached.volt.manifest(), "--", "no-such-command")
    assert done.returncode == 127
    assert done.stdout == b""
    assert b"no-such-command" in done.stderr
    assert list(detached.run.glob("*/*")) == []
    assert list(detached.volt.state.glob("log/*")) == []


def test_a_name_that_runs_is_refused(detached):
    manifest = detached.volt.manifest()
    run = detached.start("sleep", "60", manifest=manifest)
    done = detached.volt("run", "-d", manifest, "--", "true")
    assert done.returncode == 125
    assert run.encode() in done.stderr


def test_with_rm_nothing_stays(detached):
    root = detached.volt.folder / "root"
    subprocess.run(["mkdir", "-p", root / "bin"], check=True)
    (root / "bin/sh").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin/sh").chmod(0o755)
    storage = {"rootfs": str(root), "writable_layer": "overlay"}
    run = detached.start("sh", "-c", "echo x > /file; read x", options=("--rm", "-i"), storage=storage)
    layers = detached.volt.state / "state/layers"
    assert [path.name for path in layers.iterdir()] == [f".run-{run}"]
    assert detached.volt("stop", "--timeout", "0", run).returncode == 0
    until(lambda: not (detached.run / "runs" / f"{run}.lock").exists(), "the end")
    assert list(layers.iterdir()) == []
    assert list((detached.volt.state / "log").iterdir()) == []
    assert list((detached.run / "ended").glob("*")) == []


def test_the_name_and_labels_of_the_call_come_first(detached):
    manifest = detached.volt.manifest(workload={"labels": {"tier": "back", "app": "shop"}})
    run = detached.start(
        "sh", "-c", "hostname; sleep 60", manifest=manifest, options=("--name", "other", "-l", "tier=front")
    )
    record = detached.record(run)
    assert record["name"] == "other"
    assert record["labels"] == {"tier": "front", "app": "shop"}
    until(lambda: " stdout F other\n" in detached.log(run), "its host name")


def test_a_time_limit_ends_it(detached):
    run = detached.start("sleep", "60", options=("--timeout", "1s"))
    outcome = detached.ended(run)
    assert (outcome["ended"], outcome["signal"]) == ("time-limit", 15)


def test_the_manifest_says_how_it_is_ended(detached):
    service = {"stop_signal": "SIGUSR1", "stop_timeout": "500ms"}
    run = detached.start(
        "sh", "-c", "trap 'echo asked' USR1; while :; do sleep 0.1; done", options=("--timeout", "1"), service=service
    )
    assert detached.ended(run)["signal"] == 9
    assert "asked" in detached.log(run)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_command(detached):
    run = detached.start("sleep", "60")
    os.kill(detached.record(run)["pid"], signal.SIGKILL)
    detached.gone()
    assert detached.volt.run("true").returncode == 0
    outcome = detached.ended(run)
    assert (outcome["by"], outcome["status"]) == ("volt", 125)
    assert "killed" in outcome["message"]


def test_a_terminal_of_its_own(detached):
    run = detached.start("sh", "-c", "tty; stty size; test -t 2 && echo err", options=("-t",))
    assert detached.ended(run)["status"] == 0
    lines = [line.split(" ", 3)[3].rstrip("\r") for line in detached.log(run).splitlines()]
    assert lines == ["/dev/pts/0", "24 80", "err"]


def test_input_is_at_its_end_unless_it_is_kept_open(detached):
    closed = detached.start("sh", "-c", "cat; echo end")
    assert detached.ended(closed)["status"] == 0
    opened = detached.start("cat", options=("-i",))
    time.sleep(0.3)
    assert (detached.run / "runs" / opened).exists()


@pytest.mark.kernel
def test_a_flood_is_discarded_and_counted_and_the_payload_not_held_up(detached):
    """64 MiB in lines at 1 MiB a second would take a minute; the log stays within its bounds."""
    log = {"rate": "1M", "max_size": "1M", "max_files": 2}
    run = detached.start("sh", "-c", "yes 0123456789 | head -c 67108864; echo the-end", log=log)
    begun = time.monotonic()
    assert detached.ended(run)["status"] == 0
    assert time.monotonic() - begun < 20
    sizes = [path.stat().st_size for path in (detached.volt.state / "log" / run).iterdir()]
    assert len(sizes) <= 2
    assert all(size <= 1 << 20 for size in sizes)
    assert " bytes discarded: log.rate\n" in detached.log(run)


def test_a_full_disk_costs_lines_and_never_the_payload(detached):
    """Every line that is there is whole, and what is missing is told as soon as there is room."""
    logs = detached.volt.state / "log"
    logs.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", logs], check=True)
    try:
        flood = "yes 0123456789 | head -c 1048576"
        script = f"trap 'echo after; exit 3' USR1; {flood}; while :; do sleep 0.05; done"
        run = detached.start("sh", "-c", script)
        until(lambda: sum(path.stat().st_size for path in logs.rglob("*.log")) > 30000, "a full log")
        time.sleep(1)
        assert "after" not in detached.log(run)
        subprocess.run(["mount", "-o", "remount,size=1M", logs], check=True)
        assert detached.volt("kill", "-s", "USR1", run).returncode == 0
        assert detached.ended(run)["status"] == 3
        *_, told, last = detached.log(run).splitlines()
        assert re.search(r" volt F \d+ bytes lost: the log could not be written$", told)
        assert last.endswith(" stdout F after")
    finally:
        detached.end_all()
        subprocess.run(["umount", logs], check=True)


def test_an_id_that_nobody_takes_is_told_and_the_run_goes_on(detached):
    words = detached.volt.command(["run", "-d", detached.volt.manifest(), "--", "sleep", "60"])
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=detached.volt.environment, check=False)
    (record,) = (detached.run / "runs").glob("*/record.json")
    assert done.returncode == 125
    assert f"run {record.parent.name} has started" in done.stderr.decode()


def test_a_line_without_an_end_is_written_in_pieces(detached):
    run = detached.start("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; printf tail")
    detached.ended(run)
    lines = [line.split(" ", 3) for line in detached.log(run).splitlines()]
    kinds = [kind for _, _, kind, _ in lines]
    assert kinds[-1] == "P"
    text = "".join(piece + ("\n" if kind == "F" else "") for _, _, kind, piece in lines)
    assert text == "x" * 100000 + "\ntail"


@pytest.mark.alone
def test_a_cached_launch_starts_no_python(tmp_path, busybox):
    one = front.Front(tmp_path, front.Installation(tmp_path))
    manifest = one.manifest(storage={"rootfs": str(front.small_root(tmp_path / "root", busybox))})
    front.let_age()
    cached = Detached(one)
    words = ("run", "-d", manifest, "--", "true")
    first = one.planned(*words).stdout.decode().strip()
    assert cached.ended(first)["status"] == 0
    again = one.cached("run", "-d", manifest, "--", "true").stdout.decode().strip()
    assert cached.ended(again)["status"] == 0
    assert cached.record(again)["source"] == cached.record(first)["source"]


def test_the_python_interface_does_the_same(detached, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(detached.volt.state))
    run = api.detach(detached.volt.manifest(), command=["sh", "-c", "echo $A; exit 5"], env={"A": "b"})
    assert detached.ended(run)["status"] == 5
    assert detached.log(run).endswith(" stdout F b\n")
    with pytest.raises(api.LaunchError, match="no-such-command") as failed:
        api.detach(detached.volt.manifest(), command=["no-such-command"])
    assert failed.value.outcome.status == 127
