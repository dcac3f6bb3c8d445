"""Seeds for the fuzzer: real plans, entries, frames and env files, each behind the byte that says what it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.plans.test_plans import CASES, make
from volt.model import protocol
from volt.model.binary import HEADER, encode
from volt.model.entry import HEADER as ENTRY_HEADER
from volt.model.entry import Dependency, Depends, encode_entry

OUTER, INNER, FRAME, ENTRY, ENVIRONMENT = range(5)
SLOTS = b"0123456789ab".ljust(16, b"\0") + struct.pack("<4Q", 1879048192, 2, 3, 4)


def seeds() -> Iterator[bytes]:
    """Every kind of input, a few of each."""
    for case in CASES:
        plan = encode(make(case))
        inner = plan[-HEADER.unpack_from(plan)[-1] :]
        yield bytes([OUTER]) + plan
        yield bytes([INNER]) + inner + SLOTS
    for kind in protocol.Frame:
        for body in (b"", struct.pack("<I", 9), struct.pack("<Ii", 3, 28) + b"no space"):
            head = struct.pack("<IHHI", protocol.MAGIC, protocol.VERSION, kind, len(body))
            yield bytes([FRAME]) + head + body
    dependencies = [Dependency(kind, b"/nowhere", (1, 2, 3, 4, 5)) for kind in Depends]
    yield bytes([ENTRY]) + encode_entry(b"run\0", dependencies, b"plan", bytes(16))[ENTRY_HEADER.size :]
    yield bytes([ENVIRONMENT]) + b"\xef\xbb\xbf# comment\r\n\n A=1\nA=2\r\nB=\n=x\nno value\n"
