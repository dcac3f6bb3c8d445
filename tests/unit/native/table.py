"""Both sides of the table: steps whose values all differ, and the recorder that shows what C makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from tests.unit.native.programs import HERE, SANITIZED, memory_file
from volt.model import binary
from volt.model.binary import encode
from volt.model.landlock import bits
from volt.model.plan import STANDARD, LaunchPlan
from volt.model.steps import (
    CAPABILITIES,
    LIMITS,
    MOUNT_ATTRS,
    OPERATIONS,
    RIGHTS,
    Step,
    arguments,
    attribute_mask,
    mask_of,
)
from volt.model.text import (
    ADDRESS,
    BRIDGE,
    CLOCK,
    GROUPS,
    HEX,
    LINK,
    NAMESPACE,
    PID,
    RUN,
    STARTED,
    UIDS,
    Slot,
    SlotKind,
    Text,
)
from volt.native import build

# The annotation of an argument → the recorder's function for it.
RECORDS = {
    "Out": "number",
    "Reg": "descriptor",
    "Regs": "descriptors",
    "Text": "text",
    "Texts": "texts",
    "Blob": "bytes",
    "Messages": "bytes",
    "U32": "number",
    "U64": "number",
    "Mode": "number",
    "Switch": "number",
    "Attrs": "number",
    "Caps": "number",
    "Limit": "number",
    "Files": "number",
    "Ports": "number",
    "Scopes": "number",
}
LOADER = ("context.c", "memory.c", "failure.c", "format.c", "frames.c", "perform.c", "read.c")
SLOTS = {SlotKind.UIDS: 655360, SlotKind.PID: 4711, SlotKind.STARTED: 1700000000, SlotKind.CLOCK: 99}  # recorder.c
TEXTS = {RUN: "0123456789ab", ADDRESS: "10.189.1.7", HEX: "0abd0107", GROUPS: "abd:107"}


def recorder() -> str:
    """A do_ and an undo_ function for each operation, which write down the arguments."""
    lines = ['// Written by the tests from the table.\n#include "record.h"\n#include "table.h"\n']
    for operation in OPERATIONS:
        name = operation.name.replace("-", "_")
        fields = [f'    record_{RECORDS[kind]}("{field}", step->{field});' for field, kind in arguments(operation)]
        deed = [*(fields or ["    (void)step;"]), "    record_end();", "    return 0;", "}"]
        lines += [
            f"int do_{name}(struct context *context, const struct step_{name} *step) {{",
            f'    record_begin(context, "do", "{operation.name}");',
            *deed,
        ]
        if operation.undo or operation.release:
            lines += [
                f"int undo_{name}(struct context *context, const struct step_{name} *step, struct deed *deed,",
                "              enum ending ending) {",
                "    (void)deed, (void)ending;",
                f'    record_begin(context, "undo", "{operation.name}");',
                *deed,
            ]
    return "\n".join(lines) + "\n"


def compile_recorder(target: Path, *, sanitize: bool) -> None:
    """The loader's own sources with the recorder."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "operations.c")
        # Beside record.h: includes are looked for where the including file lies.
        source.write_text(recorder().replace('"record.h"', f'"{HERE / "record.h"}"'))
        own = [build.SOURCES / name for name in LOADER]
        build.compile_program(target, [*own, HERE / "recorder.c", source], sanitize=sanitize)


