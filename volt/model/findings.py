"""Findings: what is wrong in a manifest, where it was written, and what to write instead."""

from __future__ import annotations

from typing import Literal

from volt.model.values import Value

Severity = Literal["error", "note"]
LONGEST = 60  # characters of a value that a message quotes


class Place(Value):
    """A position in a source text: `line` and `column` count from 1, columns in characters."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Bound(Value):
    """What a machine's policy says to a value: its key there, where that was written, and the line of text."""

    key: str
    place: Place | None = None
    source: str = ""


class Finding(Value):
    """One problem, or one thing worth knowing.

    `code` is stable (`unknown-key`, `bad-size`, …). `key` is the dotted path of the value in the
    resolved manifest (`storage.volumes[0].host`), empty for the file as a whole. `place` and
    `source` (the line of text at that place) are filled in where the value was written. `policy` is
    what the value is beyond, where it is wrong for that alone.
    """

    code: str
    key: str
    message: str
    hint: str = ""
    place: Place | None = None
    source: str = ""
    severity: Severity = "error"
    policy: Bound | None = None


def quote(value: object) -> str:
    """A value as a message quotes it: short, and harmless on a terminal."""
    try:
        shown = str(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) + "'"
