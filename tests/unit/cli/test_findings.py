"""Findings in print: the place, the message, the line with a caret that stands below the value."""

import pytest

from volt.cli.findings import document, render
from volt.model.findings import Bound, Finding, Place
from volt.model.values import replace

WRONG = Finding("bad-size", "a.b", "'4X' is not a size", "write 512M", Place("a.toml", 3, 5), 'b = "4X"')


def caret(source: str, column: int) -> list[str]:
    finding = Finding("x", "", "m", "", Place("a", 1, column), source)
    return render([finding]).split("\n")[1:]


def test_a_finding_says_where_what_and_what_to_write():
    assert render([WRONG]).split("\n") == [
        "a.toml:3:5: error: '4X' is not a size [bad-size]",
        '    b = "4X"',
        "        ^",
        "hint: write 512M",
    ]


def test_a_blank_line_stands_between_two():
    assert "\n\n" in render([WRONG, WRONG])
    assert render([]) == ""


def test_what_is_unknown_is_left_out():
    assert render([Finding("x", "", "m")]) == "error: m [x]"
    assert render([Finding("x", "", "m", place=Place("a.toml"), severity="note")]) == "a.toml: note: m [x]"


@pytest.mark.parametrize(
    ("source", "column", "shown", "below"),
    [
        ("a = 1", 5, "a = 1", 4),
        ("\ta = 1", 6, "    a = 1", 8),
        ("é = ü", 5, "é = ü", 4),
        ("漢 = 1", 5, "漢 = 1", 5),
        ("e\u0301 = 1", 6, "e\u0301 = 1", 4),
        ("\x1b = 1", 5, r"\x1b = 1", 7),
    ],
)
def test_the_caret_stands_below_the_value(source, column, shown, below):
    assert caret(source, column) == [f"    {shown}", f"    {' ' * below}^"]


def test_of_a_long_line_the_part_around_the_value_is_shown():
    source = "a = [" + "1, " * 1000 + "x]"
    shown, below = caret(source, source.index("x") + 1)
    assert shown[below.index("^")] == "x"
    assert len(shown) < 200


@pytest.mark.parametrize("odd", ["\x1b[2J", "\x9b2J", "\u202e", "a\nb", "\udcff", "\x00"])
def test_no_terminal_obeys_a_finding(odd):
    text = render([Finding("x", odd, odd, odd, Place(odd, 1, 1), odd)])
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text.split("\n")) == 4


def test_the_document_has_every_value_of_a_finding():
    assert document([WRONG]) == {
        "version": 1,
        "findings": [
            {
                "code": "bad-size",
                "severity": "error",
                "key": "a.b",
                "message": "'4X' is not a size",
                "hint": "write 512M",
                "file": "a.toml",
                "line": 3,
                "column": 5,
                "source": 'b = "4X"',
                "policy": None,
            }
        ],
    }


BOUND = Bound("network.mode", Place("/etc/volt/policy.toml", 2, 8), 'mode = ["none"]')
BEYOND = Finding(
    "beyond-policy", "network.mode", "no", "write none", Place("a.toml", 3, 8), 'mode = "host"', policy=BOUND
)


def test_what_is_beyond_the_policy_is_shown_with_both_lines():
    assert render([BEYOND]).split("\n") == [
        "a.toml:3:8: error: no [beyond-policy]",
        '    mode = "host"',
        "           ^",
        "/etc/volt/policy.toml:2:8: the policy of this machine: network.mode",
        '    mode = ["none"]',
        "           ^",
        "hint: write none",
    ]


def test_a_line_of_the_policy_that_may_not_be_quoted_is_named():
    hidden = replace(BEYOND, policy=replace(BOUND, source=""))
    assert render([hidden]).split("\n")[3:] == [
        "/etc/volt/policy.toml:2:8: the policy of this machine: network.mode",
        "hint: write none",
    ]


def test_the_document_has_both_places():
    (value,) = document([BEYOND])["findings"]
    assert (value["file"], value["line"], value["column"], value["source"]) == ("a.toml", 3, 8, 'mode = "host"')
    assert value["policy"] == {
        "key": "network.mode",
        "file": "/etc/volt/policy.toml",
        "line": 2,
        "column": 8,
        "source": 'mode = ["none"]',
    }


def test_a_document_has_null_for_what_is_unknown_and_no_endless_line():
    (value,) = document([Finding("x", "", "m", place=Place("a.toml"), source="x" * 1001)])["findings"]
    assert (value["line"], value["column"], value["source"]) == (None, None, "")
