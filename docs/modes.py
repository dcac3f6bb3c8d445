"""The page modes.md: what each key of a manifest means where an image is booted, beside a container. From modes.toml,
which tests/unit/test_modes.py holds against plans and tests/programs/test_modes.py against what runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from generate import cell

TABLE = Path(__file__).parent / "modes.toml"
INTRODUCTION = """\
A manifest of mode `container` with `mode = "hybrid-native"` in its place, and a root that has an init: what each key,
and each verb, means then. How to boot one: [boot an image's own init](../how-to/boot-an-image.md).

- **same**: the plan is changed in the same way by it, and it is refused for the same reasons.
- **command**: the same for the command, which is a unit of the image's systemd.
- **differs**: in what is said, and cannot be otherwise where an init runs.
- **refused**: with the finding that is named, before anything starts.
- **neither**: in no mode yet.
"""
KINDS = ("same", "command", "differs", "refused", "neither")


def table_lines(rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    yield from ("| | | |", "| --- | --- | --- |")
    for row in rows:
        code = row.get("code", "")
        named = f" ([{code}](findings.md#{code}))" if code else ""
        yield f"| `{cell(row['what'])}` | {row['is']}{named} | {cell(row.get('how', ''))} |"


def page() -> str:
    rows = tomllib.loads(TABLE.read_text())["row"]
    if unknown := {row["is"] for row in rows} - {*KINDS}:
        raise ValueError(f"docs/modes.toml: {', '.join(sorted(unknown))}: not one of {', '.join(KINDS)}")
    return "\n".join((INTRODUCTION, *table_lines(rows)))
