"""A run's record: believed when it is whole, of this version, and this run's."""

import json

import pytest

from volt.errors import StateError
from volt.runs.record import Record, parse_record

RUN = "0123456789ab"
WHOLE = {
    "version": 1,
    "id": RUN,
    "name": "web",
    "mode": "container",
    "pid": 4711,
    "clock": 99,
    "boot_id": "b",
    "cgroup": "/sys/fs/cgroup/volt-0123456789ab",
    "uids": 1879048192,
    "started": 1700000000,
}


def written(**changes):
    return json.dumps({**WHOLE, **changes}).encode()


def test_a_whole_record():
    expected = {name: value for name, value in WHOLE.items() if name != "version"}
    assert parse_record(written(), RUN) == Record(**expected)


def test_what_a_release_adds_is_left_out():
    assert parse_record(written(labels={}, more=1), RUN) == parse_record(written(), RUN)


@pytest.mark.parametrize("length", [0, 1, 20, len(written()) - 1])
def test_a_torn_record_is_refused(length):
    with pytest.raises(StateError, match=f"run {RUN}: its record is torn"):
        parse_record(written()[:length], RUN)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(StateError, match="torn"):
        parse_record(b"\xff\xfe\xfa", RUN)


def test_a_newer_version_is_refused_and_says_which():
    with pytest.raises(StateError, match="has version 2, this volt knows 1"):
        parse_record(written(version=2), RUN)


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b"{}", b'{"version": "1"}', b'{"version": null}'])
def test_what_has_no_version_is_refused(data):
    with pytest.raises(StateError, match="has no version"):
        parse_record(data, RUN)


def test_another_runs_record_is_refused():
    with pytest.raises(StateError, match="another run's, ffffffffffff"):
        parse_record(written(id="f" * 12), RUN)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "version"])
@pytest.mark.parametrize("value", [None, [], {}, True, 1.5])
def test_a_field_that_is_missing_or_of_another_kind_is_named(name, value):
    with pytest.raises(StateError, match=f"has no {name}"):
        parse_record(written(**{name: value}), RUN)


def test_what_the_plan_writes_is_a_record():
    """The writer is the plan's write-file step: its text, with its slots filled, is what is read here."""
    from tests.unit.plan.test_assemble import plan
    from volt.model.steps import WriteFile
    from volt.model.text import SlotKind

    (step,) = [step for step in plan().host if isinstance(step, WriteFile)]
    values = {SlotKind.RUN: RUN, SlotKind.PID: "7", SlotKind.CLOCK: "8", SlotKind.STARTED: "9", SlotKind.UIDS: "10"}
    filled = "".join(part if isinstance(part, str) else values[part.kind] for part in step.content)
    record = parse_record(filled.encode(), RUN)
    assert (record.pid, record.clock, record.started, record.uids) == (7, 8, 9, 10)
    assert (record.name, record.mode, record.cgroup) == ("web", "container", f"/sys/fs/cgroup/volt-{RUN}")
