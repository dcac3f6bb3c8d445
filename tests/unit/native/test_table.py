"""Python and C agree on the table of operations: numbers, order and kinds of arguments, their values, slots."""

from __future__ import annotations

import re
import struct

import pytest

from tests.unit.native import programs, table
from volt.model import binary, protocol, steps
from volt.model.steps import KINDS, OPCODES, OPERATIONS, arguments, table_version
from volt.model.text import Slot, SlotKind
from volt.native import build, generate


def test_every_value_arrives_as_it_was_sent(table_program):
    plan = table.every_operation()
    assert table.recorded(table_program, binary.encode(plan)) == list(table.expected(plan))


def test_values_at_rest_arrive_too(table_program):
    """Empty texts, lists without items, descriptors of nothing."""
    plan = programs.plan(
        host=[steps.Report(), steps.SetMount(mount="stdin"), steps.MakeFolder(path=())],
        guard=[steps.Execute(argv=(), env=())],
        payload=[steps.SetIdentity(uid=0, gid=0)],
    )
    assert table.recorded(table_program, binary.encode(plan)) == list(table.expected(plan))


def test_the_longest_numbers_of_slots_arrive(table_program):
    path = (Slot(SlotKind.UIDS, 2**32 - 1), "|", Slot(SlotKind.UIDS, 0))
    plan = programs.plan(host=[steps.MakeFolder(path=path)])
    assert table.recorded(table_program, binary.encode(plan)) == list(table.expected(plan))


def test_the_kinds_of_arguments_are_the_same_on_both_sides():
    assert set(generate.TYPES) == set(KINDS) == set(table.RECORDS)
    used = {kind for operation in OPERATIONS for _, kind in arguments(operation)}
    assert used == set(KINDS)


def test_the_header_is_what_the_docstring_of_the_binary_form_says():
    text = generate.table()
    assert f"#define TABLE_VERSION {table_version()}u\n" in text
    assert f'#define PROGRAM_MAGIC "{binary.MAGIC.decode()}"\n' in text
    assert f"#define PROGRAM_HEADER {struct.calcsize('<8s7I')}u\n" in text
    assert f"#define FRAME_MAGIC {int.from_bytes(b'VOLT', 'little'):#x}u\n" in text
    assert f"#define FRAME_LIMIT {protocol.FRAME_LIMIT}u\n" in text


def test_every_operation_frame_and_slot_has_its_number_in_c():
    text = generate.table()
    numbers = dict(re.findall(r"^    ((?:OP|FRAME|SLOT)_\w+) = (\d+),$", text, re.MULTILINE))
    wanted = {f"OP_{op.name.replace('-', '_').upper()}": n for op, n in OPCODES.items()}
    wanted |= {f"FRAME_{frame.name}": frame.value for frame in protocol.Frame}
    wanted |= {f"SLOT_{slot.name}": slot.value for slot in SlotKind}
    assert {name: int(number) for name, number in numbers.items()} == wanted


def functions() -> list[str]:
    """What the program has to define for its table."""
    names = [(op, op.name.replace("-", "_")) for op in OPERATIONS]
    return [f"do_{name}" for _, name in names] + [f"undo_{name}" for op, name in names if op.undo or op.release]


@pytest.mark.parametrize("name", functions())
def test_every_operation_is_done_and_undone_by_one_function(name):
    sources = [path.name for path in build.sources() if re.search(rf"^int {name}\(", path.read_text(), re.MULTILINE)]
    assert len(sources) == 1


def test_no_function_is_left_over_from_an_operation_that_is_gone():
    found = {
        name
        for path in build.sources()
        for name in re.findall(
            r"^int ((?:do|undo)_\w+)\(struct context \*context, const struct", path.read_text(), re.MULTILINE
        )
    }
    assert found == set(functions())


def test_the_compiler_refuses_an_operation_without_its_function(tmp_path, capfd):
    without = [path for path in build.sources() if path.name != "cgroup.c"]
    with pytest.raises(build.subprocess.CalledProcessError):
        build.compile_program(tmp_path / "volt", without)
    assert "do_make_cgroup" in capfd.readouterr().err


def test_a_decoder_that_reads_in_another_order_is_noticed(table_program):
    """The recorder tells values apart: a plan that swaps two of them is not the one expected."""
    plan = table.every_operation()
    other = programs.plan(plan.host[::-1], plan.guard, plan.init, plan.payload, plan.inherited)
    with pytest.raises((AssertionError, KeyError)):
        assert table.recorded(table_program, binary.encode(other)) == list(table.expected(plan))
