"""The chain of `extends`: each file read once, and whatever is wrong with it a finding at its line."""

import hashlib
import os

import pytest

from tests.unit.manifest.world import COMPLETE, World, found, resolved, workload
from volt.host.sources import FileSources
from volt.manifest import resolve


def test_a_base_is_relative_to_the_file_that_names_it():
    world = World(
        {
            "site/web.toml": 'extends = "../base/all.toml"\n[workload]\nname = "web"',
            "base/all.toml": 'extends = "more.toml"\n[workload]\nmode = "container"',
            "base/more.toml": '[workload]\ncommand = ["true"]',
        }
    )
    result = resolve("site/web.toml", world)
    assert result.workload.command == ("true",)
    assert [name for name, _ in result.files] == ["site/web.toml", "base/all.toml", "base/more.toml"]


def test_each_file_is_opened_once_and_hashed_from_that_read():
    world = World({"a.toml": 'extends = "b.toml"\n', "b.toml": COMPLETE})
    result = resolve("a.toml", world)
    assert world.opened == ["a.toml", "b.toml"]
    assert result.files[1][1] == hashlib.sha256(COMPLETE.encode()).hexdigest()


def test_an_absolute_base_is_named_as_it_was_written():
    world = World({"a.toml": 'extends = "/etc/base.toml"\n', "/etc/base.toml": "odd = 1"})
    assert ("unknown-key", "/etc/base.toml:1:7") in found(resolve("a.toml", world))


@pytest.mark.parametrize("name", ["a.toml", "./a.toml", "/home/ada/a.toml"])
def test_a_cycle_is_a_finding_that_prints_the_chain(name):
    world = World({name: 'extends = "b.toml"\n' + COMPLETE})
    world.files |= {"b.toml": '\nextends = "a.toml"', "/home/ada/b.toml": '\nextends = "a.toml"'}
    (finding,) = resolve(name, world).findings
    assert (finding.code, finding.place.line, finding.key) == ("cycle", 2, "extends")
    assert finding.message.count("→") == 2
    assert len(world.opened) == 2


def test_a_file_that_extends_itself_is_a_cycle():
    assert found(resolve("a.toml", World({"a.toml": 'extends = "a.toml"'}))) == [("cycle", "a.toml:1:11")]


def test_a_chain_has_sixteen_files():
    texts = [""] * 15 + [COMPLETE]
    assert resolved(*texts).findings == ()
    (finding,) = resolved("", *texts).findings
    assert (finding.code, str(finding.place)) == ("chain-too-long", "p.toml:1:11")
    assert "a.toml → b.toml" in finding.message


def test_a_missing_base_is_a_finding_where_it_is_named_and_nothing_else_is_missing():
    world = World({"a.toml": '\nextends = "b.toml"\n[security]\nlandlock_policy = "/p"\n[network]\nname = "n"'})
    (finding,) = resolve("a.toml", world).findings
    assert (finding.code, str(finding.place)) == ("unreadable", "a.toml:2:11")
    assert finding.message == "'b.toml' cannot be read: No such file or directory"


def test_a_missing_manifest_is_a_finding_about_it():
    assert found(resolve("a.toml", World())) == [("unreadable", "a.toml")]
    assert found(resolve("a\0b", FileSources())) == [("unreadable", "a\0b")]


STORED = f"cas://sha256:{'0' * 64}"


def test_a_base_may_be_in_the_store_and_extend_one_that_is_there_too():
    other = f"cas://sha256:{'1' * 64}"
    world = World({"a.toml": f'extends = "{STORED}"', STORED: f'extends = "{other}"', other: COMPLETE})
    assert resolve("a.toml", world).workload.name == "web"


def test_what_lies_in_the_store_has_no_folder_that_a_relative_path_could_belong_to():
    world = World({"a.toml": f'extends = "{STORED}"', STORED: f'extends = "b.toml"\n{COMPLETE}', "b.toml": ""})
    assert found(resolve("a.toml", world)) == [("relative-path", f"{STORED}:1:11")]


@pytest.mark.parametrize("written", ["cas://sha256:00", "cas://", STORED + "0", STORED.replace("0", "A")])
def test_a_base_in_the_store_is_named_by_a_digest(written):
    assert found(resolved(f'extends = "{written}"')) == [("bad-digest", "a.toml:1:11")]


