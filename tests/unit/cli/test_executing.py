"""A plain `volt exec` is read without typer: options, a name, and words that are the command's own."""

import pytest

from volt.cli.executing import Wanted, read_exec


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("web -- ls -l", Wanted("web", ("ls", "-l"))),
        ("web ls -l", Wanted("web", ("ls", "-l"))),
        ("web sh -c -- x", Wanted("web", ("sh", "-c", "--", "x"))),
        ("-it -u root web sh", Wanted("web", ("sh",), interactive=True, terminal=True, user="root")),
        ("web -w /srv -e A=b -e C=d -- env", Wanted("web", ("env",), folder="/srv", env=("A=b", "C=d"))),
        ("-i web -- -i", Wanted("web", ("-i",), interactive=True)),
    ],
)
def test_plain_words_are_read_here(words, wanted):
    assert read_exec(["exec", *words.split()]) == wanted


@pytest.mark.parametrize("words", ["", "web", "web --", "-- ls", "--help", "web -u", "-x web ls", "--user=root web ls"])
def test_what_is_not_plain_is_left_to_typer(words):
    assert read_exec(["exec", *words.split()]) is None
