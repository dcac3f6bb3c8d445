"""Archives: the same tree whatever way it comes in; what is hostile is refused by name and leaves nothing."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import resource
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.store.pieces import archive, folder, member, take_archive, take_folder
from volt.errors import StoreError
from volt.store.export import write_archive
from volt.store.intake import Bounds
from volt.store.place import make_store
from volt.store.tree import entries


def packed(path, *options):
    words = ["tar", "--sort=name", *options, *(["--xattrs", "--xattrs-include=*"] if "--format=pax" in options else [])]
    return subprocess.run([*words, "-C", path, "-cf", "-", "."], check=True, capture_output=True).stdout


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_a_folder_and_its_archive_have_one_digest(store, tmp_path, form):
    here = folder(tmp_path / "tree")
    os.setxattr(here / "etc/passwd", "user.note", bytes(range(256))) if form == "pax" else None
    assert take_archive(store, packed(here, f"--format={form}")) == take_folder(store, here)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_may_be_compressed_and_in_several_streams(store, tmp_path, pack):
    plain = packed(folder(tmp_path / "tree"), "--format=pax")
    expected = take_archive(store, plain)
    assert take_archive(store, pack(plain)) == expected
    assert take_archive(store, pack(plain[:5000]) + pack(plain[5000:])) == expected


def test_what_is_exported_comes_back_with_the_same_digest(store, tmp_path):
    here = folder(tmp_path / "tree")
    os.setxattr(here / "etc/passwd", "user.note", b"\0\xff\n=")
    digest = take_folder(store, here)
    made = io.BytesIO()
    write_archive(store.tree(digest), store, made)
    assert take_archive(store, made.getvalue()) == digest
    listed = subprocess.run(["tar", "-tf", "-"], input=made.getvalue(), check=True, capture_output=True).stdout
    assert b"./a/b/again" in listed or b"a/b/again" in listed


def test_sparse_files_keep_their_content_and_their_holes(store, tmp_path):
    here = tmp_path / "tree"
    here.mkdir()
    with (here / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(30 << 20)
        file.write(b"middle")
        file.truncate(60 << 20)
    os.utime(here / "sparse", (1, 1))
    os.utime(here, (1, 1))
    digest = take_folder(store, here)
    for form in ("--format=pax", "--format=gnu"):
        assert take_archive(store, packed(here, form)) == digest
        assert take_archive(store, packed(here, form, "--sparse")) == digest
    kept = store.object(store.tree(digest).children[b"sparse"].digest)
    assert Path(kept).stat().st_size == 60 << 20
    assert Path(kept).stat().st_blocks * 512 < 1 << 20


contents = st.lists(
    st.tuples(
        st.lists(st.sampled_from([b"a", b"b", b"\xc3\xa9", b"\xff x", b"long" * 40]), min_size=1, max_size=4),
        st.one_of(st.binary(max_size=40), st.none(), st.sampled_from(["../a", "/etc", "x"])),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(contents)
def test_any_tree_has_one_digest_as_a_folder_an_archive_and_an_export(tmp_path_factory, made):
    base = tmp_path_factory.mktemp("any")
    store, here = make_store(str(base / "state")), os.fsencode(base.resolve() / "tree")
    os.mkdir(here)
    for parts, what in made:
        path = b"/".join([here, *parts])
        if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
            continue  # over a link, to wherever it leads
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if what is None:
                os.makedirs(path, exist_ok=True)
            elif isinstance(what, str):
                os.symlink(what, path)
            else:
                Path(os.fsdecode(path)).write_bytes(what)
        except OSError:  # something else is there
            continue
    digest = take_folder(store, base / "tree")
    tar = packed(base / "tree", "--format=pax")
    assert take_archive(store, tar) == digest
    out = io.BytesIO()
    write_archive(store.tree(digest), store, out)
    assert take_archive(store, out.getvalue()) == digest


# ── what is hostile ─────────────────────────────────────────────────────────────────────────────

PASSWD = b"root::0:0::/:/bin/sh\n"
DEVICE = {"devmajor": 1, "devminor": 3}
SPARSE_MAP = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "5"}
HOSTILE = {
    "a name that leads out": ([member("../etc/passwd", PASSWD)], "../etc/passwd: its name leads out"),
    "a name that leads out further in": ([member("a/../../x", PASSWD)], "leads out"),
    "an absolute name": ([member("/etc/passwd", PASSWD)], "/etc/passwd: its name is absolute"),
    "a hard link to the host": (
        [member("x", kind=tarfile.LNKTYPE, linkname="/etc/shadow")],
        "/etc/shadow: its name is absolute",
    ),
    "a hard link that leads out": ([member("x", kind=tarfile.LNKTYPE, linkname="../../etc/shadow")], "leads out"),
    "a hard link to nothing": ([member("x", kind=tarfile.LNKTYPE, linkname="y")], "no file of the archive so far"),
    "a hard link to itself": ([member("x", kind=tarfile.LNKTYPE, linkname="x")], "no file of the archive so far"),
    "a hard link to a folder": (
        [member("d", kind=tarfile.DIRTYPE), member("x", kind=tarfile.LNKTYPE, linkname="d")],
        "no file of the archive so far",
    ),
    "a hard link over the root": ([member("a"), member(".", kind=tarfile.LNKTYPE, linkname="a")], "a folder"),
    "links in a circle": (
        [
            member("a", kind=tarfile.SYMTYPE, linkname="b"),
            member("b", kind=tarfile.SYMTYPE, linkname="a"),
            member("a/x", PASSWD),
        ],
        "lead nowhere",
    ),
    "a file as a folder": ([member("a", b"1"), member("a/x", PASSWD)], "no folder"),
    "a folder becomes a file": ([member("a", kind=tarfile.DIRTYPE), member("a", b"1")], "a folder of that name"),
    "a folder becomes a link": (
        [member("a", kind=tarfile.DIRTYPE), member("a", kind=tarfile.SYMTYPE, linkname="/etc")],
        "a folder of that name",
    ),
    "the root becomes a link": ([member(".", kind=tarfile.SYMTYPE, linkname="/etc")], "the root of a tree"),
    "a device": ([member("dev/null", kind=tarfile.CHRTYPE, **DEVICE)], "dev/null: it is a device"),
    "a disk": ([member("sda", kind=tarfile.BLKTYPE, devmajor=8)], "sda: it is a device"),
    "a whiteout": ([member("x", kind=tarfile.CHRTYPE)], "x: it is the device 0:0"),
    "an attribute of overlayfs": (
        [member("x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"})],
        "x: the attribute 'trusted.overlay.redirect' cannot be taken over",
    ),
    "an unknown security attribute": (
        [member("x", pax_headers={"SCHILY.xattr.security.odd": "1"})],
        "'security.odd' cannot be taken over",
    ),
    "an attribute too large": ([member("x", pax_headers={"SCHILY.xattr.user.a": "1" * 70_000})], "too large"),
    "attributes too large": (
        [member("x", pax_headers={f"SCHILY.xattr.user.{n}": "1" * 30_000 for n in range(3)})],
        "its attributes together",
    ),
    "an unknown type": ([member("x", kind=b"Z")], "it is of the type b'Z'"),
    "a name too long": ([member("n" * 300)], "more than 255 bytes"),
    "too deep": ([member("d/" * 300 + "x")], "more than 256 folders"),
    "an empty target": ([member("x", kind=tarfile.SYMTYPE)], "no path"),
    "a target too long": ([member("x", kind=tarfile.SYMTYPE, linkname="t" * 5000)], "no path"),
    "a uid too large": ([member("x", uid=2**40)], "owner"),
    "a time that is none": ([member("x", pax_headers={"mtime": "nan"})], "damaged"),
    "a time too far away": ([member("x", pax_headers={"mtime": "1e300"})], "time"),
    "a sparse file of eight exabytes": (
        [
            member(
                "x", b"1\n0\n1\n".ljust(512, b"\0"), pax_headers={**SPARSE_MAP, "GNU.sparse.realsize": str(2**63 - 1)}
            )
        ],
        "larger than",
    ),
}


@pytest.mark.parametrize(("members", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_by_name_and_leaves_nothing(store, members, message):
    with pytest.raises(StoreError) as refused:
        take_archive(store, archive(*members))
    assert message in refused.value.message
    left = [path for path in Path(store.path).rglob("*") if path.is_file() and path.name not in ("lock", "gate")]
    assert left == []


def test_a_link_in_the_archive_leads_into_the_tree_and_never_to_the_host(store, tmp_path):
    target = tmp_path / "outside"
    target.mkdir()
    digest = take_archive(
        store, archive(member("evil", kind=tarfile.SYMTYPE, linkname=str(target)), member("evil/x", PASSWD))
    )
    assert list(target.iterdir()) == []
    inside = os.fsencode(str(target / "x").lstrip("/"))
    assert inside in dict(entries(store.tree(digest)))


def test_devices_come_in_where_they_are_asked_for_but_never_a_whiteout(store):
    made = archive(member("null", kind=tarfile.CHRTYPE, **DEVICE))
    assert store.tree(take_archive(store, made, devices=True)).children[b"null"].device == os.makedev(1, 3)
    with pytest.raises(StoreError, match="0:0"):
        take_archive(store, archive(member("x", kind=tarfile.CHRTYPE)), devices=True)


BOUNDS = {
    "entries": (Bounds(entries=50), [member(f"f{n}") for n in range(60)]),
    "bytes": (Bounds(bytes=1000), [member(f"f{n}", bytes(300)) for n in range(5)]),
    "names": (Bounds(names=1000), [member(f"{n}" * 200) for n in range(9)]),
    "folders that no member names": (Bounds(entries=10), [member("a/b/c/d/e/f/g/h/i/j/k/l/m/n")]),
    "paths behind a link": (
        Bounds(names=3000),
        [
            member("l", kind=tarfile.SYMTYPE, linkname="/".join(["n" * 100] * 5)),
            *(member(f"l/{n}") for n in range(9)),
        ],
    ),
    "hard links": (
        Bounds(entries=9),
        [member("f"), *(member(f"l{n}", kind=tarfile.LNKTYPE, linkname="f") for n in range(9))],
    ),
}


@pytest.mark.parametrize(("bounds", "members"), BOUNDS.values(), ids=BOUNDS)
def test_what_is_too_much_is_refused(store, bounds, members):
    with pytest.raises(StoreError, match=r"more than|larger than"):
        take_archive(store, archive(*members), bounds=bounds)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_an_archive_that_is_cut_anywhere_is_refused(store, tmp_path, pack):
    whole = packed(folder(tmp_path / "tree"), "--format=pax")
    end = whole.rstrip(b"\0")
    data = pack(end + bytes(1024))
    for cut in {*range(0, len(data), 97), 512, 1024, len(data) - 2}:
        if cut < len(data) - 1 and (pack is not bytes or cut < len(end)):
            with pytest.raises(StoreError):
                take_archive(store, data[:cut])


def test_a_byte_that_is_wrong_in_a_header_is_noticed(store, tmp_path):
    data = packed(folder(tmp_path / "tree"), "--format=pax")
    second = data.index(b"ustar", 600) - 257
    with pytest.raises(StoreError, match="damaged"):
        take_archive(store, data[: second + 3] + bytes([data[second + 3] ^ 1]) + data[second + 4 :])


class Endless(io.RawIOBase):
    """Something to read that never ends: `head`, then zeros or `filler`."""

    def __init__(self, head, filler=b"x"):
        self.head, self.filler, self.given = head, filler, 0

    def read(self, size=-1):
        while len(self.head) < size:
            self.head += self.filler * -(-size // len(self.filler))
        piece, self.head = self.head[:size], self.head[size:]
        self.given += size
        assert self.given < 3 << 30, "it was read on and on"
        return piece


def test_a_header_that_says_it_is_gigabytes_long_is_refused_before_it_is_read(store):
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        one, _ = member("x", kind=kind)
        one.size = 6 << 30
        source = Endless(one.tobuf(tarfile.GNU_FORMAT))
        with pytest.raises(StoreError, match="header"):
            take_archive(store, source)
        assert source.given < 64 << 20


def test_a_bomb_is_refused_and_memory_stays_bounded(store):
    one, _ = member("zeros")
    one.size = 1 << 40
    made = gzip.compress(one.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match="larger than"):
        take_archive(store, made)
    with pytest.raises(StoreError, match="cut short"):
        take_archive(store, made, bounds=Bounds(bytes=2 << 40))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


def test_zeros_behind_the_end_are_read_and_what_is_no_archive_is_said_to_be_none(store, tmp_path):
    assert take_archive(store, archive(member("a", b"1")) + bytes(200_000))
    for data in (b"", b"\0" * 100, b"hello " * 1000, hashlib.sha256(b"").digest() * 100):
        with pytest.raises(StoreError):
            take_archive(store, data)


def test_zstd_is_one_more_way_to_pack_and_is_bounded_and_checked_like_the_others(store):
    plain = archive(member("a", b"x" * 100_000), member("b", bytes(3 << 20)))
    packed = zstandard.compress(plain)
    digest = take_archive(store, plain)
    assert take_archive(store, packed) == digest
    assert take_archive(store, zstandard.compress(plain[:1000]) + zstandard.compress(plain[1000:])) == digest
    for data in (
        packed[: len(packed) // 2],
        packed[:100] + b"\xff" * 50 + packed[150:],
        zstandard.compress(b"no tar" * 99),
    ):
        with pytest.raises(StoreError):
            take_archive(store, data)
    with pytest.raises(StoreError, match="larger than 1048576 bytes"):
        take_archive(store, zstandard.compress(archive(member("bomb", bytes(8 << 20)))), bounds=Bounds(bytes=1 << 20))


PADDING = bytes(3 << 20)
# A stream of nothing, under a long name: RFC 1952.
NOTHING = b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 60_000 + b"\0" + b"\x03\0" + bytes(8)
COMMENT = b"\x5a\x2a\x4d\x18" + (3 << 20).to_bytes(4, "little") + PADDING  # a skippable frame, RFC 8878 3.1.2


@pytest.mark.parametrize(
    "streams",
    [
        *((pack, b"", PADDING) for pack in (gzip.compress, bz2.compress, lzma.compress)),
        (gzip.compress, b"", gzip.compress(b"") * 20_000),
        (zstandard.compress, COMMENT, COMMENT),
    ],
    ids=["gzip", "bz2", "xz", "empty", "zstd"],
)
def test_between_streams_may_be_padding_and_what_holds_nothing(store, streams):
    pack, before, between = streams
    plain = archive(member("a", b"x" * 100_000), member("b", bytes(3 << 20)))
    made = before + pack(plain[:1000]) + between + pack(plain[1000:]) + between
    assert take_archive(store, made) == take_archive(store, plain)


def test_the_last_byte_of_a_stream_may_come_with_any_read(store):
    plain = archive(member("a", os.urandom(70_000)))
    for less in range(20):
        padded = gzip.compress(plain[: -less or None]) + gzip.compress(plain[len(plain) - less :])
        assert take_archive(store, Slowly(padded, 65_536 - less)) == take_archive(store, plain)


class Slowly(io.BytesIO):
    """Gives fewer bytes than are asked for, as a pipe does."""

    def __init__(self, data, most):
        super().__init__(data)
        self.most = most

    def read(self, size=-1):
        return super().read(min(size, self.most))


@pytest.mark.parametrize(
    ("pack", "filler"),
    [
        (bytes, b"\0"),
        (bytes, b"x"),
        (gzip.compress, b"\0"),
        (gzip.compress, NOTHING),
        (zstandard.compress, COMMENT),
        (zstandard.compress, zstandard.compress(b"")),
    ],
    ids=["zeros", "more", "padding", "empty", "comments", "frames"],
)
def test_what_never_ends_behind_an_archive_is_left(store, pack, filler):
    source = Endless(pack(archive(member("a", b"1"))), filler)
    with pytest.raises(StoreError, match=r"behind the archive's end are|nothing comes of"):
        take_archive(store, source)
    assert source.given < 80 << 20
