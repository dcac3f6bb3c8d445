"""Netlink messages as bytes: headers, and attributes of which each is length, type, value. linux/netlink.h, netlink(7).

What only the launch knows is a slot, whose place a mark of the same width holds while a message is bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from volt.model.text import ADDRESS, BRIDGE, HEX, LINK, NAMESPACE, Message, Slot

REQUEST, ACK, DUMP, REPLACE, EXCL, CREATE, APPEND = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400, 0x800  # NLM_F_
NESTED = 0x8000  # NLA_F_NESTED

# No length, type or flag looks like one, and no literal value that volt sends holds one.
MARKS = {ADDRESS: b"\xf5ADR", HEX: b"\xf5HEXHEX\xf5", BRIDGE: b"\xf5BRI", NAMESPACE: b"\xf5NSP", LINK: b"\xf5LNK"}
_MARK = re.compile(b"|".join(map(re.escape, MARKS.values())))
_SLOTS = {mark: slot for slot, mark in MARKS.items()}


def slotted(data: bytes) -> Message:
    """The bytes with their marks made slots."""
    return tuple(_pieces(data))


def _pieces(data: bytes) -> Iterator[bytes | Slot]:
    at = 0
    for found in _MARK.finditer(data):
        if found.start() > at:
            yield data[at : found.start()]
        yield _SLOTS[found[0]]
        at = found.end()
    if at < len(data):
        yield data[at:]


def message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    """struct nlmsghdr, and what follows; `number` is the one that the answer names."""
    return struct.pack("<IHHII", 16 + len(body), kind, REQUEST | flags, number, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """To a multiple of four."""
    return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(NESTED | kind, b"".join(attributes))


def name(kind: int, value: str | bytes) -> bytes:
    """A text, which ends with a NUL byte."""
    return attribute(kind, (value.encode() if isinstance(value, str) else value) + b"\0")
