"""Completion in real shells on a terminal: what is typed, Tab, and what then stands on the line."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.unit.runs.test_record import WHOLE
from volt.cli.candidates import any_file, every_name, filter_word, living_name, name_or_path, signal_name
from volt.cli.complete import Parameter, completed
from volt.cli.completion import SCRIPTS

TOP = Path(__file__).parents[3]
PROGRAM = TOP / ".venv/bin/volt"
DEADLINE = 20  # seconds
STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
BEFORE = {
    "bash": ["bind 'set bell-style none'", "bind 'set enable-bracketed-paste off'", 'eval "$(volt completion bash)"'],
    "zsh": ["bindkey -e", "autoload -Uz compinit && compinit -u -D", 'eval "$(volt completion zsh)"'],
    "fish": ["volt completion fish | source"],
}
SHELLS = [pytest.param(shell, id=shell) for shell in SCRIPTS]


def take_terminal() -> None:
    """Standard input becomes the controlling terminal of this session: job control, and no warnings of shells."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# What is typed → the words of the line after Tab.
COMPLETED = {
    "volt val": ["volt", "validate"],
    "volt run hel": ["volt", "run", "hello world.toml"],  # not hello.txt
    "volt stor": ["volt", "store"],
    "volt net create lan --inter": ["volt", "net", "create", "lan", "--internal"],
    "volt net rm brid": ["volt", "net", "rm", "bridge"],
    "volt image im": ["volt", "image", "import"],
    "volt image import hello.tx": ["volt", "image", "import", "hello.txt"],
    "volt store verify --re": ["volt", "store", "verify", "--repair"],
    "volt run deep/": ["volt", "run", "deep/inner.toml"],
    "volt run --outc": ["volt", "run", "--outcome"],
    "volt run --outcome hello.": ["volt", "run", "--outcome", "hello.txt"],
    "volt run --outcome=hello.": ["volt", "run", "--outcome=hello.txt"],
    "volt audit w": ["volt", "audit", "web"],
    "volt audit old": ["volt", "audit", "old"],  # it does not run: there is nothing to audit
    "volt completion z": ["volt", "completion", "zsh"],
    "volt run hello.toml -- v": ["volt", "run", "hello.toml", "--", "v"],  # the payload's own words
}


class Shell:
    """An interactive shell on a pseudo-terminal, with this tree's volt as the only one on PATH."""

    def __init__(self, shell: str, folder: Path, state: Path) -> None:
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed")
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "volt").symlink_to(PROGRAM)
        environment = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        environment |= {"VOLT_ROOT": str(state), "PS1": "", "PROMPT": "", "XDG_DATA_HOME": str(folder)}
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            STARTS[shell], stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True, preexec_fn=take_terminal,  # noqa: PLW1509 (no threads here)
        )  # fmt: skip
        os.close(slave)
        for line in BEFORE[shell]:
            self.send(f"{line}\r")
        self.send("echo begi''ns\r")
        self.until("begins")

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """What the terminal shows, as soon as the pattern is there."""
        shown, end = b"", time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                shown += os.read(self.master, 65536)
                if found := re.search(pattern, shown.decode(errors="replace")):
                    return found
        raise AssertionError(shown.decode(errors="replace"))

    def completed(self, typed: str) -> list[str]:
        """The words of the line after Tab, as the shell gives them to a program."""
        self.send(f"{typed}\t")
        self.send("\x01printf '{%s}' \x05 ; echo en''ds\r")
        return re.findall(r"\{([^{}%]*)\}", self.until(r"((?:\{[^{}%]*\})+)\s*ends").group(1))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def state(tmp_path):
    """A state folder with a run that lives and two that are over, as their records say."""
    held = []
    for run, name, living in (
        ("0123456789ab", "web", True), ("1123456789ab", "old-job", False), ("2123456789ab", "old-\x1b[31m", False),
    ):  # fmt: skip
        runs = tmp_path / "volt/run" / ("runs" if living else "ended")
        (runs / run).mkdir(parents=True)
        record = {**WHOLE, "id": run, "name": name, "pid": os.getpid(), "kept": True}
        (runs / run / "record.json").write_text(json.dumps(record))
        if living:
            (runs / f"{run}.lock").touch()
            held.append((runs / f"{run}.lock").open())
            fcntl.flock(held[-1], fcntl.LOCK_EX)
    yield tmp_path / "volt"
    for file in held:
        file.close()


@pytest.fixture
def shell(request, tmp_path, state):
    (tmp_path / "hello world.toml").touch()
    (tmp_path / "hello.txt").touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/inner.toml").touch()
    started = Shell(request.param, tmp_path, state)
    yield started
    started.close()


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_tab_completes_the_line(shell):
    assert {typed: shell.completed(typed) for typed in COMPLETED} == COMPLETED


def ask(*words: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [PROGRAM, "__complete", *words], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_other_shells_are_told_what_a_word_is(state):
    assert ask("zsh", "audit", "", VOLT_ROOT=str(state)) == ["web\trunning"]


def test_no_escape_sequence_of_a_record_reaches_the_terminal(state):
    from volt.cli.candidates import finished_name

    os.environ["VOLT_ROOT"], before = str(state), os.environ.get("VOLT_ROOT")
    try:
        assert every_name("") == [("old-job", "finished"), ("web", "running")]
        assert finished_name("old") == [("old-job", "finished")]
        assert every_name("01") == [("0123456789ab", "web")]
    finally:
        os.environ.pop("VOLT_ROOT") if before is None else os.environ.update(VOLT_ROOT=before)


def test_values_of_a_filter_and_signals():
    assert ("state=running", "") in filter_word("state=r")
    assert ("label=", "") in filter_word("l")
    assert [word for word, _ in signal_name("SIGHU")] == ["SIGHUP"]
    assert [word for word, _ in signal_name("hu")] == ["HUP"]


@pytest.mark.parametrize(
    ("verb", "parameter", "expected"),
    [
        ("stop", Parameter((), False, True, None, "[NAME|ID]..."), living_name),
        ("rm", Parameter((), False, True, None, "[NAME|ID]..."), every_name),
        ("cp", Parameter((), False, False, None, "FROM"), name_or_path),
        ("kill", Parameter(("--signal", "-s"), True, False, None, "SIGNAL"), signal_name),
        ("ps", Parameter(("--filter",), True, True, None, "KEY=VALUE"), filter_word),
        ("run", Parameter(("--outcome",), True, False, None, "FILE"), any_file),
        ("run", Parameter(("--name",), True, False, None, "NAME"), None),  # a new one
        ("run", Parameter((), False, True, None, "[-- COMMAND]"), None),
    ],
)
def test_what_a_definition_leaves_open_follows_from_what_its_help_calls_it(verb, parameter, expected):
    assert completed(parameter, verb).asked is expected


def test_an_answer_needs_neither_pydantic_nor_rich():
    code = (
        "import sys\nfrom volt.cli import main\nmain(['__complete', 'fish', 'audit', ''])\n"
        "print(sorted({'pydantic', 'rich', 'tomli', 'pyseccomp'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_shell_that_there_is_no_script_for_is_named(volt):
    said = volt("completion", "tcsh")
    assert said.status == 1
    assert "no completion for 'tcsh'" in said.err
    assert "bash, zsh, fish" in said.err
