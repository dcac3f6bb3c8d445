"""Plain `volt image import` and `pull`: read without typer, and meant as typer would have read them."""

import json
import subprocess
import sys

import pytest

from volt.cli.arriving import Import, Pull, read_image


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("import /srv/tree", Import("/srv/tree")),
        ("import - web:1", Import("-", "web:1")),
        ("pull host/web:1", Pull("host/web:1")),
        ("pull --quiet web", Pull("web", quiet=True)),
        ("pull -q web", Pull("web", quiet=True)),
    ],
)
def test_plain_words_are_read_here(words, request_):
    assert read_image(["image", *words.split()]) == request_


NOT_PLAIN = ["", "ls", "import", "import --help", "import a b c", "import a --json", "import --json a", "import -- a"]
NOT_PLAIN += ["pull", "pull --help", "pull a b", "pull a --quiet", "pull --json a", "push a"]


@pytest.mark.parametrize("words", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_typer(words):
    assert read_image(["image", *words.split()]) is None


LOADED = """
import json, sys
from volt.cli import main
status = main(sys.argv[1:])
wanted = {"typer", "pydantic", "rich", "click", "requests", "oras", "zstandard"}
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules} & wanted)]))
"""


def loaded(tmp_path, *words):
    """What is printed, the status, and what was imported on the way."""
    argv = [sys.executable, "-c", LOADED, "image", *map(str, words)]
    environment = {"VOLT_ROOT": str(tmp_path / "volt")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    return printed, *json.loads(last), done.stderr


def test_a_plain_import_prints_what_the_other_one_prints_and_imports_little(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("content")
    printed, status, modules, said = loaded(tmp_path, "import", tmp_path / "tree", "one")
    if status:  # without root both refuse it
        assert "root's alone" in said
    assert modules == []
    again, same, more, _ = loaded(tmp_path, "import", "--allow-devices", tmp_path / "tree", "one")
    assert (again, same) == (printed, status)
    assert "typer" in more


def test_a_failure_is_told_in_the_same_words(tmp_path):
    _, status, _, said = loaded(tmp_path, "import", tmp_path / "missing")
    assert (status, said) == loaded(tmp_path, "import", "--allow-devices", tmp_path / "missing")[1::2]
    assert status == 1
