"""The plan of a living run: read from what its supervisor keeps open, and from nothing else that is open there."""

import os

import pytest

from tests.unit.runs.test_record import WHOLE
from volt.errors import StateError
from volt.launch.handover import seal
from volt.runs.kept import kept_plan
from volt.runs.record import Record


@pytest.fixture
def record():
    """Of a run whose supervisor is this process."""
    known = {name: WHOLE[name] for name in Record.__dataclass_fields__ if name in WHOLE}
    return Record(**{**known, "pid": os.getpid()})


def test_a_plan_that_was_handed_over_is_found(record, tmp_path):
    handed = seal(b"the plan")
    try:
        assert kept_plan(record, str(tmp_path)) == b"the plan"
    finally:
        os.close(handed)


@pytest.mark.parametrize("gone", [False, True])
def test_the_entry_of_a_cached_launch_is_found_though_another_has_its_name_by_now(record, tmp_path, gone):
    entry = tmp_path / "state/plans/0a"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"an entry")
    (tmp_path / "link").symlink_to("state")
    with entry.open("rb"):
        if gone:
            entry.unlink()
        assert kept_plan(record, str(tmp_path / "link")) == b"an entry"


def test_what_the_caller_has_open_in_some_folder_of_plans_is_no_plan(record, tmp_path):
    other = tmp_path / "home/plans/house"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"a garden")
    with other.open("rb"), pytest.raises(StateError, match="did not keep its plan"):
        kept_plan(record, str(tmp_path / "state"))
