"""A compiled filter of system calls, with what is worth knowing of it."""

from __future__ import annotations

import json
import struct

from volt.model.values import Value

_LENGTHS = struct.Struct("<II")


class Filter(Value):
    """`program` is an array of struct sock_filter, and `init` the one for the init that starts the payload; `notes`
    are for the plan, without the field's name."""

    program: bytes
    init: bytes
    notes: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """As it is kept: u32 length of the notes and of the program, the notes in JSON, the program, the init's."""
        notes = json.dumps(self.notes).encode()
        return _LENGTHS.pack(len(notes), len(self.program)) + notes + self.program + self.init

    @classmethod
    def decode(cls, kept: bytes) -> Filter:
        """What encode wrote."""
        notes, program = _LENGTHS.unpack_from(kept)
        begin = _LENGTHS.size + notes
        end = begin + program
        return cls(kept[begin:end], kept[end:], tuple(json.loads(kept[_LENGTHS.size : begin])))
