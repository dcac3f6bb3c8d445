"""A plain `volt run` is read without typer, and means what typer would have read."""

import subprocess
import sys

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from volt.cli.app import app
from volt.cli.words import Request, read_run

RUN = typer.main.get_command(app()).commands["run"]
WORDS = st.sampled_from(
    [
        "--fresh",
        "--set",
        "--env",
        "-e",
        "--outcome",
        "--",
        "-",
        "web.toml",
        "A=1",
        "-x",
        "--help",
        "--set=A=1",
        "",
        "run",
    ]
)


def by_typer(words):
    """The request that typer reads; None where it sees a mistake or prints help."""
    try:
        found = RUN.make_context("run", list(words), resilient_parsing=False).params
    except (Exception, SystemExit):  # noqa: BLE001 (whatever typer raises for a mistake)
        return None
    many = (found["command"], found["set_"], found["env"])
    command, variables, env = (tuple(words or ()) for words in many)
    return Request(found["file"], command, variables, env, found["fresh"], found["outcome"], pull=found["pull"])


def test_everything_at_once():
    words = "run --fresh --set A=1 -e B=2 web.toml --env C=3 --outcome out --set D=4 --pull always -- sh -c x --fresh"
    command, variables, env = ("sh", "-c", "x", "--fresh"), ("A=1", "D=4"), ("B=2", "C=3")
    asked = Request("web.toml", command, variables, env, fresh=True, outcome="out", pull="always")
    assert read_run(words.split()) == asked


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["plan", "a"],
        ["run"],
        ["run", "--help"],
        ["run", "a", "b"],
        ["run", "a", "--set"],
        ["run", "--set=A=1", "a"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_left_to_typer(words):
    assert read_run(words) is None


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=8))
def test_what_is_read_here_typer_reads_the_same(words):
    request = read_run(["run", *words])
    assert request is None or request == by_typer(words)


def test_a_plain_run_imports_neither_typer_nor_pydantic(tmp_path):
    code = (
        "import sys; from volt.cli import main; status = main(['run', 'missing.toml']);"
        " print(status, *sorted({name.partition('.')[0] for name in sys.modules} & {'typer', 'pydantic', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "125\n"
    assert "missing.toml" in done.stderr
