"""hybrid-native on this machine: a Debian's systemd and busybox's init are booted, asked, ended, and leave nothing."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import tomli

from tests.booting import PAGE, ends, failed, got_through, inside, manifest, serving, settled, state_of
from tests.host.test_kill import descendants
from tests.programs.conftest import OWNER
from tests.programs.root import SUITE
from tests.unit.plan.test_explain import altered
from volt import api
from volt.api.auditing import compared
from volt.api.looking import running
from volt.host.facts import folders
from volt.model.decode import decode
from volt.model.steps import BoundCapabilities
from volt.model.values import replace
from volt.runs.kept import kept_plan

INITTAB = """::sysinit:/bin/sh -c 'echo booted by busybox'
::respawn:/bin/busybox httpd -f -p 80 -h /www
"""


@pytest.fixture
def small(busybox, tmp_path):
    """A root whose init is busybox's."""
    root = tmp_path / "small"
    shutil.copytree(busybox, root, symlinks=True)
    (root / "sbin").mkdir(exist_ok=True)
    (root / "sbin/init").symlink_to("../bin/busybox")
    (root / "etc/inittab").write_text(INITTAB)
    (root / "www").mkdir()
    (root / "www/index.html").write_text(PAGE)
    return root


def test_a_debian_boots_and_nothing_fails(volt, debian):
    with serving(volt, manifest(volt, debian)) as run:
        assert settled(volt, run) == "running"
        assert failed(volt, run) == ""
        assert SUITE in inside(volt, run, "cat", "/etc/os-release")
        assert inside(volt, run, "cat", "/proc/1/comm") == "systemd\n"
        assert PAGE.strip() in inside(volt, run, "cat", "/srv/page/index.html")
        assert "A page" in volt("logs", run).stdout.decode(), "the journal of the inside"
        other = volt("exec", "--user", "www-data", run, "--", "sh", "-c", "id -un; grep Seccomp: /proc/self/status")
        assert other.stdout.decode().split() == ["www-data", "Seccomp:", "2"], other.stderr


def test_its_walls_are_those_of_its_plan_and_a_lower_one_is_noticed(volt, debian, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))
    with serving(volt, manifest(volt, debian)) as run:
        (state,) = api.inspect(run)
        assert Path(f"/proc/{state.payload}/comm").read_text() == "systemd\n"
        assert volt("top", run).stdout.splitlines()[1].split()[1] == b"1"
        found = api.audit(run)
        assert found.holds, [point for point in found.points if not point.holds]
        record = running(folders(), run)
        plan = decode(kept_plan(record, folders().state), record.name, record.mode)
        fewer = altered(plan, BoundCapabilities, lambda step: replace(step, caps=step.caps[:-3]))
        missing = [point for point in compared(record, fewer).points if not point.holds]
        assert {point.name for point in missing} == {
            f"capabilities.{one}" for one in ("bounding", "permitted", "effective")
        }
        assert "process 1 (systemd)" in missing[0].found


def test_what_root_inside_tries_stays_inside(volt, debian):
    with serving(volt, manifest(volt, debian)) as run:
        assert got_through(volt, run) == []


def test_without_their_walls_they_would_get_through(volt, debian):
    path = manifest(volt, debian, security={"seccomp_profile": "unconfined"})
    path.write_text(path.read_text().replace("readonly = true", "readonly = false"))
    for one in (volt.folder / "booted", *(volt.folder / "booted").iterdir()):
        os.chown(one, OWNER, OWNER)
    with serving(volt, path) as run:
        assert {"key rings", "counters of the processors", "a volume that is read-only"} <= {*got_through(volt, run)}


def test_a_command_is_a_unit_whose_status_and_output_come_back(volt, debian):
    path = volt.manifest(workload={"mode": "hybrid-native"}, storage={"rootfs": str(debian)})
    awkward = 'a "quoted" $HOME $$ 100% \\ word'
    done = volt("run", path, "--", "sh", "-c", 'printf "%s\\r\\n" "$0"; cat /proc/1/comm; exit 7', awkward)
    assert (done.returncode, done.stdout.decode()) == (7, f"{awkward}\r\nsystemd\n"), done.stderr


