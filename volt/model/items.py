"""The stream of a copy: one definition for the session inside, in C, and for whoever asked for it, in Python.

Not a tar: names are of one component each, below the folder that was entered last, so that no path has to be resolved
and none can lead out; numbers are binary and whole; a file comes as pieces and holes that add up to the size announced.

An item is `kind`, `mode`, `uid`, `gid` (u32), `size` (u64), `seconds` (i64), `nanoseconds`, the lengths of name and
text (u32), little-endian, then name and text. Behind FILE come pieces, each a u64: bytes that follow, or with HOLE
zeroes that do not.

A run outlives the volt that began it: what changes here is another kind of session, volt/model/protocol.py.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from volt.model.values import Value

HEAD = struct.Struct("<IIIIQqIII")
PIECE = struct.Struct("<Q")
HOLE = 1 << 63
PIECE_LIMIT = 1 << 18  # bytes of one piece
TEXT_LIMIT = 4095  # bytes of a name, of a link's target, of a path: PATH_MAX without its NUL
DEEPEST = 128  # folders within each other: each is held open
NO_MODE = 0xFFFFFFFF  # of a folder that stays as it is, or becomes as any other


class Kind(IntEnum):
    """The kinds of items."""

    ENTER = 1  # a folder, made where it is missing; what comes until LEAVE lies in it
    LEAVE = 2
    FILE = 3
    LINK = 4  # a symbolic link, with its target as text
    PROBLEM = 5  # what was left out, or is not what it was: its path as name, why in `size`, errno in `mode`
    FAILED = 6  # the same, and nothing follows
    TOTAL = 7  # comes first from inside: bytes in `size`, items in `seconds`; `mode` 1 where there are too many to say
    LINKED = 9  # goes in alone: another name of a file that came before, whose path from the top is the text
    END = 8  # of what went in, what is there: links in `mode`, files in `uid`, folders in `gid`


class Why(IntEnum):
    """What a problem is."""

    ERROR = 0  # errno says it
    SPECIAL = 1  # a device, a pipe, a socket
    SHRANK = 2  # while it was read: zeroes are in the place of what has gone
    GREW = 3  # while it was read: what came later is left out
    DEEP = 4  # more than DEEPEST folders within each other
    ENDLESS = 5  # more comes than twice what was there at the beginning


class Item(Value):
    """One item as it is sent; `name` and `text` are bytes as the file system has them."""

    kind: int
    name: bytes = b""
    text: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    seconds: int = 0
    nanoseconds: int = 0

    def encoded(self) -> bytes:
        """Its bytes."""
        numbers = (self.mode, self.uid, self.gid, self.size, self.seconds, self.nanoseconds)
        return HEAD.pack(self.kind, *numbers, len(self.name), len(self.text)) + self.name + self.text
