"""`python -m volt` becomes the static program for `run`, and is the command line for all else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# In the place of the static program: it says how it was started.
PROGRAM = "#!/bin/sh\necho \"$0\" \"$@\"\ntr '\\0' '|' < /proc/$$/cmdline >&2\nexit 9\n"


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the package with another program in it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.c", "*.h")
    shutil.copytree(TOP / "volt", tmp_path / "volt", ignore=ignored)
    program = tmp_path / "volt/native/volt"
    program.unlink(missing_ok=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return tmp_path


def volt(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-X", "importtime", "-m", "volt", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd="/")


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("words", [["run"], ["run", "m.toml"], ["run", "a b", "--", "", "x"]])
def test_run_is_the_static_programs_with_the_same_words(tree, words):
    done = volt(tree, *words)
    assert done.returncode == 9
    assert done.stdout.split() == [f"{tree}/volt/native/volt", *" ".join(words).split()]
    assert "|".join(words) in done.stderr


def test_nothing_of_the_command_line_is_imported_for_it(tree):
    own = {name for name in imported(volt(tree, "run", "m.toml")) if name.partition(".")[0] == "volt"}
    assert own == {"volt"}


@pytest.mark.parametrize("words", [[], ["--version"], ["validate", "--help"], ["--", "run"]])
def test_other_words_are_the_command_lines(tree, words):
    done = volt(tree, *words)
    assert done.returncode != 9
    assert "volt.cli" in imported(done)


def test_without_a_program_that_can_be_started_it_is_the_command_lines_too(tree):
    (tree / "volt/native/volt").chmod(0o644)
    done = volt(tree, "run", "missing.toml")
    assert done.returncode == 125
    assert "volt.cli" in imported(done)


def test_the_program_is_told_which_python_asks(tree):
    """Its first word: a script's is lost, so this one is a program, which shows its own."""
    shutil.copy(shutil.which("cat"), tree / "volt/native/volt")
    done = volt(tree, "run", "/proc/self/cmdline")
    assert done.stdout.split("\0") == [f"python:{sys.executable}", "run", "/proc/self/cmdline", ""]
