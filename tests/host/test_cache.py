"""A cached launch: no Python, and in everything else the same as one that was planned."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.host import front, trace
from tests.host.conftest import Volt
from tests.host.test_terminal import Terminal
from volt.launch.cache import ENTRIES

ENDS = {
    "output": "echo out; echo err >&2",
    "status": "exit 7",
    "signal": "kill -9 $$",
    "input": "cat",
    "closed-input": "test -e /proc/self/fd/0 && cat; echo end",
    "environment": "env | sort",
    "descriptors": "ls /proc/self/fd | wc -l; umask; pwd; id",
    "not-found": "exec /no/such/program",
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory, busybox):
    """A front whose manifest is old enough to be remembered, and the manifest's path."""
    folder = tmp_path_factory.mktemp("cached")
    one = front.Front(folder, front.Installation(folder))
    (folder / "values").write_text("VALUE=first-value\n")
    manifest = one.manifest(
        workload={"env_file": "values", "env": {"GIVEN": "x"}, "command": ["sh", "-c", "echo $VALUE"]},
        storage={"rootfs": str(front.small_root(folder / "root", busybox))},
    )
    (folder / "secret.toml").write_text(secret(folder))
    (folder / "bad.toml").write_text(manifest.read_text().replace("container", "no-such-mode"))
    for number in range(20):
        text = manifest.read_text().replace(f't{os.getpid()}-1"', f'crowd-{number}"')
        (folder / f"crowd-{number}.toml").write_text(text)
    front.let_age()
    return one, manifest


def secret(folder):
    text = (folder / "m1.toml").read_text().replace('GIVEN = "x"', 'GIVEN = "${SECRET:-none}"')
    assert "SECRET" in text
    return text


def both(ready, *words, **options):
    """A run that is planned, and the same from the cache."""
    one, manifest = ready
    for entry in one.entries():
        entry.unlink()
    words = ("run", *words) if words[0].startswith("--o") else ("run", manifest, *words)
    return one.planned(*words, **options), one.cached(*words, **options)


# ── no Python


def traced(command, folder, environment, *, cwd):
    """Every program that a command starts, and every file that it opens, once it is answered from the cache."""
    for _ in range(front.TRIES):
        path = folder / "trace"
        options = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=execve,open,openat,openat2", "-o", str(path)]
        done = subprocess.run([*options, *command], env=environment, capture_output=True, cwd=cwd, check=False)
        assert done.returncode == 0, done.stderr
        calls = [call for call in trace.read(path) if not call.failed]
        started = [call.arguments.split('"')[1] for call in calls if call.name == "execve"]
        opened = [call.arguments.split('"')[1] for call in calls if call.kind == "openat"]
        if not any(name.endswith("volt-python") for name in started) and "volt.cli" not in str(calls):
            break
    return started, opened


def assert_no_python(started, opened, *first):
    assert started == [*first, shutil.which("systemd-nspawn"), "/proc/self/fd/3", "/bin/true"]
    assert [path for path in opened if path.endswith((".py", ".pyc", ".toml", ".pth"))] == []


@pytest.mark.kernel
def test_the_second_run_of_the_same_words_starts_no_python(ready, tmp_path):
    one, manifest = ready
    words = ["run", str(manifest), "--", "/bin/true"]
    one(*words)
    started, opened = traced(one.command(words), tmp_path, one.environment, cwd=one.folder)
    assert_no_python(started, opened, str(one.installed.program))


def test_other_verbs_and_an_unfilled_cache_do_start_it(ready, tmp_path):
    """The counter-proof: the trace would show it."""
    one, _ = ready
    started, opened = traced(one.command(["schema"]), tmp_path, one.environment, cwd=one.folder)
    assert f"{one.installed.commands}/volt-python" in started
    assert [path for path in opened if path.endswith((".py", ".pyc"))]


@pytest.fixture
def installed():
    """The `volt` of this very environment."""
    program = Path(sys.executable).parent / "volt"
    if not program.is_file():
        pytest.skip("volt is not installed here")
    return program


@pytest.fixture
def elsewhere(ready, tmp_path):
    """A plain volt with a state of its own, for the manifest that is ready."""
    _, manifest = ready
    one = Volt(tmp_path)
    one.environment["PATH"] = f"{tmp_path}/commands:{os.environ['PATH']}"
    return one, ["run", str(manifest), "--", "/bin/true"]


def test_it_works_from_the_environments_own_commands(elsewhere, installed, tmp_path):
    one, words = elsewhere
    subprocess.run([installed, *words], env=one.environment, check=True, cwd=tmp_path)
    started, opened = traced([installed, *words], tmp_path, one.environment, cwd=tmp_path)
    assert_no_python(started, opened, str(installed))


