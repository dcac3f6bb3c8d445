"""Where a value was written: line and column in characters, whatever the notation."""

import pytest

from tests.unit.manifest.world import COMPLETE, found, resolved
from volt.manifest.keys import below, dotted, path_of
from volt.manifest.locate import positions

CASES = {
    "a value": ("a = 1", ("a",), (1, 5)),
    "characters, not bytes": ('"é" = { ü = "ö", x = 1 }', ("é", "x"), (1, 22)),
    "a tab is one": ("\ta\t=\t1", ("a",), (1, 6)),
    "a table": ("\n[a.b]\nc = 1", ("a", "b"), (2, 2)),
    "a table that only a header implies": ("\n[a.b]\nc = 1", ("a",), (2, 2)),
    "its own header, which comes later": ("[a.b]\nc = 1\n[a]\nd = 1", ("a",), (3, 2)),
    "a value in a table": ("\n[a.b]\nc = 1", ("a", "b", "c"), (3, 5)),
    "an array": ("a = [1,\n  2, # two\n  3]", ("a", 2), (3, 3)),
    "an array in an array": ("a = [[], [1, [2]]]", ("a", 1, 1, 0), (1, 15)),
    "an inline table": ("a = { b = { c = 1 } }", ("a", "b", "c"), (1, 17)),
    "tables in an array": ("a = [{ b = 1 }, { b = 2 }]", ("a", 1, "b"), (1, 23)),
    "an array of tables": ("[[a]]\nb = 1\n[[a]]\nb = 2", ("a", 1, "b"), (4, 5)),
    "the array itself": ("[[a]]\nb = 1\n[[a]]\nb = 2", ("a",), (1, 3)),
    "an element of it": ("[[a]]\nb = 1\n[[a]]\nb = 2", ("a", 1), (3, 3)),
    "a table below an array of tables": ("[[a]]\n[[a]]\n[a.b]\nc = 1", ("a", 1, "b", "c"), (4, 5)),
    "arrays of tables in each other": ("[[a]]\n[[a.b]]\n[[a]]\n[[a.b]]\n[[a.b]]\nc = 1", ("a", 1, "b", 1, "c"), (6, 5)),
    "a dotted key": ("a.b . c = 1", ("a", "b", "c"), (1, 11)),
    "a table that only a dotted key implies": ("\na.b.c = 1", ("a", "b"), (2, 1)),
    "a quoted key": ('"a b"."c.d".\'e"\' = 1', ("a b", "c.d", 'e"'), (1, 20)),
    "a key with an escape": ('"\\u00e9\\"" = 1', ('é"',), (1, 14)),
    "a text of several lines": ('a = """\nx\n"""\nb = 1', ("b",), (4, 5)),
    "behind a comment": ("# é\n\n# [x]\na = 1 # b = 2", ("a",), (4, 5)),
    "the whole": ("a = 1", (), (1, 1)),
}


@pytest.mark.parametrize(("text", "path", "position"), CASES.values(), ids=CASES)
def test_a_value_is_found(text, path, position):
    assert positions(text.encode())[path] == position
    assert positions(b"\xef\xbb\xbf" + text.encode())[path] == position
    assert positions(text.replace("\n", "\r\n").encode())[path] == position


def test_a_missing_key_is_reported_at_its_table():
    assert found(resolved('[network]\n[workload.env]\nA = "1"')) == [("missing-key", "a.toml:2:2")] * 2
    assert found(resolved("[network]\n[workload]")) == [("missing-key", "a.toml:2:2")] * 2
    assert found(resolved("[network]")) == [("missing-key", "a.toml:1:1")] * 2
    assert found(resolved("")) == [("missing-key", "a.toml")] * 2


def test_findings_stand_in_the_order_of_the_chain_and_of_the_lines():
    child = 'odd = 1\n[workload]\nname = "W"\nhostname = "-"\n'
    places = [str(finding.place) for finding in resolved(child, 'odder = 1\n[workload]\nmode = "x"').findings]
    assert places == ["a.toml:2:7", "a.toml:4:8", "a.toml:5:12", "b.toml:1:9", "b.toml:3:8"]


def test_every_element_of_a_list_has_its_own_place():
    text = COMPLETE + '[network]\nmode = "host"\nports = [\n"8080",\n"80",\n"9000:9000",\n]'
    assert found(resolved(text)) == [("privileged-port", "a.toml:8:1"), ("published-under-host", "a.toml:9:1")]


def test_a_long_line_is_searched_once():
    text = ("a = [" + "1," * 200_000 + "]").encode()
    assert positions(text)["a", 199_999] == (1, 400_004)


@pytest.mark.parametrize("path", [("a",), ("a", 0, "b"), ("a", "b.c"), ("a b", 'd"e\\'), ("é", 3, 4), ("", "[0]")])
def test_a_dotted_key_means_one_path(path):
    assert path_of(dotted(path)) == path


def test_a_name_that_is_no_bare_key_stands_in_quotes():
    assert below("workload.labels", "org.example") == 'workload.labels."org.example"'


def test_a_label_with_a_dot_has_an_origin():
    result = resolved(COMPLETE + 'labels = { "org.example" = "x" }')
    assert str(result.origins['workload.labels."org.example"']) == "a.toml:4:28"
    assert [str(place) for place in dict(result.origins).values()] == ["a.toml:2:8", "a.toml:3:8", "a.toml:4:28"]
