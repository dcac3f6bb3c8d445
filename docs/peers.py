"""The page peers.md: volt's verbs and options beside those of podman, machinectl and Incus. The peers' columns are
data, docs/peers.toml; volt's is what its command definitions have of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from generate import cell, verbs

TABLE = Path(__file__).parent / "peers.toml"
INTRODUCTION = """\
What one does with a workload, and how it is called here and there. An empty cell: nothing there does it in one step.
**not yet**: volt does not have it. What the others have besides (pods, clusters, virtual machines, storage pools) is
not listed; what is listed is only said to be there, not to be alike.
"""


class Verbs:
    """The options of each verb of volt, each as all of its spellings; and which of them a row has asked for."""

    def __init__(self, commands: Iterable[tuple[str, Any]]) -> None:
        self.options = {
            name: [(*one.opts, *one.secondary_opts) for one in command.params if one.param_type_name == "option"]
            for name, command in commands
            if not command.hidden
        }
        self.asked: set[tuple[str, ...]] = set()

    def has(self, wanted: str) -> str:
        """What there is of `verb, verb --option|--other`: as it is written, with a spelling that is there."""
        return ", ".join(filter(None, (self._has(one) for one in wanted.split(", "))))

    def _has(self, wanted: str) -> str:
        verb, option, spelled = wanted.partition(" -")
        spelled = option.lstrip() + spelled
        if verb not in self.options:
            return ""
        self.asked.add((verb,))
        if not spelled:
            return f"`{verb}`"
        found = [one for one in self.options[verb] if set(spelled.split("|")) & {*one}]
        self.asked |= {(verb, *one) for one in found}
        return ", ".join(f"`{verb} {next(name for name in one if name in spelled.split('|'))}`" for one in found)

    def others(self) -> Iterator[tuple[str, list[str]]]:
        """Each verb with those of its options that no row asks for."""
        for verb, options in self.options.items():
            left = [", ".join(one) for one in options if (verb, *one) not in self.asked]
            if left or (verb,) not in self.asked:
                yield verb, left


def table_lines(table: Mapping[str, Any], verbs: Verbs) -> Iterator[str]:
    peers = list(table["peers"])
    yield "| | volt | " + " | ".join(table["peers"][peer]["title"] for peer in peers) + " |"
    yield "| --- " * (len(peers) + 2) + "|"
    for row in table["row"]:
        cells = [verbs.has(row["volt"]) or "**not yet**", *(f"`{row[peer]}`" if row[peer] else "" for peer in peers)]
        yield f"| {cell(row['what'])} | " + " | ".join(map(cell, cells)) + " |"
    yield ""


def peers_lines(table: Mapping[str, Any], commands: Iterable[tuple[str, Any]]) -> Iterator[str]:
    verbs = Verbs(commands)
    yield from (INTRODUCTION, *table_lines(table, verbs))
    yield from (
        "Sources: " + "; ".join(f"{one['title']}: {one['source']}" for one in table["peers"].values()) + ".",
        "",
    )
    yield from ("## What volt has besides", "", "Verbs and options that no row above names:", "")
    yield from ("| verb | options |", "| --- | --- |")
    for verb, left in verbs.others():
        yield f"| `{verb}` | {', '.join(f'`{one}`' for one in left)} |"


def peers_page() -> str:
    import typer

    from volt.cli.app import app

    group: Any = typer.main.get_command(app())
    return "\n".join(peers_lines(tomllib.loads(TABLE.read_text()), verbs(group)))