class Values:
    """An argument of any kind, never the same twice."""

    def __init__(self, opened: Sequence[str]) -> None:
        self.numbers = count(1)
        self.opened = list(opened)

    def of(self, kind: str) -> object:
        n = next(self.numbers)
        match kind:
            case "Out":
                self.opened.append(f"new-{n}")
                return self.opened[-1]
            case "Reg":
                return self._opened(n)
            case "Regs":
                return ("", self._opened(n), self._opened(n + 1))
            case "Text":
                return self._text(n)
            case "Texts":
                return (self._text(n), (), (f"{n}",))
            case "Blob":
                return bytes(range(256)) + n.to_bytes(2, "little")
            case "Messages":
                return (bytes(range(256)) + n.to_bytes(2, "little"), HEX, ADDRESS, b"\1", BRIDGE, NAMESPACE, LINK)
            case "U32" | "Mode":
                return 0xFFFF0000 + n
            case "U64":
                return 0xFFFFFFFF00000000 + n
            case "Switch":
                return True
            case "Attrs":
                return tuple(list(MOUNT_ATTRS)[n % 3 :])
            case "Caps":
                return (CAPABILITIES[n % 32], CAPABILITIES[-1 - n % 8])
            case "Limit":
                return list(LIMITS)[n % len(LIMITS)]
            case "Files" | "Ports" | "Scopes":
                return tuple(RIGHTS[kind][n % len(RIGHTS[kind]) :])
        raise AssertionError(kind)

    def _opened(self, n: int) -> str:
        return self.opened[n % len(self.opened)]

    def _text(self, n: int) -> Text:
        slots = (RUN, "/", PID, ".", STARTED, "\1", CLOCK, UIDS, ADDRESS, HEX, GROUPS)
        return (f"{n} {{}}\1ü\udcff\n", Slot(SlotKind.UIDS, n), *slots)

    def step(self, operation: type[Step]) -> Step:
        values = {name: self.of(kind) for name, kind in arguments(operation)}
        return operation(note=f"note of {operation.name}", **values)


def every_operation() -> LaunchPlan:
    """Each operation once in every section."""
    outer, inner = Values(STANDARD), Values(("control", "one"))
    sections = [tuple(values.step(operation) for operation in OPERATIONS) for values in (outer, outer, inner, inner)]
    return LaunchPlan("every", "container", *sections, ("control", "one"))


def expected(plan: LaunchPlan) -> Iterator[dict[str, object]]:
    """What the recorder has to show of a plan: both programs, each done in order and undone newest first."""
    outer, inner = [*plan.host, *plan.guard], [*plan.init, *plan.payload]
    length = len(encode(LaunchPlan("", "", (), (), plan.init, plan.payload, plan.inherited))) - 36
    yield {"registers": 3, "first": len(plan.host), "second": len(plan.guard), "number": 1, "inner": length}
    yield from _performed(outer, STANDARD)
    yield {
        "registers": len(plan.inherited),
        "first": len(plan.init),
        "second": len(plan.payload),
        "number": len(outer) + 1,
        "inner": 0,
    }
    yield from _performed(inner, plan.inherited)


def _performed(steps: Sequence[Step], opened: Sequence[str]) -> Iterator[dict[str, object]]:
    names = list(opened)
    done = [{"do": step.name, "checking": False, **_arguments(step, names)} for step in steps]
    yield from done
    for step, record in reversed(list(zip(steps, done, strict=True))):
        if step.undo or step.release:
            yield {"undo": step.name, **{key: value for key, value in record.items() if key != "do"}}


def _arguments(step: Step, names: list[str]) -> dict[str, object]:
    return {name: _plain(kind, getattr(step, name), names) for name, kind in arguments(type(step))}


def _plain(kind: str, value: object, names: list[str]) -> object:
    """The value as C has it."""
    match kind, value:
        case "Out", str():
            names.append(value)
            return len(names)
        case "Reg", str():
            return names.index(value) + 1 if value else 0
        case "Regs", tuple():
            return [names.index(item) + 1 if item else 0 for item in value]
        case "Text", tuple():
            return _filled(value)
        case "Texts", tuple():
            return [_filled(item) for item in value]
        case "Blob", bytes():
            return value.hex()
        case "Messages", tuple():  # as they are sent over: a step fills them in
            return binary._argument(kind, value, {})[4:].hex()
        case "Attrs", tuple():
            return attribute_mask(value)
        case "Caps", tuple():
            return mask_of(value)
        case "Limit", str():
            return LIMITS[value]
        case "Files" | "Ports" | "Scopes", tuple():
            return bits(value, RIGHTS[kind])
    return int(value)


def _filled(text: Text) -> str:
    parts = [part if isinstance(part, str) else _slot(part) for part in text]
    return "".join(parts).encode("utf-8", "surrogateescape").hex()


def _slot(slot: Slot) -> str:
    return TEXTS[slot] if slot in TEXTS else str(SLOTS[slot.kind] + slot.plus)


def recorded(program: Path, what: bytes) -> list[dict[str, object]]:
    """What the recorder shows of these bytes."""
    descriptor = memory_file(what)
    try:
        done = subprocess.run(
            [program, "show", str(descriptor)],
            pass_fds=(descriptor,),
            capture_output=True,
            text=True,
            env=SANITIZED,
            check=False,
        )
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
