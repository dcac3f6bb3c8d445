"""Lint, format and types hold for the whole tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

CHECKS = {
    "lint": ["ruff", "check", "--no-cache", "--quiet"],
    "format": ["ruff", "format", "--no-cache", "--quiet", "--diff"],
    "types": ["mypy", "--no-error-summary"],
}
VIOLATIONS = {"lint": "import os\n", "format": "x=1\n", "types": "x: int = 'one'\n"}


def run(*command: str, folder: Path = TOP) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS)
def test_the_tree_is_clean(command):
    assert run(*command) == (0, "")


@pytest.mark.parametrize("name", CHECKS)
def test_a_violation_is_noticed(name, tmp_path):
    (tmp_path / "x.py").write_text(f'"""One module."""\n\n{VIOLATIONS[name]}')
    config = ["--config", str(TOP / "pyproject.toml")] if name != "types" else ["--strict"]
    code, text = run(*CHECKS[name], *config, "x.py", folder=tmp_path)
    assert code != 0
    assert "x.py" in text
