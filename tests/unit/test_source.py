"""Promises about the repository as text: sizes for one sitting, and words that do not belong."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
NOT_OURS = {".git", ".venv", "build", "dist", ".hypothesis", "__pycache__"}
LINES = {"volt": 400, "bench": 400, "guest": 400, "tests": 600}
FUNCTION_LINES = {"volt": 45, "bench": 45, "guest": 45, "tests": 80}
TABLES = {"volt/model/steps.py"}  # one table, read line by line: to split it would split the definition

# Written so that this file does not contain what it looks for.
FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"work/",  # a machine's own path
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            r"/opt/" + "(pypi|wheels)",
            "registry.npm" + "js",
            "crates" + r"\.io",
            r"\b(TO" + "DO|FIX" + "ME|X" + r"XX)\b",
        )
    )
)


def files() -> Iterator[Path]:
    """Every file of the repository, as a clone would hold it."""
    for folder, folders, names in os.walk(TOP):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith("_cache")]
        yield from (Path(folder, name) for name in names if name not in NOT_OURS)  # .git is a file in a worktree


def python(folder: str) -> dict[str, str]:
    return {str(path.relative_to(TOP)): path.read_text() for path in sorted((TOP / folder).rglob("*.py"))}


def too_long(sources: dict[str, str], lines: int, function_lines: int) -> list[str]:
    found = []
    for path, source in sources.items():
        count = source.count("\n")
        if count > lines and path not in TABLES:
            found.append(f"{path}: {count} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                found += [f"{path}:{node.lineno}: {node.name}: {length}"] if length > function_lines else []
    return found


def without_docstring(sources: dict[str, str]) -> list[str]:
    return [path for path, source in sources.items() if not ast.get_docstring(ast.parse(source))]


def forbidden(text: str) -> list[str]:
    return [match.group() for match in FORBIDDEN.finditer(text)]


@pytest.mark.parametrize("folder", LINES)
def test_every_file_and_function_is_read_in_one_sitting(folder):
    assert too_long(python(folder), LINES[folder], FUNCTION_LINES[folder]) == []


def test_a_long_file_and_a_long_function_are_noticed():
    body = "def f():\n" + "    pass\n" * 45
    assert too_long({"x.py": body}, 400, 45) == ["x.py:1: f: 46"]
    assert too_long({"x.py": "\n" * 401}, 400, 45) == ["x.py: 401 lines"]


@pytest.mark.parametrize("folder", ["volt", "tests"])
def test_every_module_opens_with_what_lives_there(folder):
    assert without_docstring(python(folder)) == []


def test_a_module_without_docstring_is_noticed():
    assert without_docstring({"x.py": "import os\n"}) == ["x.py"]


def test_nothing_names_a_machine_a_registry_or_unfinished_work():
    found = {}
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # compiled, or data of a test
        if words := forbidden(text):
            found[str(path.relative_to(TOP))] = words
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "cd /" + "work/main",
        "index at https://pypi" + ".org/simple",
        "# TO" + "DO: later",
        "/opt/" + "wheels/x",
    ],
)
def test_a_forbidden_word_is_noticed(text):
    assert forbidden(text) != []


@pytest.mark.parametrize("text", ["/network/", "a.b/work/x", "/var/lib/overlay/x/work/y", "homework/", "xxx"])
def test_ordinary_words_pass(text):
    assert forbidden(text) == []


SCRIPTS = sorted(path for path in (TOP / "scripts").iterdir() if not path.suffix)


@pytest.mark.parametrize("path", [*SCRIPTS, TOP / ".ci/run"], ids=lambda path: path.name)
def test_a_script_is_executable_strict_bash_and_parses(path):
    assert path.stat().st_mode & stat.S_IXUSR
    first, comment, *rest = path.read_text().splitlines()
    assert first == "#!/usr/bin/env bash"
    assert comment.startswith("# ")
    assert "set -euo pipefail" in rest
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_lock_holds_hashes_and_names_no_index():
    lines = (TOP / "scripts/requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert len(pins) > 10
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ \\", pin) for pin in pins)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)
