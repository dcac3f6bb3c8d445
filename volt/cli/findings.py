"""Findings in print: place, what is wrong, the line with a caret, what to write; and as a JSON document."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from volt.model.findings import Bound, Finding, Place

LONGEST_LINE = 160  # characters of a source line that are shown around the caret
LONGEST_SOURCE = 1000  # characters of a source line in a document; a longer one is left out
TAB = "    "


def render(findings: Iterable[Finding]) -> str:
    """Every finding, in the order given; a blank line between two."""
    return "\n\n".join("\n".join(_lines(finding)) for finding in findings)


def _lines(finding: Finding) -> list[str]:
    place = f"{finding.place}: " if finding.place else ""
    lines = [f"{place}{finding.severity}: {finding.message} [{finding.code}]"]
    if finding.source and finding.place:
        lines += _caret(finding.source, finding.place.column)
    lines += _bound(finding.policy) if finding.policy else []
    lines += [f"hint: {finding.hint}"] if finding.hint else []
    return [printable(line) for line in lines]


def _bound(bound: Bound) -> list[str]:
    """The line of the policy that a value is beyond."""
    place = f"{bound.place}: " if bound.place else ""
    lines = [f"{place}the policy of this machine: {bound.key}"]
    return lines + (_caret(bound.source, bound.place.column) if bound.place and bound.source else [])


def _caret(source: str, column: int) -> list[str]:
    """The line and a caret below the column; of a long line the part around it."""
    start = max(0, column - 1 - LONGEST_LINE // 2) if len(source) > LONGEST_LINE else 0
    shown = source[start : start + LONGEST_LINE]
    before = printable(shown[: column - 1 - start].replace("\t", TAB))
    return [f"    {shown.replace(chr(9), TAB)}", f"    {' ' * sum(map(_width, before))}^"]


def _width(character: str) -> int:
    """How many columns of a terminal a printable character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str) -> str:
    """Text that no terminal obeys: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def document(findings: Iterable[Finding]) -> dict[str, Any]:
    """The JSON document of findings, version 1."""
    return {"version": 1, "findings": [_values(finding) for finding in findings]}


def _values(finding: Finding) -> dict[str, Any]:
    bound = finding.policy
    return {
        "code": finding.code,
        "severity": finding.severity,
        "key": finding.key,
        "message": finding.message,
        "hint": finding.hint,
        **_written(finding.place, finding.source),
        "policy": {"key": bound.key, **_written(bound.place, bound.source)} if bound else None,
    }


def _written(place: Place | None, source: str) -> dict[str, Any]:
    return {
        "file": place.file if place else None,
        "line": (place.line or None) if place else None,
        "column": (place.column or None) if place else None,
        "source": source if len(source) <= LONGEST_SOURCE else "",
    }
