"""Seeds for the fuzzer: real plans, entries, frames and env files, each behind the byte that says what it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from jeepney import DBusAddress, Message, new_error, new_method_call, new_method_return, new_signal

from tests.plans.test_plans import CASES, make
from volt.model import protocol
from volt.model.binary import HEADER, encode
from volt.model.entry import HEADER as ENTRY_HEADER
from volt.model.entry import Dependency, Depends, encode_entry

OUTER, INNER, FRAME, ENTRY, ENVIRONMENT, MESSAGE = range(6)
SLOTS = b"0123456789ab".ljust(16, b"\0") + struct.pack("<4Q", 1879048192, 2, 3, 4)


def bus_messages() -> Iterator[Message]:
    """What systemd answers, and what a bus says besides."""
    manager = DBusAddress("/org/freedesktop/systemd1", "a.b", "org.freedesktop.systemd1.Manager")
    asked = new_method_call(manager, "StartTransientUnit")
    asked.header.serial = 3
    yield new_signal(manager, "JobRemoved", "uoss", (1, "/job/1", "volt-0123456789ab.scope", "done"))
    yield new_signal(manager, "NameAcquired", "s", (":1.7",))
    yield new_method_return(asked, "o", ("/job/1",))
    yield new_error(asked, "a.b.C", "s", ("words",))


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
    for message in bus_messages():
        yield bytes([MESSAGE]) + message.serialise(serial=1)
    yield bytes([ENVIRONMENT]) + b"\xef\xbb\xbf# comment\r\n\n A=1\nA=2\r\nB=\n=x\nno value\n"
