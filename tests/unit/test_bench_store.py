"""What is said of the store: what a target asks, what the page has; and how a root is timed."""

from __future__ import annotations

import pytest

from bench import mounting, page, store_report
from bench.report import Machine
from bench.store import Found
from volt.model.plan import LaunchPlan
from volt.model.steps import Attach, CloneMount, MakeFilesystem, Open, SetMount
from volt.model.text import text

MACHINE = Machine("abc", "2026-11-29", "Linux", "a processor", 2, 0.1, {"volt": "0.1.0"})
# Each just on its bound: ours and theirs of two rounds.
VALUES = {
    "import-cp": ([12.0, 90.0], [10.0, 10.0]),
    "import-ostree": ([5.0, 5.0], [10.0, 90.0]),
    "pull-umoci": ([7.0, 90.0], [10.0, 10.0]),
    "pull-umoci-synced": ([7.0], [5.0]),
    "pull-podman": ([7.0], [5.0]),
    "disk": ([3.0], [10.0]),
    "cache": ([12.0], [100.0]),
    "launch": ([13.0, 90.0], [12.0, 12.0]),
}
MOUNTS = {1_000: 0.2, 100_000: 0.22}
MEMORY = {"large": 150.0, "huge": 50.0}


def found(values=None, mounts=None, memory=None):
    return Found(VALUES | (values or {}), MOUNTS | (mounts or {}), MEMORY | (memory or {}), 90_000_000)


def test_all_targets_are_reached_on_their_bounds():
    assert store_report.missed(found()) == []
    assert len(store_report.promised(found())) == 6 + 3 + 2


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ({"values": {"import-cp": ([12.1], [10.0])}}, "volt image import DIR, ms / cp -a, and sync"),
        ({"values": {"import-ostree": ([5.1], [10.0])}}, "volt image import DIR, ms / ostree commit"),
        ({"values": {"pull-umoci": ([7.1], [10.0])}}, "volt image pull, ms / skopeo copy, umoci unpack"),
        ({"values": {"disk": ([3.1], [10.0])}}, "5 similar images on disk, MiB / as folders"),
        ({"values": {"launch": ([13.1], [12.0])}}, "volt run from an image, ms - from a folder"),
        ({"mounts": {1_000: 0.26, 100_000: 0.22}}, "root of 1,000 files, ms"),
        ({"mounts": {100_000: 0.23}}, "root of 100,000 files / of 1,000"),
        ({"memory": {"huge": 151.0}}, "memory of a pull at its peak, huge, MiB"),
    ],
)
def test_a_target_is_missed_beyond_its_bound(changed, title):
    assert [one.title for one in store_report.missed(found(**changed))] == [title]


def test_what_nothing_was_promised_of_has_a_ratio_and_no_verdict():
    slow = found(values={"pull-podman": ([90.0], [10.0])})
    assert store_report.missed(slow) == []
    assert "9.000" in store_report.table(slow)


def test_the_page_has_the_part_before_that_of_validate_and_says_how_many_are_missed():
    said = store_report.part("scripts/bench store", MACHINE, found(values={"disk": ([3.1], [10.0])}))
    assert "1 of 11 are missed." in said
    assert "that has 90 MB" in said
    assert "| volt run from an image, ms | 13.0 | 51.5 | from a folder | 12.0 | 12.0 | +1.00 |" in said
    whole = page.renewed(page.renewed(page.renewed("", "validate", "V\n"), "store", said), "network", "N\n")
    assert whole.index("N\n") < whole.index("## The store") < whole.index("V\n")


def test_the_document_has_every_value_and_target():
    said = store_report.document(found())
    assert said["values"]["disk"] == ([3.0], [10.0])
    assert said["targets"][0]["reached"]


def test_a_root_that_is_made_again_has_all_its_steps_and_mounts_nothing_where_another_is():
    image = MakeFilesystem(type=text("erofs"), options=(), attrs=(), to="lower")
    overlay = MakeFilesystem(type=text("overlay"), options=(), attrs=(), to="merged")
    host = (
        image,
        SetMount(mount="lower", attrs=("ro",)),
        Open(path=text("/objects"), to="objects-folder"),
        CloneMount(source="objects-folder", to="objects"),
        SetMount(mount="objects", attrs=("ro",)),
    )
    plan = LaunchPlan("x", "container", host, (Attach(mount="lower", path=text("/lower")), overlay), (), (), ())
    made = mounting.with_roots(plan, 2)
    assert [len(made.host), len(made.guard)] == [3 * len(host), 2 + 2]
    assert [step.to for step in made.host[:3]] == ["lower", "lower-0", "lower-1"]
    assert [step.to for step in made.guard[1:]] == ["merged", "merged-0", "merged-1"]
    assert {step.source for step in made.host if isinstance(step, CloneMount)} == {
        *("objects-folder", "objects-folder-0", "objects-folder-1")
    }


def test_each_root_takes_an_equal_part_of_what_they_take_together():
    walls = {"one-7": [10.0, 50.0], "several-7": [90.0, 18.0]}
    assert mounting.each(walls, "7") == 8.0 / mounting.TIMES
