"""Writes table.h, the C side of the table of operations: opcodes, a struct and a decoder for each, dispatch.

Run as a program it prints the header. Standard library only, as the build of a wheel needs it.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from volt.model import binary, entry, items, protocol
from volt.model.folders import UIDS_FOLDER, Folders
from volt.model.steps import FILE_RIGHTS, MAKE_FILE, MAKE_FOLDER, OPCODES, Step, arguments, table_version
from volt.model.text import SlotKind

# The annotation of an argument → its C type and the function of read.h that reads it.
TYPES = {
    "Out": ("uint16_t ", "read_register_number"),
    "Reg": ("int ", "read_descriptor"),
    "Regs": ("struct descriptors ", "read_descriptors"),
    "Text": ("const char *", "read_text"),
    "Texts": ("struct texts ", "read_texts"),
    "Blob": ("struct bytes ", "read_bytes"),
    "Messages": ("struct bytes ", "read_messages"),
    "U32": ("uint32_t ", "read_u32"),
    "U64": ("uint64_t ", "read_u64"),
    "Mode": ("uint32_t ", "read_u32"),
    "Switch": ("bool ", "read_switch"),
    "Attrs": ("uint64_t ", "read_u64"),
    "Caps": ("uint64_t ", "read_u64"),
    "Limit": ("uint32_t ", "read_u32"),
    "Files": ("uint64_t ", "read_u64"),
    "Ports": ("uint64_t ", "read_u64"),
    "Scopes": ("uint64_t ", "read_u64"),
}


def table() -> str:
    """The text of table.h."""
    parts = [
        (
            "// Written by volt/native/generate.py from volt/model/steps.py: not to be edited.\n"
            "#ifndef VOLT_TABLE_H\n#define VOLT_TABLE_H\n"
        ),
        _numbers(),
        *(_struct(operation) for operation in OPCODES),
        *(_prototypes(operation) for operation in OPCODES),
        "#ifdef VOLT_TABLE_CODE\n",
        _names(),
        *(_decoder(operation) for operation in OPCODES),
        _perform(),
        _undo(),
        _check(),
        _once(),
        "#endif\n\n#ifdef VOLT_TABLE_ERRORS\n",
        _errors(),
        "#endif\n\n#endif\n",
    ]
    return "\n".join(parts)


def _ident(operation: type[Step]) -> str:
    return operation.name.replace("-", "_")


def _copies() -> dict[str, str]:
    return {
        "ITEM_HEAD": f"{items.HEAD.size}u",
        "ITEM_TEXT": f"{items.TEXT_LIMIT}u",
        "ITEM_DEEPEST": f"{items.DEEPEST}u",
        "ITEM_NO_MODE": f"{items.NO_MODE:#x}u",
        "PIECE_HEAD": f"{items.PIECE.size}u",
        "PIECE_LIMIT": f"{items.PIECE_LIMIT}u",
        "PIECE_HOLE": f"{items.HOLE:#x}ull",
    }


def _numbers() -> str:
    opcodes = (f"    OP_{_ident(op).upper()} = {number}," for op, number in OPCODES.items())
    kinds = (f"    ITEM_{kind.name} = {kind.value}," for kind in items.Kind)
    whys = (f"    WHY_{why.name} = {why.value}," for why in items.Why)
    frames = (f"    FRAME_{frame.name} = {frame.value}," for frame in protocol.Frame)
    depends = (f"    DEPENDS_{kind.name} = {kind.value}," for kind in entry.Depends)
    slots = (f"    SLOT_{slot.name} = {slot.value}," for slot in SlotKind)
    constants = {
        "TABLE_VERSION": f"{table_version()}u",
        "PROGRAM_MAGIC": f'"{binary.MAGIC.decode()}"',
        "PROGRAM_HEADER": f"{binary.HEADER.size}u",
        "ENTRY_MAGIC": f'"{entry.MAGIC.decode()}"',
        "ENTRY_VERSION": f"{entry.entry_version()}u",
        "ENTRY_HEADER": f"{entry.HEADER.size}u",
        "ENTRY_MOST": f"{entry.MOST}u",
        "ENTRY_NUMBERS": f"{entry.NUMBERS}",
        "STATE_FOLDER": f'"{Folders().state}"',
        "RUN_FOLDER": f'"{Folders().run}"',
        "UIDS_FOLDER": f'"{UIDS_FOLDER}"',
        "FRAME_MAGIC": f"{protocol.MAGIC:#x}u",
        "FRAME_VERSION": f"{protocol.VERSION}u",
        "FRAME_LIMIT": f"{protocol.FRAME_LIMIT}u",
        "GO_ON": f"{protocol.GO_ON}u",
        "SESSION_ATTEMPTS": f"{protocol.SESSION_ATTEMPTS}u",
        "SESSION_COMMAND": f"{protocol.SESSION_COMMAND}u",
        "SESSION_COPY": f"{protocol.SESSION_COPY}u",
        **_copies(),
        "ON_TERMINAL": f"{protocol.ON_TERMINAL}u",
        "MAKE_FOLDER": f"{MAKE_FOLDER}u",
        "MAKE_FILE": f"{MAKE_FILE}u",
        "FILE_RIGHTS": f"{FILE_RIGHTS:#x}u",
    }
    defines = (f"#define {name} {value}" for name, value in constants.items())
    return "\n".join(
        [
            *(*defines, "", "enum opcode {", *opcodes, "};", ""),
            *("enum frame_type {", *frames, "};", ""),
            *("enum item_kind {", *kinds, "};", ""),
            *("enum why {", *whys, "};", ""),
            *("enum slot_kind {", *slots, "};", ""),
            *("enum depends {", *depends, "};", ""),
        ]
    )


def _struct(operation: type[Step]) -> str:
    fields = [f"    {TYPES[kind][0]}{name};" for name, kind in arguments(operation)]
    return "\n".join([f"struct step_{_ident(operation)} {{", *(fields or ["    char nothing;"]), "};", ""])


def _undoable(operation: type[Step]) -> bool:
    return bool(operation.undo or operation.release)


def _prototypes(operation: type[Step]) -> str:
    name = _ident(operation)
    lines = [f"int do_{name}(struct context *context, const struct step_{name} *step);"]
    if _undoable(operation):
        lines.append(
            f"int undo_{name}(struct context *context, const struct step_{name} *step, struct deed *deed,\n"
            f"              enum ending ending);"
        )
    return "\n".join(lines)


def _names() -> str:
    rows = (f'    [OP_{_ident(op).upper()}] = "{op.name}",' for op in OPCODES)
    return "\n".join(
        [
            "static const char *const operation_names[] = {",
            *rows,
            "};",
            "",
            "const char *operation_name(unsigned opcode) {",
            "    size_t count = sizeof operation_names / sizeof *operation_names;",
            '    return opcode > 0 && opcode < count ? operation_names[opcode] : "unknown operation";',
            "}",
            "",
        ]
    )


def _decoder(operation: type[Step]) -> str:
    name = _ident(operation)
    reads = [f"    step->{field} = {TYPES[kind][1]}(in);" for field, kind in arguments(operation)]
    return "\n".join(
        [
            f"static bool decode_{name}(struct reader *in, struct step_{name} *step) {{",
            *(reads or ["    step->nothing = 0;"]),
            "    return reader_ended(in);",
            "}",
            "",
        ]
    )


def _perform() -> str:
    lines = ["static int perform_operation(struct context *context, unsigned opcode, struct reader *in) {"]
    lines.append("    switch (opcode) {")
    for operation in OPCODES:
        name = _ident(operation)
        lines += [
            f"    case OP_{name.upper()}: {{",
            f"        struct step_{name} step;",
            f"        return decode_{name}(in, &step) ? do_{name}(context, &step) : damaged(in);",
            "    }",
        ]
    return "\n".join([*lines, "    }", "    return damaged(in);", "}", ""])


def _undo() -> str:
    lines = [
        "static int undo_operation(struct context *context, unsigned opcode, struct reader *in, struct deed *deed,",
        "                          enum ending ending) {",
        "    switch (opcode) {",
    ]
    for operation in filter(_undoable, OPCODES):
        name = _ident(operation)
        lines += [
            f"    case OP_{name.upper()}: {{",
            f"        struct step_{name} step;",
            f"        return decode_{name}(in, &step) ? undo_{name}(context, &step, deed, ending) : damaged(in);",
            "    }",
        ]
    return "\n".join([*lines, "    }", "    return 0;", "}", ""])


def _check() -> str:
    lines = ["static bool check_operation(unsigned opcode, struct reader *in) {", "    switch (opcode) {"]
    for operation in OPCODES:
        name = _ident(operation)
        lines += [
            f"    case OP_{name.upper()}: {{",
            f"        struct step_{name} step;",
            f"        return decode_{name}(in, &step);",
            "    }",
        ]
    return "\n".join([*lines, "    }", "    return false;", "}", ""])


def _once() -> str:
    """What is not done again where the payload is started anew."""
    cases = (f"    case OP_{_ident(op).upper()}:" for op in OPCODES if op.once)
    lines = ("bool operation_once(unsigned opcode) {", "    switch (opcode) {", *cases, "        return true;", "    }")
    return "\n".join([*lines, "    return false;", "}", ""])


def _errors() -> str:
    """The names of errors, errno(3); their numbers come from the C library's header."""
    names = sorted(name for name in errno.errorcode.values() if re.fullmatch(r"E[A-Z0-9]+", name))
    rows = (f'#ifdef {name}\n    {{{name}, "{name}"}},\n#endif' for name in names)
    return "\n".join(["static const struct { int number; const char *name; } error_names[] = {", *rows, "};", ""])


def write(folder: Path) -> Path:
    """Writes table.h into `folder`."""
    path = folder / "table.h"
    path.write_text(table())
    return path


if __name__ == "__main__":
    print(table())  # noqa: T201