def test_a_command_has_its_user_folder_variables_and_limits(volt, debian):
    workload = {"mode": "hybrid-native", "user": "www-data", "workdir": "/var", "env": {"WORD": 'in "it" 5%'}}
    path = volt.manifest(workload=workload, storage={"rootfs": str(debian)}, limits={"nofile": "100:200"})
    script = 'id -un; pwd; echo "$WORD"; ulimit -Sn; ulimit -Hn; echo "$HOSTNAME"'
    done = volt("run", path, "--", "sh", "-c", script)
    host = tomli.loads(path.read_text())["workload"]["name"]
    assert done.stdout.decode().splitlines() == ["www-data", "/var", 'in "it" 5%', "100", "200", host], done.stderr


def test_what_is_typed_reaches_a_command(volt, debian):
    path = volt.manifest(workload={"mode": "hybrid-native"}, storage={"rootfs": str(debian)})
    given = ("run", "-it", path, "--", "sh", "-c", "echo ready; read word; echo got $word")
    words = shlex.join(map(str, volt.command(given)))
    with subprocess.Popen(
        ["script", "-qec", words, "/dev/null"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=volt.environment
    ) as typed:
        while b"ready" not in (line := typed.stdout.readline()):
            assert line
        typed.stdin.write(b"hello\r")
        typed.stdin.flush()
        assert b"got hello" in typed.stdout.read()


def test_the_machine_id_is_the_layers_own(volt, debian):
    ids = []
    path = manifest(volt, debian, storage={"writable_layer": "overlay"})
    for words in ((), (), ("--fresh",)):
        with serving(volt, path, *words) as run:
            ids.append(inside(volt, run, "cat", "/etc/machine-id").strip())
    assert volt("rm", tomli.loads(path.read_text())["workload"]["name"]).returncode == 0
    assert ids[0] == ids[1] != ids[2]
    assert all(len(one) == 32 and int(one, 16) for one in ids)


def test_a_read_only_root_boots(volt, debian):
    with serving(volt, manifest(volt, debian, storage={"writable_layer": "none"})) as run:
        assert PAGE.strip() in inside(volt, run, "cat", "/srv/page/index.html")
        assert volt("exec", run, "--", "touch", "/etc/here").returncode != 0


def test_who_asks_for_a_reboot_is_told_apart(volt, debian):
    with serving(volt, manifest(volt, debian)) as run:
        volt("exec", run, "--", "systemctl", "reboot")
        assert ends(volt, run) == 133


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whoever_ends_volt_run_ends_the_image_in_its_own_way(volt, debian, number):
    with volt.start("run", manifest(volt, debian), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        while b"Started" not in (line := started.stdout.readline()) or b"A page" not in line:
            assert line, started.stderr.read()
        started.send_signal(number)
        rest = started.stdout.read()
        assert started.wait(30) == 0
        assert b"Stopping page.service" in rest, "not in its own way"


def test_it_ends_although_nothing_takes_sessions_any_more(volt, debian):
    with serving(volt, manifest(volt, debian)) as run:
        volt("exec", run, "--", "kill", "2")
        assert volt("exec", run, "--", "true").returncode != 0
        begun = time.monotonic()
        assert volt("stop", run).returncode == 0
        assert state_of(volt, run)["status"] == 0
        assert time.monotonic() - begun < 60, "it was not asked, but killed"


def test_a_session_does_not_hold_it_up(volt, debian):
    with serving(volt, manifest(volt, debian)) as run, volt.start("exec", run, "--", "sleep", "600") as session:
        inside(volt, run, "true")
        assert volt("stop", run).returncode == 0
        assert session.wait(30) != 0
        assert state_of(volt, run)["status"] == 0


def test_killed_with_its_supervisor_nothing_is_left(volt, debian):
    with serving(volt, manifest(volt, debian)) as run:
        os.kill(state_of(volt, run)["pid"], signal.SIGKILL)
        volt("gc")


def test_restarted_again_and_again(volt, debian):
    times = 20 if os.environ.get("VOLT_EXHAUSTIVE") else 3
    with serving(volt, manifest(volt, debian)) as run:
        name = state_of(volt, run)["name"]
        for _ in range(times):
            again = volt("restart", name, timeout=120)
            assert again.returncode == 0, again.stderr
        assert settled(volt, name) == "running"
        assert volt("stop", name).returncode == 0
    assert volt("rm", "--all").returncode == 0


@pytest.mark.parametrize("where", ["a folder", "the store"])
def test_busybox_boots_and_powers_off(volt, small, where):
    root = str(small)
    if where == "the store":
        root = f"cas://{volt('image', 'import', small, 'small:1').stdout.decode().strip()}"
    sections = {"workload": {"mode": "hybrid-native"}, "service": {"ready": "http:80/"}}
    started = volt("run", "-d", volt.manifest(storage={"rootfs": root}, **sections))
    assert started.returncode == 0, started.stderr
    run = started.stdout.decode().strip()
    assert "booted by busybox" in volt("logs", run).stdout.decode()
    assert volt("exec", run, "--", "sh", "-c", "echo kept >/www/index.html").returncode == 0
    assert volt("commit", run, "made:1").returncode == 0
    assert volt("stop", run).returncode == 0
    assert state_of(volt, run)["status"] == 0
    assert volt("rm", run).returncode == 0
    made = volt.manifest(workload={"mode": "container", "image": "made:1"}, storage={"rootfs": ""})
    assert volt("run", made, "--", "cat", "/www/index.html").stdout == b"kept\n"


def scripted(volt, small, script, **service):
    """A manifest whose image has this script for its init."""
    (small / "sbin/init").unlink()
    (small / "sbin/init").write_text(f"#!/bin/sh\n{script}\n")
    (small / "sbin/init").chmod(0o755)
    return volt.manifest(workload={"mode": "hybrid-native"}, storage={"rootfs": str(small)}, service=service)


@contextmanager
def asked_at_its_first_word(volt, path):
    """A `volt run` whose init has said something, and which is to end: before or after its supervisor is told that it
    has started."""
    with volt.start("run", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        try:
            assert b"begun" in started.stdout.readline()
            started.send_signal(signal.SIGTERM)
            yield started
        finally:
            started.kill()


def test_an_init_that_does_not_end_is_killed_when_its_time_is_up(volt, small):
    path = scripted(volt, small, "trap '' PWR; echo begun; while :; do sleep 1; done", stop_timeout="500ms")
    for _ in range(3):
        with asked_at_its_first_word(volt, path) as started:
            assert started.wait(30) == 128 + signal.SIGKILL


def test_an_init_that_hears_nothing_yet_is_asked_again(volt, small):
    """What is sent to process 1 before it has said what it takes is nobody's: kill(2)."""
    path = scripted(volt, small, "echo begun; sleep 2; trap 'exit 7' PWR; while :; do sleep 0.1; done")
    with asked_at_its_first_word(volt, path) as started:
        assert started.wait(30) == 7


def test_volt_stop_too_asks_again(volt, small):
    path = scripted(volt, small, "sleep 2; trap 'exit 7' PWR; while :; do sleep 0.1; done")
    run = volt("run", "-d", path).stdout.decode().strip()
    assert volt("stop", "--timeout", "20", run).returncode == 0
    assert volt("wait", run).stdout == b"7\n"
    assert volt("rm", run).returncode == 0


@pytest.mark.parametrize("first", ["kill -KILL 2", "true"], ids=["it ends what is volt's inside", "or not"])
def test_an_init_that_takes_long_to_end_is_asked_once_and_not_killed(volt, small, first):
    """Asked again a shell would begin its trap anew."""
    script = f"trap '{first}; sleep 3; exit 7' PWR; echo begun; while :; do sleep 0.1; done"
    path = scripted(volt, small, script)
    run = volt("run", "-d", path).stdout.decode().strip()
    assert volt("stop", run).returncode == 0
    assert volt("wait", run).stdout == b"7\n"
    assert volt("rm", run).returncode == 0
    with asked_at_its_first_word(volt, path) as started:
        assert started.wait(30) == 7


LONG = "trap 'sleep 3; exit 7' PWR; trap 'echo heard' HUP; echo begun; while :; do sleep 0.1; done"


def test_an_init_whose_scope_is_stopped_has_its_time(volt, small):
    """systemd sends SIGTERM to each process of it; at its second one systemd-nspawn kills."""
    run = volt("run", "-d", scripted(volt, small, LONG)).stdout.decode().strip()
    for process in reversed(descendants(state_of(volt, run)["pid"])):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    assert volt("wait", run).stdout == b"7\n"
    assert volt("rm", run).returncode == 0


def test_without_what_takes_signals_inside_none_ends_it_that_does_not_ask_for_that(volt, small):
    run = volt("run", "-d", scripted(volt, small, LONG)).stdout.decode().strip()
    pid = state_of(volt, run)["pid"]
    os.kill(next(one for one in descendants(pid) if is_keeper(one)), signal.SIGKILL)
    for words in (("-s", "HUP"), ()):
        refused = volt("kill", *words, run)
        assert (refused.returncode, b"volt stop ends it" in refused.stderr) == (1, True), refused.stderr
    assert state_of(volt, run)["state"] == "running"
    assert volt("stop", run).returncode == 0
    assert state_of(volt, run)["status"] == 7
    assert volt("rm", run).returncode == 0


def is_keeper(pid):
    """Process 2 inside, a child of the init that is volt's."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("NSpid"))
    return line.split()[-1] == "2"


def test_an_init_that_ends_what_is_volts_inside_at_once_is_waited_for_no_longer(volt, small):
    path = scripted(volt, small, "kill -KILL -1; while :; do sleep 0.1; done", stop_timeout="1s")
    for _ in range(3):
        assert volt("run", "--timeout", "2s", path, timeout=60).returncode in (125, 128 + signal.SIGKILL)


@pytest.mark.parametrize(
    "folders",
    ["mkdir -p .hidden/below", "for one in $(seq 20); do mkdir -p $(printf %0255d 0)/beside || exit; cd 0*; done"],
    ids=["hidden", "deeper than a path is long"],
)
def test_folders_that_it_makes_in_its_cgroup_go_with_it(volt, small, folders):
    path = scripted(volt, small, f"cd /sys/fs/cgroup && {folders}; echo made; exit 5")
    done = volt("run", path)
    assert (done.returncode, b"made" in done.stdout) == (5, True), (done.stdout, done.stderr)


def test_what_cannot_be_booted_is_said(volt, small, busybox):
    workload = {"mode": "hybrid-native"}
    refused = volt("run", volt.manifest(workload=workload, storage={"rootfs": str(busybox)}))
    assert refused.returncode == 125
    assert b"no-init" in refused.stderr
    refused = volt("run", volt.manifest(workload=workload, storage={"rootfs": str(small)}), "--", "true")
    assert refused.returncode == 125
    assert b"unit of systemd" in refused.stderr
    refused = volt("learn", volt.manifest(workload=workload, storage={"rootfs": str(small)}))
    assert (refused.returncode, b"all that its init does" in refused.stderr) == (1, True), refused.stderr


def test_without_its_service_nothing_answers(volt, debian):
    """What shows that the others have booted."""
    path = manifest(volt, debian, service={"ready_timeout": "3s"}, kernel={"cmdline": ""})
    assert volt("run", "-d", path).returncode == 125
    assert volt("rm", "--all").returncode == 0
