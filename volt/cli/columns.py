"""Rows in columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from volt.cli.findings import printable


def columns(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """A table of text: these columns to the left, the others to the right; the last as long as it is. Nothing of it
    is obeyed by a terminal."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*shown, fillvalue="")]
    lines = []
    for row in shown:
        cells = [
            cell if at in left and at == len(row) - 1 else cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
