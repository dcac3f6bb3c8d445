"""Whatever a document holds: no traceback, a place for every finding, and nothing lost in writing."""

import math
from dataclasses import replace

import tomli
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.manifest import strategies
from tests.unit.manifest.strategies import many, toml
from tests.unit.manifest.world import World
from volt.cli.findings import document, render
from volt.manifest import encode, forms, from_json, parse, resolve, show, to_json
from volt.model.modes import Mode
from volt.model.sizes import Size


class Anywhere(World):
    """Every path exists."""

    def exists(self, path: str) -> bool:
        return "\0" not in path


def examine(*documents: bytes) -> None:
    """Resolves documents that extend each other as they say, and looks at what comes out."""
    files = dict(zip(("a.toml", "b.toml", "c.toml"), documents, strict=False))
    result = resolve("a.toml", Anywhere(files, variables={"X": "x"}))
    for finding in result.findings:
        assert finding.code
        assert finding.message
        assert finding.place is not None
        assert finding.place.file in files
        lines = files[finding.place.file].count(b"\n") + 1
        assert 0 <= finding.place.line <= lines
    assert (result.workload is None) == any(finding.severity == "error" for finding in result.findings)
    assert "\x1b" not in render(result.findings)
    assert len(document(result.findings)["findings"]) == len(result.findings)
    assert len(dict(result.origins)) == len(result.origins)


@many
@given(strategies.tables)
def test_anything_that_toml_can_say_is_judged(table):
    examine(toml(table))


@many
@given(strategies.tables, strategies.tables | strategies.valid, strategies.valid)
def test_so_is_a_chain_of_anything(child, middle, base):
    examine(toml({**child, "extends": "b.toml"}), toml({**middle, "extends": "c.toml"}), toml(base))


@many
@given(strategies.damaged())
def test_a_damaged_manifest_is_judged(data):
    examine(data)


@many
@given(st.binary(max_size=200))
def test_raw_bytes_are_judged(data):
    examine(data)
    examine(b'extends = "b.toml"', data)


def same(one, other) -> bool:
    """Equal, with nan equal to nan, and 1 not to 1.0 or true."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


@many
@given(strategies.tables)
def test_toml_is_read_and_written_without_loss(table):
    written = encode(parse(toml(table)))
    assert same(tomli.loads(written.decode()), tomli.loads(toml(table).decode()))


@many
@given(strategies.tables)
def test_json_is_read_and_written_without_loss(table):
    manifest = parse(toml(table))
    assert same(from_json(to_json(manifest)).table(), manifest.table())


def filled(workload):
    """With the defaults written out that showing writes out."""
    security, storage = workload.security, workload.storage
    return replace(
        workload,
        given={},
        hostname=workload.host_name,
        security=replace(
            security,
            landlock_profile=security.landlock_profile or "default",
            seccomp_profile=security.seccomp_profile or "default",
            no_new_privs=workload.mode != Mode.HYBRID_NATIVE
            if security.no_new_privs is None
            else security.no_new_privs,
        ),
        storage=replace(storage, shm_size=storage.shm_size or Size.parse("64M")),
    )


@many
@given(
    st.sampled_from(["", "notify", "tcp:", "http:", "http:80/", "file:/", "log:"]),
    strategies.text | st.from_regex(r"\d+/.*"),
)
def test_a_sign_of_readiness_is_refused_or_says_the_same_again(kind, rest):
    try:
        found = forms.ready(kind + rest)
    except ValueError:
        return
    assert forms.ready(str(found)) == found
    assert not {*"\0\r\n"} & {*found.text} or found.kind == "file"
    assert "\0" not in found.text
    assert found.kind != "http" or (found.text.startswith("/") and found.text.isascii() and " " not in found.text)


@many
@given(strategies.valid, st.booleans())
def test_what_is_shown_is_the_same_workload_again(table, origins):
    first = resolve(table, Anywhere(), base="/home")
    assume(first.workload is not None)
    text = show(first).text(origins=origins)
    assert all(character.isprintable() or character == "\n" for character in text)
    second = resolve(text.encode(), Anywhere())
    assert second.workload is not None, second.findings
    assert replace(second.workload, given={}) == filled(first.workload)
    assert show(second).text() == show(first).text()
