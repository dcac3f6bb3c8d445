"""Which user ids others have."""

import os

from volt.host.ids import FIRST, LAST, RANGE, busy_ranges, subordinate_ranges
from volt.plan import uids


def test_subordinate_ranges_of_both_files_once_and_in_order(tmp_path):
    (tmp_path / "subuid").write_text("web:200000:65536\nroot:100000:65536\n")
    (tmp_path / "subgid").write_text("root:100000:65536\n")
    files = (f"{tmp_path}/subuid", f"{tmp_path}/subgid")
    assert subordinate_ranges(files) == ((100000, 65536), (200000, 65536))


def test_lines_that_are_no_ranges_are_left_out(tmp_path):
    (tmp_path / "subuid").write_text("# comment\n\nweb:1\nweb:one:two\nweb:-1:5\nweb:1:2:3\nweb:٣:3\nweb:7:8\n")
    assert subordinate_ranges((f"{tmp_path}/subuid", f"{tmp_path}/missing")) == ((7, 8),)


def test_processes_below_proc_are_its_numbers(tmp_path):
    """Owners outside of volt's ranges are nobody's business."""
    for name in ("1", "self", "4711"):
        (tmp_path / name).mkdir()
    assert not FIRST <= os.getuid() <= LAST
    assert busy_ranges(str(tmp_path)) == ()


def test_the_ranges_are_the_plans():
    assert (FIRST, LAST, RANGE) == (uids.FIRST, uids.LAST, uids.RANGE)


def test_this_machine():
    assert all((first - FIRST) % RANGE == 0 and FIRST <= first <= LAST for first in busy_ranges())
    assert all(count >= 0 for _, count in subordinate_ranges())
