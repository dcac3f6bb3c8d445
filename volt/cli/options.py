"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt import api
from volt.errors import VoltError

File = Annotated[str, typer.Argument(metavar="FILE", help="The manifest; - for standard input.", show_default=False)]
Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND [ARGUMENT]...]", help="Replaces workload.command.", show_default=False),
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Give a variable of the manifest its value."),
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Add to the payload's environment."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the kept writable layer first.")]
OutcomeFile = Annotated[
    str | None, typer.Option("--outcome", metavar="FILE", help="Write how the run ended, as JSON, to FILE.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document instead, failures too.")]


def call_of(command: list[str] | None, env: list[str] | None, fresh: bool, outcome: str | None) -> api.Call:
    """What the command line adds to the manifest. Raises VoltError."""
    return api.Call(
        command=tuple(command or ()),
        env=tuple(pairs(env, "--env").items()),
        fresh=fresh,
        report=None if outcome is None else str(Path(outcome).absolute()),
    )


def pairs(words: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE words as a mapping; a later one wins. Raises VoltError."""
    found = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise VoltError(f"{option} {word}: not of the form NAME=VALUE", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found
