"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

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
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document instead, failures too.")]


def pairs(words: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE words as a mapping; a later one wins. Raises VoltError."""
    found = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise VoltError(f"{option} {word}: not of the form NAME=VALUE", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found
