"""The binary form, read back by a second reading of its docstring; what cannot be encoded is an error."""

from __future__ import annotations

import struct

import pytest

from volt.model.binary import HEADER, MAGIC, encode
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    OPCODES,
    Execute,
    MakeFolder,
    Mask,
    Open,
    ProtectInit,
    Seal,
    SetCapabilities,
    SetLimit,
    SetMount,
    StartPayload,
    TimeLimit,
    table_version,
)
from volt.model.text import RUN, Slot, SlotKind, text


def plan(host=(), guard=(), init=(), payload=(), inherited=()):
    return LaunchPlan("t", "container", tuple(host), tuple(guard), tuple(init), tuple(payload), tuple(inherited))


def first_step(step, *before):
    """The bytes of a step behind `before`: (operation, note, arguments)."""
    data = encode(plan([*before, step]))[HEADER.size :]
    for _ in (*before, step):
        opcode, length = struct.unpack_from("<HI", data)
        body, data = data[6 : 6 + length], data[6 + length :]
    (note,) = struct.unpack_from("<I", body)
    return opcode, body[4 : 4 + note], body[4 + note :]


def u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def test_the_header_counts_what_follows():
    data = encode(plan([ProtectInit()] * 3, [ProtectInit()] * 2, [ProtectInit()], [], ["control", "one", "two"]))
    outer = HEADER.unpack_from(data)
    assert outer == (MAGIC, table_version(), len(data), 3, 3, 2, 1, HEADER.size + 10)
    inner = HEADER.unpack_from(data, len(data) - outer[-1])
    assert inner == (MAGIC, table_version(), HEADER.size + 10, 3, 1, 0, 6, 0)


def test_an_empty_plan_is_two_headers():
    assert len(encode(plan())) == 2 * HEADER.size


def test_a_step_is_its_number_its_note_and_its_arguments():
    opcode, note, body = first_step(TimeLimit(milliseconds=2**40, note="grüße"))
    assert opcode == OPCODES[TimeLimit]
    assert note == "grüße".encode()
    assert body == struct.pack("<Q", 2**40)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (text(), b""),
        (text("/a"), b"/a"),
        (text("ü"), b"\xc3\xbc"),
        (text("\udcff"), b"\xff"),
        (text("\1"), b"\1\0"),
        (text(RUN), b"\1\1\0\0\0\0"),
        (text("a", Slot(SlotKind.UIDS, 1000), "b"), b"a\1\2\xe8\3\0\0b"),
    ],
)
def test_a_text_is_its_bytes_with_slots_marked(value, raw):
    assert first_step(Mask(path=value))[2] == u32(len(raw)) + raw


def test_a_blob_may_hold_anything():
    assert first_step(Seal(content=b"\0\1\xff", to="x"))[2] == u32(3) + b"\0\1\xff" + struct.pack("<H", 4)


def test_names_become_bits_and_numbers():
    assert first_step(SetCapabilities(caps=("CHOWN", "BPF"), ambient=()))[2] == struct.pack("<QQ", 1 | 1 << 39, 0)
    assert first_step(SetLimit(resource="nofile", soft=1, hard=2**64 - 1))[2] == struct.pack("<IQQ", 7, 1, 2**64 - 1)
    assert first_step(SetMount(mount="stdin", attrs=("ro",)))[2] == struct.pack("<HQHI", 1, 1, 0, 0)


def test_lists_are_counted():
    body = first_step(Execute(argv=(text("a"), ()), env=(), stdio=("stdin", "", "stderr")))[2]
    assert body == u32(2, 1) + b"a" + u32(0, 0, 3) + struct.pack("<3H", 1, 0, 3) + u32(0, 0, 0)


def test_descriptors_are_numbered_in_the_order_of_their_opening():
    opened = [Open(path=text("/a"), to="a"), Open(path=text("/b"), to="b")]
    again = Open(path=text("/c"), to="a")
    assert first_step(SetMount(mount="b"), *opened)[2][:2] == struct.pack("<H", 5)
    assert first_step(SetMount(mount="a"), *opened, again)[2][:2] == struct.pack("<H", 4)
    assert first_step(again, *opened)[2][-2:] == struct.pack("<H", 4)


def test_the_guard_knows_what_the_host_has_opened_and_the_init_what_it_inherits():
    opened = Open(path=text("/a"), to="a")
    encode(plan([opened], [SetMount(mount="a")]))
    encode(plan(init=[StartPayload(stdio=("one",))], inherited=["one"]))


@pytest.mark.parametrize(
    "given",
    [
        plan([SetMount(mount="a")]),
        plan([SetMount(mount="a"), Open(path=text("/a"), to="a")]),
        plan([Execute(argv=(), env=(), stdio=("a",))]),
        plan([Open(path=text("/a"), to="a")], init=[SetMount(mount="a")]),
        plan(init=[SetMount(mount="stdin")]),
        plan([SetMount(mount="one")], inherited=["one"]),
        plan([SetLimit(resource="none", soft=0, hard=0)]),
        plan([SetMount(mount="stdin", attrs=("rw",))]),
    ],
    ids=[
        "never",
        "later",
        "in a list",
        "not inside",
        "not the standard ones",
        "not outside",
        "no limit",
        "no attribute",
    ],
)
def test_a_name_that_stands_for_nothing_is_a_key_error(given):
    with pytest.raises(KeyError):
        encode(given)


def test_a_capability_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="ROOT"):
        encode(plan([SetCapabilities(caps=("ROOT",))]))


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_number_that_has_no_room_is_an_error(number):
    with pytest.raises(struct.error):
        encode(plan([TimeLimit(milliseconds=number)]))


@pytest.mark.parametrize(
    "step",
    [
        MakeFolder(path="/a"),
        MakeFolder(path=text("/a"), mode="0755"),
        Seal(content="text", to="x"),
        TimeLimit(milliseconds=1.5),
        Execute(argv="sh", env=()),
    ],
    ids=lambda step: step.name,
)
def test_a_value_of_another_type_is_an_error(step):
    with pytest.raises(TypeError, match="cannot hold"):
        encode(plan([step]))


def test_equal_plans_are_equal_bytes():
    one, two = (
        plan([MakeFolder(path=text("/a", RUN))], payload=[Execute(argv=(text("a"),), env=())]) for _ in range(2)
    )
    assert encode(one) == encode(two)
