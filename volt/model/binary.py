"""The binary form of a launch plan, which the static program performs: fixed, versioned, little-endian.

A program is a header and two sections of steps, and, in the outer one, the inner program behind them:

    magic "VOLTPLAN"   8 bytes
    version            u32   steps.table_version()
    length             u32   of the whole program, header included
    registers          u32   descriptors that are open at the start, numbered 1 and up
    first, second      u32   steps in each section
    number             u32   the printed number of the first step
    inner              u32   length of the inner program at the end, 0 for none

A step is `operation u16, length u32`, then its note and its arguments as steps.KINDS says: reg u16 (0
for none), u32, u64; text, blob: u32 length and bytes; texts, regs: u32 count and as many. In a text a
slot is 0x01, its kind, and u32 to add; 0x01 0x00 is the byte 0x01 itself. Messages are blobs with such slots.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from volt.model.landlock import bits
from volt.model.plan import STANDARD, LaunchPlan
from volt.model.steps import (
    KINDS,
    LIMITS,
    OPCODES,
    RIGHTS,
    Step,
    arguments,
    attribute_mask,
    mask_of,
    table_version,
)
from volt.model.text import Message, Text

MAGIC = b"VOLTPLAN"
HEADER = struct.Struct("<8sIIIIIII")


def encode(plan: LaunchPlan) -> bytes:
    """The plan's bytes. Raises KeyError where a step names a descriptor that none has opened."""
    outer = len(plan.host) + len(plan.guard)
    inner = _program(plan.init, plan.payload, plan.inherited, outer + 1, b"")
    return _program(plan.host, plan.guard, STANDARD, 1, inner)


def _program(first: Sequence[Step], second: Sequence[Step], opened: Sequence[str], number: int, inner: bytes) -> bytes:
    registers = {name: n for n, name in enumerate(opened, 1)}
    body = b"".join(_step(step, registers) for step in (*first, *second)) + inner
    header = HEADER.pack(
        MAGIC,
        table_version(),
        HEADER.size + len(body),
        len(opened),
        len(first),
        len(second),
        number,
        len(inner),
    )
    return header + body


def _step(step: Step, registers: dict[str, int]) -> bytes:
    body = _blob(step.note.encode())
    for name, annotation in arguments(type(step)):
        value = getattr(step, name)
        if annotation == "Out":
            registers.setdefault(value, len(registers) + 1)
        body += _argument(annotation, value, registers)
    return struct.pack("<HI", OPCODES[type(step)], len(body)) + body


def _argument(annotation: str, value: object, registers: dict[str, int]) -> bytes:
    match annotation, value:
        case "Attrs", tuple():
            return struct.pack("<Q", attribute_mask(value))
        case "Caps", tuple():
            return struct.pack("<Q", mask_of(value))
        case "Limit", str():
            return struct.pack("<I", LIMITS[value])
        case "Files" | "Ports" | "Scopes", tuple():
            return struct.pack("<Q", bits(value, RIGHTS[annotation]))
        case "Regs", tuple():
            return _many([_register(item, registers) for item in value])
        case "Texts", tuple():
            return _many([_text(item) for item in value])
        case "Text", tuple():
            return _text(value)
        case "Messages", tuple():
            return _slotted(value)
        case "Blob", bytes():
            return _blob(value)
        case "Reg" | "Out", str():
            return _register(value, registers)
        case _, int():
            return struct.pack("<Q" if KINDS[annotation] == "u64" else "<I", value)
    raise TypeError(f"{annotation} cannot hold {value!r}")


def _register(name: str, registers: dict[str, int]) -> bytes:
    return struct.pack("<H", registers[name] if name else 0)


def _many(items: list[bytes]) -> bytes:
    return struct.pack("<I", len(items)) + b"".join(items)


def _blob(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _text(value: Text) -> bytes:
    return _slotted(tuple(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in value))


def _slotted(value: Message) -> bytes:
    pieces = []
    for part in value:
        if isinstance(part, bytes):
            pieces.append(part.replace(b"\1", b"\1\0"))
        else:
            pieces.append(b"\1" + struct.pack("<BI", part.kind, part.plus))
    return _blob(b"".join(pieces))
