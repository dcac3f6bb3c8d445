"""What is said of bridge and published ports: which value is the best, what a target asks, what the page has."""

from __future__ import annotations

import pytest

from bench import network_report, page
from bench.measure import BenchFailed
from bench.network import Network, at_once, every_workload
from bench.report import Machine

MACHINE = Machine("abc", "2026-11-29", "Linux", "a processor", 2, 0.1, {"volt": "0.1.0"})
# Each just on its bound: ours and theirs of two rounds.
REACHED = {
    "start": ([10.0, 50.0], [100.0, 100.0]),
    "plain": ([16.0, 20.0], [10.0, 10.0]),
    "first": ([10.0, 10.0], [100.0, 100.0]),
    "throughput": ([1.0, 9.5], [10.0, 2.0]),
    "echo": ([950.0, 1.0], [1000.0, 1.0]),
    "throughput-podman": ([5.0], [10.0]),
    "echo-podman": ([5.0], [10.0]),
    "rate": ([50.0], [5.0]),
    "new": ([5.0], [5.0]),
}
FLAT = {0: [10.0, 20.0], 100: [11.0, 30.0], 300: [11.0, 30.0]}


def measured(**values):
    flat = FLAT | values.pop("flat", {})
    return Network(300, 30, REACHED | values, flat)


def test_all_targets_are_reached_on_their_bounds():
    assert network_report.missed(measured()) == []
    assert [one.name for one in network_report.promised(measured())] == [
        *("start", "plain", "throughput", "echo", "rate", "flat-100", "flat-300")
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("start", ([10.1, 10.1], [100.0, 100.0])),
        ("plain", ([16.1, 16.1], [10.0, 10.0])),
        ("throughput", ([9.4, 9.4], [10.0, 1.0])),
        ("echo", ([949.0, 1.0], [1000.0, 1.0])),
        ("rate", ([49.0], [5.0])),
    ],
)
def test_a_target_is_missed_beyond_its_bound(name, values):
    assert [one.name for one in network_report.missed(measured(**{name: values}))] == [name]


def test_a_packet_that_pays_for_other_workloads_misses_the_target():
    assert [one.name for one in network_report.missed(measured(flat={300: [11.1, 12.0]}))] == ["flat-300"]


def test_what_nothing_was_promised_of_has_a_ratio_and_no_verdict():
    slow = measured(first=([500.0], [100.0]))
    assert network_report.missed(slow) == []
    assert "5.000" in network_report.table(slow)


def test_the_best_is_the_least_time_and_the_most_in_a_second():
    rows = [*network_report.pair_rows(measured())]
    assert ["volt run --detach until its port answers, ms", "10.0", "10.0"] in [row[:3] for row in rows]
    assert ["through a published port, Gbit/s", "9.50", "5.25", "veth and DNAT", "10.0", "6.00", "0.950"] in rows


def test_the_page_has_the_part_behind_that_of_life_and_says_how_many_are_missed():
    said = network_report.part("scripts/bench network", MACHINE, measured(rate=([49.0], [5.0])))
    assert "1 of 7 are missed." in said
    whole = page.renewed(page.renewed(page.renewed("", "validate", "V\n"), "network", said), "life", "L\n")
    assert whole.index("L\n") < whole.index("## Bridge and published ports") < whole.index("V\n")


def test_the_document_has_every_value_and_target():
    said = network_report.document(measured())
    assert said["values"]["rate"] == ([50.0], [5.0])
    assert said["targets"][0] == {"name": "start", "bound": 0.1, "is": 0.1, "reached": True}


def test_no_two_workloads_that_live_at_once_publish_one_port():
    ports = [
        one.partition(":")[0] for name, (_, all_) in every_workload(300).items() if name != "first" for one in all_
    ]
    assert len({*ports}) == len(ports)


def test_of_commands_at_once_every_failure_is_told():
    at_once([["true"]] * 20, {"PATH": "/bin:/usr/bin"})
    with pytest.raises(BenchFailed, match="2 of 20 failed, the first: sh -c echo why >&2; exit 3 ended with 3\nwhy"):
        at_once([["true"]] * 18 + [["sh", "-c", "echo why >&2; exit 3"]] * 2, {"PATH": "/bin:/usr/bin"})
