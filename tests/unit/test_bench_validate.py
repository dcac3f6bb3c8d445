"""scripts/bench validate: what it measures, what it says of it, and the page that each measurement renews a part of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from bench import page, report, throughput, validate
from bench.figures import Sample
from bench.measure import BenchFailed, Case
from volt import api

TOP = Path(__file__).parents[2]
MACHINE = report.Machine("0123abc", "2026-01-02", "Linux 6.1.0 x86_64", "A & B", 2, 0.1, {"tomli": "2.2.1"})


def test_the_manifests_are_different_and_none_has_a_finding(tmp_path):
    files = validate.manifests(tmp_path, 20)
    tables = [tomli.loads(Path(file).read_text()) for file in files]
    assert len({json.dumps(table, sort_keys=True) for table in tables}) == len(files) == 20
    assert all(tables[0][section] != tables[1][section] for section in ("workload", "resources", "network", "limits"))
    assert api.validate(files) == ()


def test_the_last_of_all_manifests_has_no_finding_either(tmp_path):
    assert api.validate([validate.manifest(validate.COUNT - 1, tmp_path).encode()]) == ()


def worker(case, *files):
    argv = [sys.executable, "-m", "bench.validate", case, *files]
    return subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", validate.TITLES)
def test_each_case_is_timed_in_a_process_of_its_own(tmp_path, case):
    files = validate.manifests(tmp_path, 20)
    wall, cpu = map(float, worker(case, *files).stdout.split())
    assert 0.1 < wall < 5000
    assert cpu > 0


def test_a_finding_ends_the_measurement(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("[workload]\nname = 1\n")
    done = worker("validate", str(bad))
    assert done.returncode == 1
    assert "findings, the first" in done.stderr
    with pytest.raises(BenchFailed, match="X ended with 3"):
        validate.once(Case("x", "X", "/bin/sh", ("/bin/sh", "-c", "exit 3")))


@pytest.fixture
def one():
    walls = {"validate": (250, 200), "tomli": (50, 50), "pydantic": (40, 50)}
    rounds = {name: [Sample(wall, wall / 2) for wall in each] for name, each in walls.items()}
    command = "scripts/bench validate --rounds=2 --write"
    return report.Report(command, MACHINE, validate.TITLES, validate.OURS, validate.PEERS, rounds)


def slower(one):
    rounds = {**one.rounds, "validate": [Sample(201, 201)] * 2}
    return report.Report(one.command, one.machine, one.titles, one.ours, one.peers, rounds)


def test_the_table_has_rates_by_best_round_and_median(one):
    text = throughput.table(one)
    assert text.startswith("2 rounds, commit 0123abc, load 0.10 on 2 cores\n\n")
    assert "\nvolt validate: file to findings        5000    4444      200          112\n" in text
    assert "\nvolt validate: file to findings  4.50 / 4.00  5.12 / 5.00\n" in text
    assert "5000  5000  reached\n" in text


def test_a_target_that_is_missed_is_said_to_be(one):
    assert "5000  4975  missed\n" in throughput.table(slower(one))
    assert "| 5000 | 4975 | missed |" in throughput.part(slower(one))
    assert throughput.document(slower(one))["targets"] == [
        {"case": "validate", "least": 5000, "rate": 4975, "reached": False}
    ]


def test_the_document_has_a_version_and_every_sample(one):
    found = json.loads(json.dumps(throughput.document(one)))
    assert (found["version"], found["rounds"], found["manifests"]) == (1, 2, 1000)
    assert found["samples"]["validate"] == [[250, 125], [200, 100]]


def test_its_part_says_what_was_run_where_and_shows_a_manifest(one):
    text = throughput.part(one)
    for words in ("## Validating", one.command, "| commit | 0123abc |", "| tomli | 2.2.1 |", 'name = "web-0"'):
        assert words in text


def test_a_part_of_the_page_is_renewed_and_the_others_stay():
    first = page.renewed("", "validate", "## B\n\nold\n")
    both = page.renewed(first, "launch", "## A\n")
    assert both.startswith("# Benchmarks\n")
    assert both.index("## A") < both.index("## B")
    assert page.renewed(both, "validate", "## B\n\nold\n") == both
    assert page.renewed(both, "validate", "## C\n") == both.replace("## B\n\nold\n", "## C\n")


def test_the_page_of_the_documentation_has_every_part():
    text = (TOP / "docs/reference/benchmarks.md").read_text()
    assert [match[1] for match in page.PART.finditer(text)] == list(page.PARTS)
    assert page.renewed(text, *page.PART.search(text).groups()) == text
