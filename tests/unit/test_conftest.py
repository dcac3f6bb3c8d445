"""On CI no test is skipped in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

SKIPS = {
    "a mark": "import pytest\n@pytest.mark.skip(reason='no tool')\ndef test_one(): pass\n",
    "a condition": "import pytest\n@pytest.mark.skipif(True, reason='no tool')\ndef test_one(): pass\n",
    "a call": "import pytest\ndef test_one(): pytest.skip('no tool')\n",
    "a fixture": ("import pytest\n@pytest.fixture\ndef tool(): pytest.skip('no tool')\ndef test_one(tool): pass\n"),
    "a whole file": "import pytest\npytest.skip('no tool', allow_module_level=True)\n",
    "a missing module": "import pytest\npytest.importorskip('no_tool', reason='no tool')\n",
}
EXPECTED_FAILURE = (
    "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_one(): assert False\ndef test_two(): pass\n"
)


def outcome(folder: Path, test: str, ci: str) -> tuple[int, str]:
    """pytest's exit code and output for one file of tests beside our conftest."""
    shutil.copy(CONFTEST, folder)
    (folder / "test_one.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("test", SKIPS.values(), ids=SKIPS)
def test_a_skip_fails_the_run_on_ci_and_says_why(tmp_path, test):
    code, text = outcome(tmp_path, test + "def test_two(): pass\n", ci="true")
    assert code != 0
    assert "skipped on CI: " in text
    assert "no tool" in text


def test_a_skip_is_no_failure_elsewhere(tmp_path):
    code, text = outcome(tmp_path, SKIPS["a call"], ci="")
    assert (code, "1 skipped" in text) == (0, True)


def test_an_expected_failure_is_no_skip(tmp_path):
    code, text = outcome(tmp_path, EXPECTED_FAILURE, ci="true")
    assert (code, "1 passed, 1 xfailed" in text) == (0, True)
