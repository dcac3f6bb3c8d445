"""The manual pages: groff and man read them without a warning, and each verb, argument and option is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGES = sorted((TOP / "docs/man").glob("*.1"))
sys.path.insert(0, str(TOP / "docs"))


def group():
    import typer

    from volt.cli.app import app

    return typer.main.get_command(app())


def commands():
    """Verbs by the name of their page: image-import."""
    from generate import verbs

    return {name.replace(" ", "-"): command for name, command in verbs(group())}


COMMANDS = commands()


def rendered(page: Path) -> str:
    """The page as plain text, without line breaks and hyphenation; the warnings are an error."""
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    source = ".nh\n" + page.read_text()
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=400n"],
        input=source.encode(), capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == b""
    return " ".join(done.stdout.decode().split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_man_shows_the_page_without_a_warning(page):
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}
    done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, check=True, env=environment)
    assert done.stderr == b""
    assert b"NAME" in done.stdout


def test_every_verb_has_a_page_and_no_page_is_of_a_verb_that_is_none():
    verbs = [name for name, command in COMMANDS.items() if not command.hidden]
    assert {page.name for page in PAGES} == {"volt.1", *(f"volt-{name}.1" for name in verbs)}
    main = rendered(TOP / "docs/man/volt.1")
    assert [name for name in verbs if f"volt-{name}(1)" not in main] == []


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_option_and_argument_of_a_verb_is_in_its_page_with_its_help(verb):
    from generate import words

    shown = rendered(TOP / f"docs/man/volt-{verb}.1")
    for each in COMMANDS[verb].params:
        assert words(each) in shown
        assert " ".join((each.help or "").replace("`", "").split()) in shown


def test_what_has_a_meaning_to_roff_is_text_in_a_page(tmp_path):
    from man import prose

    text = r".so /etc/passwd \f[B] 'it' -- ~ ^ \\ `--x`"
    (tmp_path / "page.1").write_text('.TH X 1 "" "v" "v"\n.SH NAME\n' + prose(text) + "\n")
    assert text.replace("`", "") in rendered(tmp_path / "page.1")


def test_a_warning_is_noticed(tmp_path):
    (tmp_path / "page.1").write_text('.TH X 1 "" "v" "v"\n.SH NAME\n.no-such-request\n')
    with pytest.raises(AssertionError):
        rendered(tmp_path / "page.1")


def test_pages_of_verbs_that_are_no_more_are_noticed(tmp_path):
    docs = Path(shutil.copytree(TOP / "docs", tmp_path / "docs"))
    (docs / "man/volt-gone.1").touch()
    done = subprocess.run(
        [sys.executable, docs / "generate.py", "--check"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert (done.returncode, re.findall("stale: .*", done.stdout)) == (1, ["stale: docs/man/volt-gone.1"])
