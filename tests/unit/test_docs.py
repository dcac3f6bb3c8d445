"""The documentation says what the code does, and its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
TOML = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = {
    f"{page.relative_to(TOP)} {number}": block
    for page in PAGES
    for number, block in enumerate(TOML.findall(page.read_text()), 1)
}


def generate(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "generate.py", "--check"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_generated_pages_are_those_of_this_code():
    done = generate(TOP / "docs")
    assert (done.returncode, done.stdout) == (0, ""), f"run scripts/docs\n{done.stderr}"


def test_a_stale_page_is_noticed(tmp_path):
    docs = Path(shutil.copytree(TOP / "docs", tmp_path / "docs"))
    with (docs / "reference/cli.md").open("a") as page:
        page.write("one line too many\n")
    done = generate(docs)
    assert (done.returncode, done.stdout) == (1, "stale: docs/reference/cli.md\n")


def broken_links(page: Path, text: str) -> list[str]:
    return [target for target in LINK.findall(text) if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_leads_somewhere(page):
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_noticed():
    assert broken_links(TOP / "README.md", "see [this](docs/nowhere.md#part)") == ["docs/nowhere.md"]


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_every_manifest_shown_is_toml(block):
    assert tomllib.loads(block)
