"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

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
Unenforced = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-unenforced",
        metavar="NAME,...",
        help="Launch although the host cannot hold all of a section (resources, landlock); what was waived is kept.",
    ),
]
OutcomeFile = Annotated[
    str | None, typer.Option("--outcome", metavar="FILE", help="Write how the run ended, as JSON, to FILE.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document instead, failures too.")]
