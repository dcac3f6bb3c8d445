"""What scripts/bench says of its measurements, and how it takes them; no container is launched here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import imports, life, life_report, memory, peers, plot, report
from bench.__main__ import parser
from bench.figures import TARGETS, Ratio, Sample, Summary, Target, percentile, ratio, reached, summary
from bench.measure import WARMING, BenchFailed, Case, interleaved

TOP = Path(__file__).parents[2]


def samples(*walls: float) -> list[Sample]:
    return [Sample(wall, wall / 2) for wall in walls]


def test_p99_is_a_measured_value_that_one_in_a_hundred_exceeds():
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 1001), 0.99) == 990
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([7.0], 0.99) == 7.0


def test_a_summary_has_minimum_median_p99_and_median_cpu():
    assert summary(samples(4, 1, 3, 2)) == Summary(minimum=1, median=2.5, p99=4, cpu=1.25)


def test_the_paired_ratio_compares_within_each_round():
    slow_round = {"a": samples(1, 100, 2), "b": samples(2, 200, 4)}
    assert ratio("a", "b", slow_round) == Ratio("a", "b", paired=0.5, minimum=0.5)
    one_slip = {"a": samples(1, 1, 90), "b": samples(2, 4, 3)}
    assert ratio("a", "b", one_slip) == Ratio("a", "b", paired=0.5, minimum=0.5)


def test_rounds_of_different_number_are_no_pairs():
    with pytest.raises(ValueError, match="zip"):
        ratio("a", "b", {"a": samples(1, 2), "b": samples(1)})


@pytest.mark.parametrize(("wall", "met"), [(2.9, True), (3.0, True), (3.1, False)])
def test_a_target_is_reached_by_minimum_and_up_to_its_bound(wall, met):
    rounds = {"volt": samples(wall, 50), "nspawn": samples(10, 11)}
    assert reached(Target("volt", "nspawn", 0.3), rounds) is met


def test_the_targets_are_about_cases_that_are_measured():
    assert {target.case for target in TARGETS} <= set(peers.OURS)
    assert {target.peer for target in TARGETS} <= set(peers.PEERS)


def case(name: str) -> Case:
    return Case(name, name, "/bin/true", ("true",))


def test_each_round_takes_every_case_once_and_the_first_are_not_counted():
    taken = []

    def measure(one):
        taken.append(one.name)
        return Sample(len(taken), 0)

    names = "abcdefgh"
    found = interleaved([case(name) for name in names], 20, measure)
    rounds = ["".join(taken[at : at + 8]) for at in range(0, len(taken), 8)]
    assert len(rounds) == WARMING + 20
    assert all(sorted(one) == list(names) for one in rounds)
    assert len(set(rounds)) > 10, "the order is the same in every round"
    assert all(len(each) == 20 for each in found.values())
    assert min(sample.wall for each in found.values() for sample in each) > 8 * WARMING


def test_a_command_that_fails_ends_the_measurement():
    def measure(one):
        raise OSError(one.name)

    with pytest.raises(OSError, match="a"):
        interleaved([case("a")], 1, measure)


def once(*argv: str) -> subprocess.CompletedProcess[str]:
    """bench.measure.once in a process of its own: it waits for every child that there is."""
    code = (
        "import sys\nfrom bench.measure import *\nadopt_orphans()\n"
        "one = once(Case('x', 'X', sys.argv[1], tuple(sys.argv[1:])))\nprint(one.wall, one.cpu)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_command_is_timed_from_start_to_exit():
    done = once("/bin/sleep", "0.2")
    wall, cpu = map(float, done.stdout.split())
    assert 200 <= wall < 5000
    assert 0 < cpu < 200


def test_the_time_of_what_a_command_leaves_behind_counts():
    work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    done = once("/bin/sh", "-c", f"( {work} ) & exit 0")
    wall, cpu = map(float, done.stdout.split())
    assert cpu > wall, "the orphan works after the command has ended"


def test_a_failed_command_is_told_with_its_status_and_standard_error():
    done = once("/bin/sh", "-c", "echo it broke >&2; exit 3")
    assert done.returncode != 0
    assert "X ended with 3: /bin/sh -c" in done.stderr
    assert done.stderr.endswith("\nit broke\n")


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": None, "includes": {}, "excludes": {}},
        {"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
        {"names": ["settimeofday"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_TIME"]}},
        {"names": ["settimeofday"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_TIME"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
    ],
}


def test_podmans_profile_becomes_what_a_runtime_reads():
    found = peers.seccomp(PROFILE, "x86_64", {"CAP_SYS_CHROOT"})
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found["defaultErrnoRet"] == 38
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert found["syscalls"] == [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO", "args": [], "errnoRet": 1},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["settimeofday"], "action": "SCMP_ACT_ERRNO", "args": []},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "args": []},
    ]


MACHINE = report.Machine("0123abc", "2026-01-02", "Linux 6.1.0 x86_64", "A & B", 2, 0.1, {"crun": "1.8.1-1"})
WALLS = {  # performer reaches what volt misses
    "volt": (40, 44), "python": (18, 19), "first": (150, 170), "later": (80, 90),
    "performer": (11, 12),
    "nspawn": (40, 40), "crun": (16, 17), "podman": (100, 110), "bwrap": (3, 4), "open": (40, 41),
}  # fmt: skip


@pytest.fixture
def one() -> report.Report:
    titles = {name: f"{name} title" for name in WALLS}
    rounds = {name: samples(*walls) for name, walls in WALLS.items()}
    return report.Report("scripts/bench launch --rounds=2", MACHINE, titles, peers.OURS, peers.PEERS, rounds)


def test_the_table_lines_up_and_names_everything(one):
    text = report.table(one)
    assert text.startswith("2 rounds, commit 0123abc, load 0.10 on 2 cores\n\n")
    assert "\nbwrap title          3.0     3.5    4.0   1.8\n" in text
    assert "\npodman title       100.0   105.0  110.0  52.5\n" in text
    assert "\nvolt title       1.05 / 1.00  2.54 / 2.50  0.40 / 0.40  12.17 / 13.33  1.04 / 1.00\n" in text
    assert "\nvolt title / nspawn       0.30  1.000   missed\n" in text
    assert "\npython title / nspawn     0.45  0.450  reached\n" in text


def test_columns_are_as_wide_as_their_widest_cell():
    assert report.columns([["name", "a"], ["x", "long"]]) == "name     a\nx     long\n"


def test_a_busy_machine_is_said(one):
    busy = report.Machine(**{**{key: getattr(MACHINE, key) for key in MACHINE.__slots__}, "load": 3.0})
    loud = report.Report(one.command, busy, one.titles, one.ours, one.peers, one.rounds)
    assert "The machine was busy" in report.table(loud)
    assert "busy" in report.part(loud, "x.svg")
    assert "busy" not in report.table(one) + report.part(one, "x.svg")


def test_the_document_has_a_version_and_every_sample(one):
    found = json.loads(json.dumps(report.document(one)))
    assert found["version"] == 1
    assert found["rounds"] == 2
    assert found["machine"]["versions"] == {"crun": "1.8.1-1"}
    assert [each["name"] for each in found["cases"]] == [*peers.OURS, *peers.PEERS]
    assert found["cases"][0] == {
        "name": "volt", "title": "volt title", "minimum": 40, "median": 42.0, "p99": 44, "cpu": 21.0,
    }  # fmt: skip
    assert {"case": "volt", "peer": "podman", "paired": 0.4, "minimum": 0.4} in found["ratios"]
    assert {"case": "volt", "peer": "crun", "most": 0.7, "ratio": 2.5, "reached": False} in found["targets"]
    assert found["samples"]["bwrap"] == [[3, 1.5], [4, 2.0]]


def test_the_page_says_what_was_run_where_and_which_targets_are_missed(one):
    text = report.part(one, "benchmarks.svg")
    assert text.startswith("## Launching\n")
    for words in (
        "scripts/bench launch --rounds=2", "| commit | 0123abc |", "| date | 2026-01-02 |", "Linux 6.1.0",
        "| crun | 1.8.1-1 |", "(benchmarks.svg)", "| nspawn title | 40.0 | 40.0 | 40.0 | 20.0 |",
        "| volt title / crun | 0.70 | 2.500 | missed |", "| first title / podman | 1.80 | 1.500 | reached |",
        "4 of 7 are missed.",
    ):  # fmt: skip
        assert words in text


def test_the_page_says_when_all_targets_are_reached(one):
    rounds = {**one.rounds, **dict.fromkeys(("volt", "python", "first"), samples(1, 1))}
    best = report.Report(one.command, MACHINE, one.titles, one.ours, one.peers, rounds)
    text = report.part(best, "x.svg")
    assert "All 7 are reached." in text
    assert "missed" not in text


def test_the_plot_is_svg_with_every_case_in_its_place(one):
    picture = ElementTree.fromstring(plot.svg(one))
    assert picture.tag.endswith("svg")
    words = [each.text for each in picture.iter() if each.tag.endswith("text")]
    assert [word for word in words if word.endswith(" title")] == [f"{name} title" for name in WALLS]
    assert {"2", "5", "100", "200"} <= set(words), "the axis goes from below the least to above the most"
    places = [float(each.get("x2")) for each in picture.iter() if each.get("x2")]
    assert all(plot.LEFT <= place <= plot.WIDTH for place in places)


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(3, 150, [2, 5, 10, 20, 50, 100, 200]), (1, 2, [1, 2, 5]), (0.3, 0.4, [0.2, 0.5])],
)
def test_the_axis_steps_by_1_2_5(least, most, expected):
    assert list(plot.ticks(least, most)) == expected


TRACE = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   re
import time:       400 |       2500 | volt.cli
a line of the payload
import time:       300 |        300 |     volt.errors
"""


