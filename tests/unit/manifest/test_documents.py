"""Reading a manifest judges nothing, and writing it loses nothing: TOML and JSON, both ways."""

import json

import pytest
import tomli

from volt.manifest import encode, from_json, load_file, parse, to_json
from volt.model.manifest import Manifest, Mode, SecuritySection, WorkloadSection


def test_a_manifest_of_mistakes_is_read_as_it_stands():
    manifest = parse(b'[workload]\nmode = "submarine"\nname = 7\n[resources]\nmemory_limit = "4X"\n')
    assert manifest.workload.mode == "submarine"
    assert manifest.workload.name == 7
    assert manifest.resources.memory_limit == "4X"


def test_an_empty_text_is_a_manifest():
    assert encode(parse(b"")) == b""


@pytest.mark.parametrize(
    "text",
    [
        b'colour = "red"\n',
        b'[workload]\nname = "web"\nfavourite = ["a", 1]\n',
        b"[nettwork]\nmode = 1\n",
        b'[[storage.volumes]]\nhost = "a"\nodd = true\nas = "1:2"\nas_ = "3"\n',
    ],
)
def test_unknown_keys_are_kept(text):
    assert tomli.loads(encode(parse(text)).decode()) == tomli.loads(text.decode())


@pytest.mark.parametrize("name", ["_fields_set", "self", "cls", "model_config", "model_fields", "__dict__", "as_"])
def test_a_key_may_have_any_name(name):
    text = f"{name} = 1\n[workload]\n{name} = 2\n".encode()
    assert encode(parse(text)) == text.replace(b"[", b"\n[")


@pytest.mark.parametrize("text", [b"workload = 3", b"storage = []", b'storage = { volumes = [1, "..."] }'])
def test_a_section_of_another_type_is_kept(text):
    assert tomli.loads(encode(parse(text)).decode()) == tomli.loads(text.decode())


def test_an_empty_list_of_capabilities_is_not_an_absent_one():
    assert b"capabilities = []" in encode(parse(b"[security]\ncapabilities = []\n"))
    assert b"capabilities" not in encode(parse(b"[security]\n"))
    made = Manifest(
        workload=WorkloadSection(name="web", mode=Mode.CONTAINER), security=SecuritySection(capabilities=[])
    )
    assert encode(made) == b'[workload]\nname = "web"\nmode = "container"\n\n[security]\ncapabilities = []\n'


def test_where_a_manifest_came_from_is_known_and_never_written(tmp_path):
    path = tmp_path / "web.toml"
    path.write_bytes(b'[workload]\nname = "web"\n')
    manifest = load_file(path)
    assert manifest.source_path == str(path)
    assert encode(manifest) == path.read_bytes()
    assert "source_path" not in to_json(manifest)
    assert parse(b"").source_path == ""


def test_a_key_named_source_path_is_an_unknown_key(tmp_path):
    path = tmp_path / "web.toml"
    path.write_bytes(b'source_path = "mine"\n')
    manifest = load_file(path)
    assert manifest.source_path == str(path)
    assert encode(manifest) == b'source_path = "mine"\n'


EVERY_TYPE = b"""\
[workload]
text = "a\\tb\\u0000"
whole = -3
large = 123456789012345678901234567890
point = 1.5
endless = -inf
undefined = nan
true = true
day = 1979-05-27
hour = 07:32:00.5
moment = 1979-05-27T07:32:00
zoned = 1979-05-27T07:32:00.25+02:00
list = [1, [2.5, "x"], { a = 1 }]
table = { "$toml" = "float", value = "nan" }

[labels]
"$toml" = "date"
value = "1979-05-27"
"""


def test_json_has_every_type_that_toml_has():
    once = encode(parse(EVERY_TYPE))
    assert encode(from_json(to_json(parse(EVERY_TYPE)))) == once
    assert encode(parse(once)) == once
    assert json.loads(to_json(parse(EVERY_TYPE)))["workload"]["day"] == {"$toml": "date", "value": "1979-05-27"}


@pytest.mark.parametrize("text", ["[]", "3", '{"a": null}', '{"a": [null]}', "{", "[" * 100000])
def test_json_that_is_no_manifest_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


def test_a_byte_order_mark_and_crlf_are_accepted():
    assert parse(b'\xef\xbb\xbf[workload]\r\nname = "web"\r\n').workload.name == "web"


@pytest.mark.parametrize(
    "text", [b"a =", b"a = 1\na = 2", b"\xff", b"a = 1\x00", b"a = 0x" + b"f" * 9999, b"a = " + b"[" * 99999]
)
def test_what_is_no_toml_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(
    ("mode", "hybrid", "kernel"),
    [
        ("container", False, False),
        ("hybrid-native", True, True),
        ("hybrid-kvm", True, True),
        ("hybrid-emulated", True, False),
        ("submarine", False, False),
    ],
)
def test_what_a_mode_is(mode, hybrid, kernel):
    manifest = parse(f'[workload]\nmode = "{mode}"'.encode())
    assert (manifest.is_hybrid, manifest.needs_kernel) == (hybrid, kernel)


@pytest.mark.parametrize("text", [b"", b"workload = 1\nstorage = 2", b"workload.mode = []\nstorage.rootfs = {}"])
def test_an_absent_or_odd_mode_is_none(text):
    manifest = parse(text)
    assert [manifest.is_hybrid, manifest.needs_kernel, manifest.has_cas_rootfs] == [False, False, False]


@pytest.mark.parametrize(
    ("rootfs", "digest"),
    [("cas://sha256:ab", "sha256:ab"), ("cas://x", "x"), ("cas://", ""), ("/srv/cas://x", ""), ("", "")],
)
def test_a_root_from_the_store_has_its_digest_behind_cas(rootfs, digest):
    manifest = parse(f'[storage]\nrootfs = "{rootfs}"'.encode())
    assert manifest.cas_digest == digest
    assert manifest.has_cas_rootfs == bool(digest)
