"""The form of a cache entry: what it says is where the description says, and everything in it is sealed."""

import hashlib
import struct

import pytest

from volt.model import entry
from volt.model.entry import Dependency, Depends, blob, digest, encode_entry, entry_version, file_name, question

KEY = bytes(range(16))
ASKED = question([b"run", b"m.toml"], program=b"/bin", path=b"", folder=b"/srv", root=b"", terminal=0, term=b"")
FILE = Dependency(Depends.FILE, b"/etc/passwd", (1, 2, 3, 4, 5))


def parts(whole):
    """magic, version, length, seal; question; dependencies; plan."""
    header = entry.HEADER.unpack_from(whole)
    body, at, found = whole[entry.HEADER.size :], 0, []

    def number(form):
        nonlocal at
        (value,) = struct.unpack_from(form, body, at)
        at += struct.calcsize(form)
        return value

    def bytes_():
        nonlocal at
        length = number("<I")
        at += length
        return body[at - length : at]

    asked = bytes_()
    for _ in range(number("<I")):
        kind, name = Depends(number("<I")), bytes_()
        found.append(Dependency(kind, name, tuple(number("<Q") for _ in range(entry.NUMBERS))))
    plan = bytes_()
    assert at == len(body)
    return header, asked, tuple(found), plan


def test_an_entry_says_what_it_was_made_of():
    listed = (FILE, Dependency(Depends.UNSET, b"HOME"), Dependency(Depends.CAPABILITIES, b"", (2**64 - 1,)))
    whole = encode_entry(ASKED, listed, b"plan", KEY)
    header, asked, found, plan = parts(whole)
    assert header[:3] == (b"VOLTCACH", entry_version(), len(whole))
    assert (asked, plan) == (ASKED, b"plan")
    assert found[0] == FILE
    assert found[1] == Dependency(Depends.UNSET, b"HOME", (0,) * 5)
    assert found[2].numbers == (2**64 - 1, 0, 0, 0, 0)


def test_the_seal_is_of_all_that_follows_under_the_key():
    whole = encode_entry(ASKED, [FILE], b"plan", KEY)
    seal, body = whole[16:32], whole[32:]
    assert seal == hashlib.blake2s(body, digest_size=16, key=KEY).digest()
    assert digest(body, bytes(16)) != seal


def test_the_header_has_the_length_that_is_documented():
    assert entry.HEADER.size == 8 + 4 + 4 + 16
    assert encode_entry(b"", [], b"", KEY)[32:] == bytes(12)


def test_the_name_follows_from_the_question_and_the_key():
    assert file_name(ASKED, KEY) == hashlib.blake2s(ASKED, digest_size=16, key=KEY).hexdigest()
    assert file_name(ASKED, KEY) != file_name(ASKED, bytes(16))
    assert file_name(ASKED, KEY) != file_name(ASKED + b"\0", KEY)


OTHER = {
    "words": [b"run", b"other"],
    "program": b"/other",
    "path": b"/other",
    "folder": b"/other",
    "root": b"/other",
    "terminal": 1,
    "term": b"other",
}
GIVEN = {"program": b"", "path": b"", "folder": b"", "root": b"", "terminal": 0, "term": b""}


@pytest.mark.parametrize("name", OTHER)
def test_every_part_of_the_question_makes_another(name):
    given = {"words": [b"run", b"x"], **GIVEN}
    assert asked(**given) != asked(**{**given, name: OTHER[name]})


def asked(words, **given):
    return question(words, **given)


def test_no_two_lists_of_words_are_one_question():
    """A word cannot hold the zero byte that ends each."""
    for one, other in (
        ([b"run", b"a b"], [b"run", b"a", b"b"]),
        ([b"run", b""], [b"run"]),
        ([b"run", b"", b"x"], [b"run", b"x", b""]),
    ):
        assert question(one, **GIVEN) != question(other, **GIVEN)


def test_a_digest_as_two_numbers_is_little_endian():
    low, high = entry.numbers_of(b"text", KEY)
    assert low.to_bytes(8, "little") + high.to_bytes(8, "little") == digest(b"text", KEY)


def test_the_version_is_31_bits_and_follows_the_tables(monkeypatch):
    before = entry_version()
    assert 0 <= before < 2**31
    monkeypatch.setattr(entry, "table_version", lambda: 0)
    assert entry_version() != before


def test_the_kinds_have_numbers_that_never_change():
    """Another number for a kind has to change the version, which follows from this table."""
    assert {kind.name: kind.value for kind in Depends} == {
        "FILE": 1,
        "LINK": 2,
        "ABSENT": 3,
        "PLACE": 4,
        "TEXT": 5,
        "UNSET": 6,
        "CAPABILITIES": 7,
        "LIMIT": 8,
    }


def test_a_blob_says_how_long_it_is():
    assert blob(b"abc") == b"\3\0\0\0abc"
