"""NAME=VALUE words of a command line."""

import pytest

from volt.cli.words import pairs
from volt.errors import VoltError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, {}),
        ([], {}),
        (["A=1", "B=2"], {"A": "1", "B": "2"}),
        (["A=1", "A=2"], {"A": "2"}),
        (["A="], {"A": ""}),
        (["A=b=c"], {"A": "b=c"}),
        (["A= b "], {"A": " b "}),
    ],
)
def test_a_word_is_a_name_and_a_value_and_a_later_one_wins(words, expected):
    assert pairs(words, "--env") == expected


@pytest.mark.parametrize("word", ["A", "", "=1", "="])
def test_anything_else_is_refused_with_what_to_write(word):
    with pytest.raises(VoltError) as caught:
        pairs(["B=2", word], "--set")
    assert caught.value.message == f"--set {word}: not of the form NAME=VALUE"
    assert caught.value.hint == "write --set NAME=VALUE"


@pytest.mark.parametrize("seconds", ["inf", "nan", "-1"])
@pytest.mark.parametrize("verb", ["stop", "wait", "restart", "rm"])
def test_a_time_is_a_number_of_seconds(volt, verb, seconds):
    said = volt(verb, "--timeout", seconds, "web")
    assert said.status == (125 if verb == "wait" else 2)
    assert "Invalid value for '--timeout'" in said.err
