"""volt explain: sentences for people, a document for programs, findings as of any plan."""

import pytest

MANIFEST = """
[workload]
name = "page"
mode = "container"
command = ["true"]
[network]
mode = "none"
[storage]
rootfs = "host"
writable_layer = "${LAYER:-none}"
"""


@pytest.fixture
def page(volt, tmp_path):
    (tmp_path / "page.toml").write_text(MANIFEST)
    return lambda *words: volt("explain", "page.toml", *words)


def test_it_is_said_in_sections_of_sentences(page):
    said = page()
    assert (said.status, said.err) == (0, "")
    first, *lines = said.out.splitlines()
    assert first == "page, in container mode"
    assert all(not line or line.startswith("  ") or line[0].isupper() for line in lines)
    assert "\nFiles that it may write\n  - It may write, make and remove files in " in said.out
    assert "  - Elsewhere it writes nothing. [" in said.out
    assert max(map(len, lines)) <= 110


def test_the_document_says_the_same(page):
    document = page("--json").document
    assert (document["version"], document["name"]) == (1, "page")
    shown = " ".join(page().out.split())
    for section in document["sections"]:
        for one in section["statements"]:
            walls = f" [{', '.join(one['walls'])}]" if one["walls"] else ""
            assert " ".join((one["text"] + walls).split()) in shown


def test_it_takes_the_arguments_of_plan(page):
    assert "its root: memory" not in page().out
    assert "its root: memory" in page("--set", "LAYER=tmpfs").out
    assert page("--allow-unenforced", "landlock", "--env", "A=b", "--fresh", "--", "id").status == 0


def test_a_bad_manifest_is_a_finding(page, tmp_path):
    (tmp_path / "page.toml").write_text(MANIFEST.replace('"true"', ""))
    said = page()
    assert (said.status, said.out) == (2, "")
    assert "no-command" in said.err
    assert page("--", "true").status == 0
