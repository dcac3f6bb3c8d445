"""volt exec: run a command in a workload that runs, behind its walls."""

from __future__ import annotations

from typing import Annotated

import typer

from volt.cli.executing import Wanted, execute
from volt.cli.options import Name

Words = Annotated[
    list[str],
    typer.Argument(metavar="[--] COMMAND [ARGUMENT]...", help="What is executed in it.", show_default=False),
]
Interactive = Annotated[bool, typer.Option("--interactive", "-i", help="Pass standard input on; else it is empty.")]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal of its own.")]
As = Annotated[
    str, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="Another user of the workload.", show_default=False)
]
Workdir = Annotated[
    str, typer.Option("--workdir", "-w", metavar="FOLDER", help="Where it starts.", show_default="workload.workdir")
]
Added = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Add to the command's environment.")
]


def exec_(
    name: Name,
    command: Words,
    interactive: Interactive = False,
    tty: Tty = False,
    user: As = "",
    workdir: Workdir = "",
    env: Added = None,
) -> int:
    """Run a command in the running workload NAME, behind every wall of its payload, and wait for it.

    Ends with the command's own status; 128 + n when signal n ended it; 127 when it is not found, 126 when
    it cannot be executed; 125 for every failure of volt's own. When volt is ended, the command is killed.
    """
    words = command[1:] if command[0] == "--" else command  # which stays in them, behind the name
    return execute(Wanted(name, tuple(words), interactive, tty, user, workdir, tuple(env or ())))