def test_a_base_that_is_not_in_the_store_is_a_finding_where_it_is_named():
    assert found(resolved(f'extends = "{STORED}"')) == [("unreadable", "a.toml:1:11")]


@pytest.mark.parametrize(
    ("value", "code"),
    [("1", "wrong-type"), ('["b"]', "wrong-type"), ('"b\\u0000"', "bad-path"), ('"$X"', "unreadable")],
)
def test_extends_names_a_file(value, code):
    assert found(resolved(f"extends = {value}")) == [(code, "a.toml:1:11")]


def test_an_empty_extends_is_none():
    assert workload('extends = ""\n' + COMPLETE).name == "web"


@pytest.mark.parametrize("source", [b'extends = "b.toml"', {"extends": "b.toml"}])
def test_without_a_file_a_base_is_absolute_or_has_a_base_folder(source):
    world = World({"/srv/b.toml": COMPLETE})
    assert [code for code, _ in found(resolve(source, world))] == ["relative-path"]
    assert resolve(source, world, base="/srv").findings == ()
    assert resolve({"extends": "/srv/b.toml"}, world).findings == ()


BROKEN = {
    "bad TOML": (b"\n  a = = 1\n", "bad-toml", "b.toml:2:7"),
    "cut off": (b"\na = [", "bad-toml", "b.toml:2:6"),
    "no UTF-8": ("é = 1\né = ".encode() + b"\xff", "not-utf-8", "b.toml:2:5"),
    "a long number": (b"a = " + b"1" * 5000, "bad-toml", "b.toml"),
    "a long hexadecimal number": (b"a = 0x" + b"f" * 5000, "bad-toml", "b.toml"),
    "brackets in brackets": (b"a = " + b"[" * 100_000, "bad-toml", "b.toml"),
    "65 levels": (b"a" + b".a" * 64 + b" = 1", "too-deep", "b.toml"),
    "65 levels of lists": (b"a = " + b"[" * 64 + b"1" + b"]" * 64, "too-deep", "b.toml"),
    "1 MiB and a byte": (b"#" * ((1 << 20) + 1), "too-large", "b.toml"),
}


@pytest.mark.parametrize(("text", "code", "place"), BROKEN.values(), ids=BROKEN)
def test_a_base_that_is_no_manifest_is_one_finding_and_the_others_are_still_checked(text, code, place):
    result = resolved('[workload]\nname = "Web"\n', text)
    assert found(result) == [("bad-name", "a.toml:3:8"), (code, place)]
    assert result.workload is None


def test_64_levels_and_1_mib_are_accepted():
    assert found(resolved(b"a" + b".a" * 63 + b" = 1"))[0][0] == "unknown-key"
    assert resolved(COMPLETE + "#" * ((1 << 20) - len(COMPLETE))).findings == ()


def test_a_byte_order_mark_and_crlf_move_no_place():
    (finding,) = resolved(b'\xef\xbb\xbf[workload]\r\nname = "Web"\r\nmode = "container"\r\n').findings
    assert (str(finding.place), finding.source) == ("a.toml:2:8", 'name = "Web"')
    assert found(resolved(b'\xef\xbb\xbfname = "a" b\r\n')) == [("bad-toml", "a.toml:1:12")]


def test_a_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (finding,) = resolve(str(tmp_path / "fifo"), FileSources()).findings
    assert (finding.code, "no regular file" in finding.message) == ("unreadable", True)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/proc"])
def test_a_device_and_a_folder_are_refused(path):
    before = len(os.listdir("/proc/self/fd"))
    assert found(resolve(path, FileSources())) == [("unreadable", path)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_more_than_a_byte_over_the_limit_is_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert found(resolve(str(path), FileSources())) == [("too-large", str(path))]


@pytest.mark.parametrize("odd", [{1: 2}, {"workload": {None: "x"}}])
def test_a_mapping_has_strings_as_keys(odd):
    assert found(resolve(odd, World())) == [("wrong-type", "<value>")]


def test_a_mapping_has_the_types_of_toml():
    good = {"workload": {"name": "web", "mode": "container", "command": ("a", "b")}}
    assert resolve(good, World()).workload.command == ("a", "b")
    (finding,) = resolve({"workload": {"name": "web", "mode": None}}, World()).findings
    assert finding.message == "expected a string, found NoneType"
