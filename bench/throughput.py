"""What is printed and written of the rate at which manifests are validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.page import section
from bench.report import Report, columns, facts, head, markdown, measured, ratio_rows
from bench.validate import COUNT, TARGET, manifest, rate


def best(report: Report) -> float:
    """What the target is about: manifests a second, in the best round."""
    return rate(report.summaries()["validate"].minimum)


def rate_rows(report: Report) -> Iterator[list[str]]:
    yield ["manifests a second", "best round", "median", "µs each", "CPU µs each"]
    for name, one in report.summaries().items():
        each = (1000 * one.minimum / COUNT, 1000 * one.cpu / COUNT)
        rates = (rate(one.minimum), rate(one.median))
        yield [report.titles[name], *(f"{value:.0f}" for value in (*rates, *each))]


def target_rows(report: Report) -> Iterator[list[str]]:
    yield ["target, best round", "at least", "is", ""]
    reached = best(report) >= TARGET
    yield ["volt validate, manifests a second", str(TARGET), f"{best(report):.0f}", "reached" if reached else "missed"]


def table(report: Report) -> str:
    """What a terminal shows."""
    return head(report) + "\n".join(columns(list(rows(report))) for rows in (rate_rows, ratio_rows, target_rows))


def document(report: Report) -> dict[str, Any]:
    """JSON, version 1: everything, the single samples too; times in milliseconds of all the manifests."""
    target = {"case": "validate", "least": TARGET, "rate": round(best(report)), "reached": best(report) >= TARGET}
    return {**measured(report), "manifests": COUNT, "targets": [target]}


ABOUT = """\
How many manifests a second `volt validate` finds nothing wrong in: {count} different ones, in one process, after its
imports."""
FOUND = """\
{rates}
### volt as a multiple of its parts

The median of each round's own ratio / the ratio of the minima.

{ratios}
### Target

{targets}
### How it is measured

Each round starts a fresh process for every case, in a new order; a round to warm up is not counted. The clock starts
when everything is imported. `volt validate` opens and reads each file, and looks for the volumes; tomli alone reads the
same files; pydantic alone makes the models of the tables that tomli has read before. The first manifest:

```toml
{manifest}```
"""


def part(report: Report) -> str:
    """Its part of docs/reference/benchmarks.md."""
    about = ABOUT.format(count=f"{COUNT:,}")
    found = FOUND.format(
        rates=markdown(list(rate_rows(report))),
        ratios=markdown(list(ratio_rows(report))),
        targets=markdown(list(target_rows(report))),
        manifest=manifest(0, "/srv/web"),
    )
    return section("Validating manifests", about, report.command, facts(report.machine, report.count), found)