def test_the_trace_of_imports_is_read_and_other_lines_are_not():
    assert list(imports.parse(TRACE)) == [
        imports.Import("re", 0.1, 0.1),
        imports.Import("volt.cli", 2.5, 0.4),
        imports.Import("volt.errors", 0.3, 0.3),
    ]


def test_imports_are_the_least_of_several_runs_and_sorted():
    again = [imports.Import("volt.errors", 0.2, 0.2), imports.Import("re", 3.0, 0.05)]
    found = imports.least([list(imports.parse(TRACE)), again])
    assert found == [
        imports.Import("volt.cli", 2.5, 0.4),
        imports.Import("volt.errors", 0.2, 0.2),
        imports.Import("re", 0.1, 0.05),
    ]
    assert imports.table(found).startswith("3 modules, 0.7 ms; the first 25, overlapping\n\nmodule ")
    assert imports.document(found)["version"] == 1


def test_memory_is_counted_process_by_process():
    """Two of the same program share its pages: each has a part of them, and both have their own."""
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        while not all(memory.words(process.pid) for process in (one, other)):
            time.sleep(0.001)  # the kernel has not told its words yet
        found = [memory.of(process.pid) for process in (one, other)]
        assert [one.pid in memory.below(os.getpid()), memory.words(one.pid)] == [True, ["sleep", "60"]]
        one.kill()
        other.kill()
    assert all(0 < each.anonymous <= each.private <= each.pss for each in found)
    both = found[0] + found[1]
    assert (both.pss, both.private) == (found[0].pss + found[1].pss, found[0].private + found[1].private)


