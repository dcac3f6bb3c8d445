"""A compiled filter of system calls, with what is worth knowing of it."""

from __future__ import annotations

import json
import struct

from volt.model.values import Value

_LENGTH = struct.Struct("<I")


class Filter(Value):
    """`program` is an array of struct sock_filter; `notes` are for the plan, without the field's name."""

    program: bytes
    notes: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """As it is kept: u32 length and JSON of the notes, then the program."""
        notes = json.dumps(self.notes).encode()
        return _LENGTH.pack(len(notes)) + notes + self.program

    @classmethod
    def decode(cls, kept: bytes) -> Filter:
        """What encode wrote."""
        (length,) = _LENGTH.unpack_from(kept)
        end = _LENGTH.size + length
        return cls(kept[end:], tuple(json.loads(kept[_LENGTH.size : end])))
