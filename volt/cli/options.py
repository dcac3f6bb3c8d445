"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from volt.cli.candidates import any_file, manifest

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="The manifest; - for standard input.", show_default=False, autocompletion=manifest
    ),
]
# A workload; what it can become is completed by what the metavar says: volt/cli/complete.py.
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The workload's name, or the id of its run or the beginning of it.", show_default=False
    ),
]
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
DetachRun = Annotated[
    bool,
    typer.Option(
        "--detach",
        "-d",
        help="Return when it has started, or is ready (service.ready), and print the run's id; see volt logs.",
    ),
]
RemoveAfter = Annotated[
    bool, typer.Option("--rm", help="Keep nothing of this run: no record, no log, and nothing of what it writes.")
]
Pull = Annotated[
    str,
    typer.Option(
        "--pull",
        metavar="WHEN",
        help="Fetch the image from its registry: where it is missing, always, or never.",
        autocompletion=lambda: ["missing", "always", "never"],
    ),
]
InputOpen = Annotated[
    bool, typer.Option("--interactive", "-i", help="Keep the input of a detached run open; else it is empty.")
]
Terminal = Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal where the caller has none.")]
RunName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Call the workload so, instead of workload.name.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Add to workload.labels.")]
TimeLimit = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="End it after this time, as 90s or 1h30m.")
]
Unit = Annotated[
    str,
    typer.Option("--unit", metavar="UNIT", help="The unit of systemd that this is the main process of."),
]
UnitKeeps = Annotated[
    list[str] | None,
    typer.Option("--unit-keeps", metavar="KEY=VALUE", help="A key of the manifest that the unit is written to keep."),
]
Unenforced = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-unenforced",
        metavar="NAME,...",
        help="Launch although the host cannot hold all of a section (resources, landlock); what was waived is kept.",
    ),
]
OutcomeFile = Annotated[
    str | None,
    typer.Option(
        "--outcome", metavar="FILE", help="Write how the run ended, as JSON, to FILE.", autocompletion=any_file
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document instead, failures too.")]