def test_it_works_through_a_link_on_path(elsewhere, installed, tmp_path):
    one, words = elsewhere
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/volt").symlink_to(installed)
    command = ["sh", "-c", 'exec volt "$@"', "sh", *words]
    subprocess.run(command, env=one.environment, check=True, cwd=tmp_path)
    started, opened = traced(command, tmp_path, one.environment, cwd=tmp_path)
    assert_no_python(started[1:], opened, f"{tmp_path}/commands/volt")


def test_as_a_module_python_starts_and_nothing_of_the_command_line_is_imported(elsewhere, tmp_path):
    one, words = elsewhere
    command = [sys.executable, "-m", "volt", *words]
    subprocess.run(command, env=one.environment, check=True, cwd=tmp_path)
    started, opened = traced(command, tmp_path, one.environment, cwd=tmp_path)
    program = str(front.TOP / "volt/native/volt")
    assert_no_python(started, [], sys.executable, program)
    own = [path for path in opened if path.startswith(f"{front.TOP}/volt/") and re.search(r"\.pyc?$", path)]
    assert {os.path.basename(path).partition(".")[0] for path in own} == {"__init__", "__main__"}
    assert {path.removeprefix(f"{front.TOP}/volt/").replace("__pycache__/", "").count("/") for path in own} == {0}


# ── the same as planned


@pytest.mark.parametrize("name", ENDS)
def test_a_run_ends_the_same(ready, name):
    options = {"stdin": subprocess.DEVNULL} if name == "closed-input" else {"input": b"\0\xffgiven\r\n" * 5000}
    planned, cached = both(ready, "--", "sh", "-c", ENDS[name], **options)
    assert (cached.returncode, cached.stdout, cached.stderr) == (planned.returncode, planned.stdout, planned.stderr)
    if name == "input":
        assert cached.stdout == options["input"]


def test_the_outcome_is_written(ready):
    one, manifest = ready
    for words in (("true",), ("sh", "-c", "exit 3"), ("/no/such",)):
        done = both(ready, "--outcome", "outcome.json", manifest, "--", *words)[1]
        document = json.loads((one.folder / "outcome.json").read_text())
        (one.folder / "outcome.json").unlink()
        assert (document["version"], document["status"]) == (1, done.returncode)
        assert document["by"] == ("payload" if words[0] != "/no/such" else "volt")


def test_options_for_the_payloads_environment(ready):
    one, manifest = ready
    words = ("run", "--env", "GIVEN=mine", "-e", "OTHER=a b", manifest, "--", "sh", "-c", 'echo "$GIVEN $OTHER"')
    assert one.planned(*words).stdout == one.cached(*words).stdout == b"mine a b\n"


def test_nothing_of_the_callers_environment_gets_in(ready):
    done = both(ready, "--", "sh", "-c", "env", env={"INTRUDER": "1", "LD_PRELOAD": ""})[1]
    assert b"INTRUDER" not in done.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 9), (signal.SIGINT, 8), (signal.SIGUSR1, 7)])
def test_signals_reach_the_payload(ready, number, status):
    one, manifest = ready
    script = "trap 'exit 9' TERM; trap 'exit 8' INT; trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    words = ("run", manifest, "--", "sh", "-c", script)
    started = []
    for _ in range(front.TRIES):
        before = one.installed.starts()
        assert signalled(one, words, number) == status
        started.append(one.installed.starts() - before)
    assert 0 in started


def signalled(one, words, number):
    run = one.start(*words, stdout=subprocess.PIPE)
    run.stdout.readline()
    run.send_signal(number)
    run.stdout.close()
    return run.wait(timeout=20)


@pytest.mark.alone
def test_a_terminal_is_one_inside(ready):
    one, manifest = ready
    before = one.installed.starts()
    screens = [screen(one, manifest) for _ in range(2)]
    assert one.installed.starts() == before + 1
    assert screens[0] == screens[1]
    assert b"33 101" in screens[0]
    assert b"vt220 terminal" in screens[0]


def screen(one, manifest, **options):
    terminal = Terminal(
        one, "run", manifest, "--", "sh", "-c", "stty size; test -t 0 && test -t 2 && echo $TERM terminal"
    )
    assert terminal.end() == 0
    os.close(terminal.master)
    os.close(terminal.slave)
    return terminal.seen


@pytest.mark.alone
def test_a_terminal_and_its_name_are_part_of_the_question(ready):
    """Off a terminal another plan is performed than on one, and on one of another name too."""
    one, manifest = ready
    words = ("sh", "-c", "stty size; test -t 0 && test -t 2 && echo $TERM terminal")
    screen(one, manifest)
    before = one.installed.starts()
    done = one("run", manifest, "--", *words, stdin=subprocess.DEVNULL)
    assert b"terminal" not in done.stdout
    assert one.installed.starts() == before + 1
    one.environment["TERM"] = "vt100"
    assert b"vt100 terminal" in screen(one, manifest)
    one.environment["TERM"] = "vt220"
    assert one.installed.starts() == before + 2


# ── what is never kept


