"""volt validate: all problems of all files in one go, and the exit status."""

import os
import subprocess
import sys

import pytest

GOOD = '[workload]\nname = "web"\nmode = "container"\n'
CHAIN = {
    "web.toml": """\
extends = "base/service.toml"

[workload]
name = "Web"
comand = ["true"]
user = "70000"

[resources]
memory_limit = "4X"
cpu_weight = "high"
""",
    "base/service.toml": """\
# What every service has.
extends = "../machine.toml"

[network]
mode = "nat"
dns = [
    "1.1.1.1",
    "dns.example",  # é: characters are counted, not bytes
]

[[storage.volumes]]
host = "data"
container = "/proc"
""",
    "machine.toml": """\
[workload]
mode = "containr"

[security]
capabilities = ["KILL", "NET_ROOT"]

[limits]
nofile = "10:5"
nofiles = 3

[service]
stop_timeout = "10 minutes, ${WORD}"
""",
}
MISTAKES = [
    ("bad-name", "web.toml:4:8"),
    ("unknown-key", "web.toml:5:10"),
    ("bad-user", "web.toml:6:8"),
    ("bad-size", "web.toml:9:16"),
    ("wrong-type", "web.toml:10:14"),
    ("bad-network-mode", "base/service.toml:5:8"),
    ("bad-address", "base/service.toml:8:5"),
    ("bad-mount-point", "base/service.toml:13:13"),
    ("bad-mode", "machine.toml:2:8"),
    ("bad-capability", "machine.toml:5:25"),
    ("bad-limit", "machine.toml:8:10"),
    ("bad-limit", "machine.toml:9:11"),
    ("undefined-variable", "machine.toml:12:16"),
]


@pytest.fixture
def chain(volt, tmp_path):
    """Three files with mistakes."""
    (tmp_path / "base").mkdir()
    for name, text in CHAIN.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_mistake_of_every_file_is_reported_at_its_place(volt, chain):
    said = volt("validate", "web.toml")
    assert (said.status, said.out) == (2, "")
    blocks = said.err.rstrip("\n").split("\n\n")
    assert len(MISTAKES) >= 12
    for block, (code, place) in zip(blocks, MISTAKES, strict=True):
        head, line, caret, hint = block.split("\n")
        assert head.startswith(f"{place}: error: ")
        assert head.endswith(f" [{code}]")
        file, number, column = place.split(":")
        assert line == "    " + CHAIN[file].split("\n")[int(number) - 1]
        assert caret == " " * (3 + int(column)) + "^"
        assert hint.startswith("hint: ")


def test_the_document_has_the_same(volt, chain):
    said = volt("validate", "web.toml", "--json")
    assert said.status == 2
    assert said.document["version"] == 1
    found = said.document["findings"]
    assert [(one["code"], f"{one['file']}:{one['line']}:{one['column']}") for one in found] == MISTAKES
    for one in found:
        assert one["source"] == CHAIN[one["file"]].split("\n")[one["line"] - 1]
        assert one["severity"] == "error"
        assert all(one[field] for field in ("key", "message", "hint"))


def test_a_mistake_of_a_base_that_two_files_share_is_reported_once(volt, chain):
    (chain / "other.toml").write_text('extends = "machine.toml"\n[workload]\nname = "other"\n')
    said = volt("validate", "web.toml", "other.toml", "--json")
    places = [f"{one['file']}:{one['line']}:{one['column']}" for one in said.document["findings"]]
    assert places == [place for _, place in MISTAKES]


def test_a_good_file_is_said_to_be_good(volt, tmp_path):
    (tmp_path / "web.toml").write_text(GOOD)
    assert volt("validate", "web.toml", "web.toml") == (0, "no problems in web.toml, web.toml\n", "")
    said = volt("validate", "web.toml", "--json")
    assert (said.status, said.document) == (0, {"version": 1, "findings": []})


def test_a_note_is_no_problem(volt, tmp_path):
    (tmp_path / "web.toml").write_text(GOOD + '[kernel]\nversion = "6.1"')
    said = volt("validate", "web.toml")
    assert (said.status, said.out) == (0, "no problems in web.toml\n")
    assert said.err.startswith("web.toml:5:11: note: ")
    assert volt("validate", "web.toml", "--json").document["findings"][0]["severity"] == "note"


def test_one_bad_file_among_good_ones_decides(volt, tmp_path):
    (tmp_path / "web.toml").write_text(GOOD)
    said = volt("validate", "web.toml", "missing.toml", "web.toml")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("missing.toml: error: ")


def test_a_dash_reads_standard_input(volt):
    assert volt("validate", "-", stdin=GOOD.encode()).status == 0
    said = volt("validate", "-", stdin=b"odd = 1\n" + GOOD.encode())
    assert said.err.startswith("<stdin>:1:7: error: there is no key 'odd' here [unknown-key]\n    odd = 1\n")


def test_set_gives_a_variable_its_value(volt, tmp_path):
    (tmp_path / "web.toml").write_text(GOOD.replace("web", "${NAME}"))
    assert volt("validate", "web.toml").status == 2
    assert volt("validate", "web.toml", "--set", "NAME=web").status == 0
    assert volt("validate", "web.toml", "--set", "NAME=Web").status == 2


@pytest.mark.parametrize("word", ["NAME", "=x"])
def test_set_without_a_name_or_a_value_is_a_failure(volt, word):
    said = volt("validate", "web.toml", "--set", word)
    assert (said.status, said.out) == (1, "")
    assert said.err.endswith("hint: write --set NAME=VALUE\n")
    document = volt("validate", "web.toml", "--set", word, "--json").document
    assert document["version"] == 1
    assert set(document["error"]) == {"kind", "message", "hint"}


def test_a_wrong_call_ends_with_2(volt):
    assert volt("validate").status == 2
    assert volt("validate", "--colour", "web.toml").status == 2


def test_a_removed_folder_is_a_failure(volt, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = volt("validate", "web.toml")
    assert (said.status, said.err) == (1, "volt: the current folder does not exist any more\nhint: cd to another one\n")


def test_odd_bytes_of_a_name_are_escaped_on_the_terminal(volt, tmp_path):
    name = os.fsencode(tmp_path) + b"/\x1b[2J\xff.toml"
    with open(name, "wb") as file:
        file.write(GOOD.encode() + b'"\\u001b[31m" = 1\n[network]\nmode = "\\u009b2J"')
    command = [sys.executable, "-m", "volt", "validate", name]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    text = done.stderr.decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert r"\x1b[2J\udcff.toml:4:16: error: there is no key '\x1b[31m' here" in text
    assert r"'\x9b2J' is none of bridge" in text
    with open(name, "wb") as file:
        file.write(GOOD.encode())
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().endswith("\\x1b[2J\\udcff.toml\n")) == (0, True)