def test_memory_is_shown_in_a_row_for_each_kind_with_both_counts():
    idles = [memory.Idle(title, count, 100.4 / count, 50) for title in memory.ROWS for count in memory.COUNTS]
    head, *rows = memory.rows(idles)
    assert head == ["KiB per idle workload", "PSS, 1", "private, 1", "PSS, 10", "private, 10"]
    assert rows == [[title, "100", "50", "10", "50"] for title in memory.ROWS]
    assert memory.document(idles)["idle"][1] == {
        "title": "volt: supervisor and init",
        "workloads": 10,
        "pss": 10.0,
        "private": 50,
    }


def test_the_part_of_memory_says_what_was_run_where_and_no_rounds():
    machine = report.Machine(**{**{key: getattr(MACHINE, key) for key in MACHINE.__slots__}, "load": 3.0})
    idles = [memory.Idle(title, count, 100, 50) for title in memory.ROWS for count in memory.COUNTS]
    text = memory.part("scripts/bench memory --write", machine, idles)
    assert text.startswith("## Memory beside a sleeping payload\n")
    for words in ("scripts/bench memory --write", "| commit | 0123abc |", "| crun | 1.8.1-1 |", "| load | 3.00 in the"):
        assert words in text
    assert "| systemd-nspawn -D | 100 | 50 | 100 | 50 |" in text
    assert "rounds" not in text
    assert "busy" not in text, "a load changes no size"


def test_a_kind_of_process_that_is_not_there_ends_the_measurement():
    with pytest.raises(BenchFailed, match="a process that should be there is not"):
        memory.mean("conmon", [[os.getpid()], []])


@pytest.mark.parametrize("words", [[], ["launch", "--rounds", "0"], ["launch", "--rounds", "x"], ["fly"]])
def test_a_mistaken_call_ends_with_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(words)
    assert "usage" in capsys.readouterr().err


# ── the life of a workload


def lived(ours: float, memory_kib: float = 1000) -> life.Life:
    pairs = {name: [(Sample(ours, 1), Sample(10, 1)), (Sample(ours * 5, 1), Sample(50, 1))] for name in life.PAIRS}
    return life.Life(300, 100, pairs, (1.0, 10.0), memory_kib)


def test_what_is_compared_is_the_median_of_the_rounds_own_ratios():
    assert life_report.ratio(lived(2.0), "exec") == 0.2


def test_the_targets_of_life_are_reached_up_to_their_bound_and_missed_beyond():
    assert all(found <= most for _, most, found in life_report.verdicts(lived(2.5)))
    missed = [title for title, most, found in life_report.verdicts(lived(2.6, 1281)) if found > most]
    assert missed == [
        "volt run --detach / podman run --detach",
        "volt exec / podman exec",
        "KiB for each of 300 workloads",
    ]


def test_the_page_of_life_says_how_many_are_missed_and_lists_both_counts():
    said = life_report.part("scripts/bench life", MACHINE, lived(2.6))
    assert "2 of 7 are missed." in said
    assert "volt ps of 300" in said
    assert "podman ps of 100" in said


def test_each_action_is_taken_once_in_each_round():
    calls = []
    pair = (lambda: calls.append(0) or Sample(1, 1), lambda: calls.append(1) or Sample(2, 1))
    found = life.interleaved({"one": pair}, 3, lambda _: None)
    assert found == {"one": [(Sample(1, 1), Sample(2, 1))] * 3}
    assert (calls.count(0), calls.count(1)) == (WARMING + 3, WARMING + 3)