def found_below(folder, text):
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_a_value_of_the_environment_makes_no_entry(ready):
    one, _ = ready
    before, word = set(one.entries()), "xyzzy-plugh"
    words = ("run", "secret.toml", "--", "sh", "-c", "echo $GIVEN")
    for _ in range(2):
        done = one.planned(*words, env={"SECRET": word})
        assert done.stdout.decode() == f"{word}\n"
    assert set(one.entries()) == before
    assert found_below(one.state, word.encode()) == []


def test_an_unset_variable_makes_one_that_holds_until_it_is_set(ready):
    one, _ = ready
    words = ("run", "secret.toml", "--", "sh", "-c", "echo $GIVEN")
    assert one(*words).stdout == one.cached(*words).stdout == b"none\n"
    assert one.planned(*words, env={"SECRET": "now"}).stdout == b"now\n"
    assert one.planned(*words, env={"SECRET": ""}).stdout == b"\n"
    assert one.cached(*words).stdout == b"none\n"


def test_a_value_of_an_env_file_is_read_at_each_launch_and_in_no_entry(ready):
    one, manifest = ready
    one("run", manifest)
    assert one.cached("run", manifest).stdout == b"first-value\n"
    assert found_below(one.state, b"first-value") == []
    (one.folder / "values").write_text("VALUE=second-value\n")
    assert one.cached("run", manifest).stdout == b"second-value\n"
    assert found_below(one.state, b"second-value") == []
    (one.folder / "values").write_text("VALUE=first-value\n")


def test_a_manifest_from_standard_input_is_never_kept(ready):
    one, manifest = ready
    before = set(one.entries())
    text = manifest.read_bytes().replace(b'env_file = "values"', b"")
    for _ in range(2):
        assert one.planned("run", "-", "--", "true", input=text).returncode == 0
    assert set(one.entries()) == before


def test_nor_is_one_whose_base_is_standard_input(ready):
    """`-` beside the manifest is read as it is named from there: as standard input."""
    one, manifest = ready
    base = manifest.read_bytes().replace(b'env_file = "values"', b"")
    (one.folder / "on.toml").write_text('extends = "-"\nworkload.name = "on"\n')
    front.let_age()
    for _ in range(2):
        assert one.planned("run", "on.toml", "--", "true", input=base).returncode == 0


def test_a_manifest_that_is_refused_leaves_no_entry(ready):
    one, _ = ready
    before = set(one.entries())
    for words in (("run", "bad.toml"), ("run", "missing.toml"), ("run", "--no-such", "m1.toml")):
        assert one.planned(*words).returncode == 125
    assert set(one.entries()) == before


def test_an_unfit_host_leaves_no_entry(ready):
    one, manifest = ready
    before = set(one.entries())
    hide = 'mount --bind /dev/null $(realpath /usr/bin/systemd-nspawn); exec "$@"'
    done = one.planned("run", manifest, "--", "unfit", prefix=("unshare", "--mount", "sh", "-c", hide, "sh"))
    assert (done.returncode, b"systemd-nspawn is not installed" in done.stderr) == (125, True)
    assert set(one.entries()) == before


@pytest.mark.alone  # a plan that is kept is good as long as the mounts of the machine are the same
def test_what_has_just_changed_is_not_remembered(ready):
    one, manifest = ready
    path = one.folder / "fresh.toml"
    path.write_bytes(manifest.read_bytes())
    one.planned("run", "fresh.toml")
    assert not one.hits("run", "fresh.toml")
    time.sleep(front.OLD)
    one.planned("run", "fresh.toml")
    assert one.hits("run", "fresh.toml")


# ── many at once, and a bound


def test_many_at_once_fill_it_without_harm(ready):
    one, _ = ready
    crowds = [[("run", f"crowd-{number}.toml") for number in range(20)], [("run", "crowd-0.toml", "--", "true")] * 20]
    for crowd in crowds:
        runs = [one.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for words in crowd]
        outputs = [run.communicate(timeout=120) for run in runs]
        if crowd is crowds[0]:
            assert [output for output, _ in outputs] == [b"first-value\n"] * 20, outputs
        assert [run.returncode for run in runs].count(0) >= (20 if crowd is crowds[0] else 1)
        for words in crowd:
            one.cached(*words)
    assert [path.name for path in one.plans.iterdir() if path.name.startswith(".")] == []
    assert {path.stat().st_mode & 0o7777 for path in one.plans.iterdir()} == {0o600}


def test_the_oldest_go_first(ready):
    one, manifest = ready
    for path in one.entries():
        path.unlink()
    for number in range(ENTRIES + 3):
        path = one.plans / f"{number:032x}"
        path.write_bytes(b"old")
        os.utime(path, (number, number))
    one.planned("run", manifest)
    assert one.cached("run", manifest).returncode == 0
    names = [path.name for path in one.entries()]
    assert len(names) == ENTRIES
    assert names[:2] == [f"{4:032x}", f"{5:032x}"]
    for path in one.entries():
        path.unlink()
