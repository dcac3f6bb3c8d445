"""A launch plan read back from its binary form: what a running workload was started with.

The form keeps no names of descriptors: those that a section opens are called after their numbers here. What is
encoded again gives the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from volt.errors import StateError
from volt.model import entry
from volt.model.binary import HEADER, MAGIC
from volt.model.landlock import FILES, PORTS, SCOPES
from volt.model.plan import STANDARD, LaunchPlan
from volt.model.steps import CAPABILITIES, LIMITS, MOUNT_ATTRS, OPERATIONS, Execute, Step, arguments, table_version
from volt.model.text import Slot, SlotKind, Text

SLOT = 1
BITS: dict[str, dict[str, int]] = {
    "Attrs": MOUNT_ATTRS,
    **{
        kind: {name: 1 << bit for bit, name in enumerate(names)}
        for kind, names in {"Caps": CAPABILITIES, "Files": FILES, "Ports": PORTS, "Scopes": SCOPES}.items()
    },
}
FOREIGN = "the plan that it was started with is of another version of volt"
DAMAGED = "the plan that it was started with is damaged"


def decode(data: bytes, name: str, mode: str) -> LaunchPlan:
    """The plan of which `data` is the binary form, or a cache entry with it; the name and the mode are not in it.

    Raises StateError when it is of another version of volt, or damaged.
    """
    try:
        return _plan(_within_entry(data), name, mode)
    except (struct.error, IndexError, KeyError, ValueError, UnicodeDecodeError) as error:
        raise StateError(DAMAGED) from error


def _within_entry(data: bytes) -> bytes:
    """The plan of an entry of the plan cache; anything else as it is."""
    if not data.startswith(entry.MAGIC):
        return data
    if entry.HEADER.unpack_from(data)[1] != entry.entry_version():
        raise StateError(FOREIGN)
    return entry.plan_of(data)


def _plan(data: bytes, name: str, mode: str) -> LaunchPlan:
    host, guard, inner = _program(data, STANDARD, "d")
    # The last step of the guard hands on what the init finds open.
    inherited = guard[-1].descriptors if guard and isinstance(guard[-1], Execute) else ()
    init, payload, _ = _program(inner, inherited, "i")
    return LaunchPlan(name, mode, host, guard, init, payload, inherited)


def _program(data: bytes, opened: tuple[str, ...], letter: str) -> tuple[tuple[Step, ...], tuple[Step, ...], bytes]:
    """Both sections, and the inner program."""
    magic, version, length, _, first, second, _, inner = HEADER.unpack_from(data)
    if magic != MAGIC or length != len(data):
        raise StateError(DAMAGED)
    if version != table_version():
        raise StateError(FOREIGN)
    names = dict(enumerate(opened, 1))
    reader = _Reader(data[HEADER.size : len(data) - inner], lambda n: names.get(n, f"{letter}{n}") if n else "")
    steps = tuple(reader.step() for _ in range(first + second))
    return steps[:first], steps[first:], data[len(data) - inner :] if inner else b""


class _Reader:
    """Steps one behind the other; `called` is the name of the descriptor with a number."""

    def __init__(self, data: bytes, called: Callable[[int], str]) -> None:
        self.data = data
        self.called = called
        self.at = 0

    def number(self, form: str) -> int:
        (found,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(found)

    def blob(self) -> bytes:
        length = self.number("<I")
        found = self.data[self.at : self.at + length]
        if len(found) != length:
            raise ValueError("cut short")
        self.at += length
        return found

    def step(self) -> Step:
        operation = OPERATIONS[self.number("<H") - 1]
        self.number("<I")
        note = self.blob().decode()
        return operation(note=note, **{name: self.argument(kind) for name, kind in arguments(operation)})

    def argument(self, kind: str) -> object:
        match kind:
            case "Attrs" | "Caps" | "Files" | "Ports" | "Scopes":
                mask = self.number("<Q")
                return tuple(name for name, bit in BITS[kind].items() if mask & bit)
            case "Limit":
                number = self.number("<I")
                return next(name for name, known in LIMITS.items() if known == number)
            case "Regs":
                return tuple(self.called(self.number("<H")) for _ in range(self.number("<I")))
            case "Texts":
                return tuple(self.text() for _ in range(self.number("<I")))
            case "Text":
                return self.text()
            case "Messages":
                return tuple(_parts(self.blob()))
            case "Blob":
                return self.blob()
            case "Reg" | "Out":
                return self.called(self.number("<H"))
            case "Switch":
                return bool(self.number("<I"))
        return self.number("<Q" if kind == "U64" else "<I")

    def text(self) -> Text:
        parts = _parts(self.blob())
        return tuple(part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part for part in parts)


def _parts(data: bytes) -> Iterator[bytes | Slot]:
    """What stands between slots, with its 0x01 bytes as they were, and the slots."""
    literal = b""
    at = 0
    while at < len(data):
        if data[at] != SLOT:
            end = data.find(SLOT, at)
            end = len(data) if end < 0 else end
            literal, at = literal + data[at:end], end
        elif data[at + 1] == 0:
            literal, at = literal + b"\1", at + 2
        else:
            if literal:
                yield literal
            kind, plus = struct.unpack_from("<BI", data, at + 1)
            yield Slot(SlotKind(kind), plus)
            literal, at = b"", at + 6
    if literal:
        yield literal
