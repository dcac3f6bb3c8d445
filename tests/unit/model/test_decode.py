"""A plan read back: as plan, out of a cache entry, and what is none is refused."""

from __future__ import annotations

import struct

import pytest

from volt.errors import StateError
from volt.model.binary import HEADER, encode
from volt.model.decode import DAMAGED, FOREIGN, decode
from volt.model.entry import encode_entry
from volt.model.plan import LaunchPlan
from volt.model.steps import MakeFolder, Open, SetLimit, SetMount
from volt.model.text import RUN, UIDS, Slot, text


def plan(*host):
    return LaunchPlan("t", "container", host, (), (), (), ())


def read(data):
    return decode(data, "t", "container")


def test_texts_keep_slots_and_any_byte():
    path = text("/a", RUN, "\1b\udcff", Slot(UIDS.kind, 70_000))
    (step,) = read(encode(plan(MakeFolder(path=path, note="grüße")))).host
    assert step == MakeFolder(path=path, note="grüße")


def test_sets_limits_and_switches_come_back_by_name():
    steps = (
        Open(path=text("/"), to="d4"),
        SetMount(mount="d4", attrs=("ro", "nodev"), recursive=True),
        SetLimit(resource="nofile", soft=1, hard=2**64 - 1),
    )
    assert read(encode(plan(*steps))).host == steps


def test_the_plan_of_a_cache_entry():
    made = plan(MakeFolder(path=text("/a")))
    entry = encode_entry(b"question", (), encode(made), b"k" * 16)
    assert read(entry) == made


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", lambda _: b"VOLTCACH"]
)
def test_what_is_cut_or_longer_is_refused(change):
    with pytest.raises(StateError, match=DAMAGED):
        read(change(encode(plan(MakeFolder(path=text("/a"))))))


def test_the_plan_of_another_version_is_refused_by_that_name():
    data = bytearray(encode(plan()))
    struct.pack_into("<I", data, 8, 1)
    assert HEADER.unpack_from(data)[1] == 1
    with pytest.raises(StateError, match=FOREIGN):
        read(bytes(data))
