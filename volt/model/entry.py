"""An entry of the plan cache: a launch plan, the command line it answers, and everything that it depended on.

An entry is found by its command line and checked by the static program (volt/native/lookup.c) before it is
performed; whatever differs, or is not understood, is no hit. A compiled filter is kept in the same form: its question
is filter_question(), it stands in the plan's place, and Python alone looks for it. The form, little-endian:

    magic "VOLTCACH"   8 bytes
    version            u32        entry_version()
    length             u32        of the whole entry
    seal               16 bytes   of all that follows, under the folder's key
    question           blob       the command line: question()
    dependencies       u32        how many; each: kind u32, name blob, 5 × u64
    plan               blob       volt/model/binary.py

A blob is u32 length and bytes. Digests are BLAKE2s (RFC 7693) of 16 bytes, keyed with the 16 bytes of the file
`key` beside the entries, which root alone may read: an entry that nobody else can make, and values that nobody
can guess from it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from volt import __version__
from volt.model.steps import table_version
from volt.model.values import Value

if TYPE_CHECKING:
    import os

MAGIC = b"VOLTCACH"
HEADER = struct.Struct("<8sII16s")
DIGEST = 16  # bytes of a digest, and of the key
MOST = 4 << 20  # bytes of an entry
NUMBERS = 5


class Depends(IntEnum):
    """What an entry can depend on, with the meaning of the name and of the numbers: the one table of what makes
    an entry stale."""

    FILE = 1  # a path, followed: device, inode, size, mtime and ctime in ns
    LINK = 2  # a path, not followed: the same
    ABSENT = 3  # a path, not followed: nothing is there
    PLACE = 4  # a path, followed: device, inode, kind (S_IFMT bits), uid, gid; what is in it may change
    TEXT = 5  # a path of /proc or /sys: the digest of what it says, as two numbers
    UNSET = 6  # a name that is not in the environment; an entry never depends on a value from there
    CAPABILITIES = 7  # nothing: the caller's effective set
    LIMIT = 8  # nothing: a resource of getrlimit(2), its soft and its hard limit


class Dependency(Value):
    """One thing that has to be as it was."""

    kind: Depends
    name: bytes = b""
    numbers: tuple[int, ...] = ()

    def encode(self) -> bytes:
        padded = (*self.numbers, *(0,) * (NUMBERS - len(self.numbers)))
        return struct.pack("<I", self.kind) + blob(self.name) + struct.pack(f"<{NUMBERS}Q", *padded)


def question(  # noqa: PLR0913 (each by its name)
    words: Sequence[bytes], *, program: bytes, path: bytes, folder: bytes, root: bytes, terminal: int, term: bytes
) -> bytes:
    """The command line as an entry answers it: for the static program in the folder `program` and PYTHONPATH as
    `path`, since another installation plans otherwise; for `root` as VOLT_ROOT, in `folder`, with these standard
    descriptors on a terminal (bits) called `term`."""
    return b"\0".join((program, path, root, folder, str(terminal).encode(), term, *words)) + b"\0"


def filter_question(text: bytes, capabilities: Sequence[str], machine: Sequence[str], key: bytes) -> bytes:
    """The filter that a profile's `text` makes for these capabilities on a `machine`, in words: its architecture and
    kernel, by this version of volt."""
    words = ("filter", __version__, *machine, ",".join(sorted(capabilities)), digest(text, key).hex())
    return "\0".join(words).encode() + b"\0"


def entry_version() -> int:
    """31 bits that change with the form of entries and of plans."""
    rows = f"1 {NUMBERS} {[(kind.name, kind.value) for kind in Depends]} {table_version()}"
    return int.from_bytes(hashlib.sha256(rows.encode()).digest()[:4], "little") >> 1


def digest(data: bytes, key: bytes) -> bytes:
    return hashlib.blake2s(data, digest_size=DIGEST, key=key).digest()


def numbers_of(data: bytes, key: bytes) -> tuple[int, int]:
    """A digest as two numbers of a dependency."""
    low, high = struct.unpack("<QQ", digest(data, key))
    return low, high


def numbers_of_file(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another one, and from itself changed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_name(asked: bytes, key: bytes) -> str:
    """The name of the entry that answers a question."""
    return digest(asked, key).hex()


def encode_entry(asked: bytes, dependencies: Sequence[Dependency], plan: bytes, key: bytes) -> bytes:
    """The entry's bytes."""
    listed = b"".join(dependency.encode() for dependency in dependencies)
    body = blob(asked) + struct.pack("<I", len(dependencies)) + listed + blob(plan)
    return HEADER.pack(MAGIC, entry_version(), HEADER.size + len(body), digest(body, key)) + body


def decode_entry(entry: bytes, asked: bytes, key: bytes) -> tuple[tuple[Dependency, ...], bytes] | None:
    """What an entry depends on, and its plan; None unless it is whole, sealed with the key and answers the question."""
    if len(entry) < HEADER.size:
        return None
    magic, version, length, seal = HEADER.unpack_from(entry)
    body = entry[HEADER.size :]
    if (magic, version, length) != (MAGIC, entry_version(), len(entry)) or seal != digest(body, key):
        return None
    # Sealed, so this is what encode_entry wrote.
    question, found, plan = _parts(body)
    return (found, plan) if question == asked else None


def plan_of(entry: bytes) -> bytes:
    """The plan of an entry that was found whole and sealed when it was opened. Raises struct.error when it is not."""
    return _parts(entry[HEADER.size :])[2]


def _parts(body: bytes) -> tuple[bytes, tuple[Dependency, ...], bytes]:
    """The question, what the answer depends on, the plan."""
    question, at = _blob(body, 0)
    (count,) = struct.unpack_from("<I", body, at)
    at += 4
    found = []
    for _ in range(count):
        (kind,) = struct.unpack_from("<I", body, at)
        name, at = _blob(body, at + 4)
        found.append(Dependency(Depends(kind), name, struct.unpack_from(f"<{NUMBERS}Q", body, at)))
        at += 8 * NUMBERS
    return question, tuple(found), _blob(body, at)[0]


def _blob(data: bytes, at: int) -> tuple[bytes, int]:
    """The blob at a place, and the place behind it."""
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length], at + 4 + length


def blob(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data
