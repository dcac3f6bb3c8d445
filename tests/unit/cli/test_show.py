"""volt show and volt schema: the resolved workload as a manifest, where its values were written, and the schema."""

import json

import pytest

from volt.manifest import schema

BASE = '[workload]\nmode = "container"\n[storage]\nrootfs = "root"\n'
CHILD = 'extends = "base.toml"\n[workload]\nname = "${NAME:-web}"\n'


@pytest.fixture
def files(volt, tmp_path):
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "web.toml").write_text(CHILD)
    return tmp_path


def test_bases_variables_paths_and_defaults_are_filled_in(volt, files):
    said = volt("show", "web.toml", "--set", "NAME=shop")
    assert (said.status, said.err) == (0, "")
    assert 'name = "shop"\nmode = "container"\n' in said.out
    assert f'rootfs = "{files}/root"\n' in said.out
    assert 'writable_layer = "overlay"\n' in said.out
    assert "extends" not in said.out


def test_what_is_shown_stands_by_itself(volt, files):
    shown = volt("show", "web.toml").out
    assert volt("validate", "-", stdin=shown.encode()).status == 0
    assert volt("show", "-", stdin=shown.encode()).out == shown


def test_origin_names_the_place_of_each_value(volt, files):
    lines = volt("show", "--origin", "web.toml").out.split("\n")
    assert 'name = "web"  # web.toml:3:8' in lines
    assert 'mode = "container"  # base.toml:2:8' in lines
    assert 'writable_layer = "overlay"  # default' in lines


def test_the_document_has_values_places_and_notes(volt, files):
    (files / "web.toml").write_text(CHILD + '[kernel]\ncmdline = "quiet"')
    document = volt("show", "web.toml", "--json").document
    assert set(document) == {"version", "workload", "origins", "notes"}
    assert document["version"] == 1
    assert document["workload"]["workload"]["name"] == "web"
    assert document["origins"]["storage.rootfs"] == {"file": "base.toml", "line": 4, "column": 10}
    assert [note["code"] for note in document["notes"]] == ["ignored"]


def test_a_note_goes_to_standard_error(volt, files):
    (files / "web.toml").write_text(CHILD + '[kernel]\ncmdline = "quiet"')
    said = volt("show", "web.toml")
    assert said.status == 0
    assert "note: kernel.cmdline is ignored" in said.err
    assert said.out.startswith("[workload]")
    assert "ignored" not in said.out


def test_a_bad_manifest_is_not_shown(volt, files):
    (files / "base.toml").write_text(BASE + "odd = 1")
    said = volt("show", "web.toml")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("base.toml:5:7: error: ")


def test_a_bad_manifest_as_json_is_its_findings(volt, files):
    (files / "base.toml").write_text(BASE + "odd = 1")
    said = volt("show", "web.toml", "--json")
    assert said.status == 2
    (finding,) = said.document["findings"]
    assert (finding["code"], finding["file"], finding["line"], finding["column"]) == ("unknown-key", "base.toml", 5, 7)
    assert finding["hint"]


def test_the_path_of_standard_input_needs_a_folder(volt):
    said = volt("show", "-", stdin=BASE.encode() + b'[network]\nmode = "none"')
    assert said.status == 2
    assert "<stdin>:4:10: error: 'root' is relative" in said.err


def test_what_a_terminal_would_obey_is_escaped(volt, monkeypatch):
    monkeypatch.setenv("ODD", "\x1b[2J\u202e")
    text = b'[workload]\nname = "web"\nmode = "container"\ndescription = "${ODD}"'
    said = volt("show", "-", stdin=text)
    assert r'description = "\u001b[2J\u202e"' in said.out


def test_a_variable_that_is_no_text_is_a_finding(volt, monkeypatch):
    monkeypatch.setenv("ODD", "\udcff")
    text = b'[workload]\nname = "web"\nmode = "container"\ndescription = "${ODD}"'
    said = volt("show", "-", stdin=text)
    assert said.status == 2
    assert r"'\udcff' is not UTF-8 [bad-text]" in said.err


def test_the_schema_is_printed_as_json(volt):
    said = volt("schema")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out) == schema()
