"""volt login and logout: who volt is to a registry."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.errors import VoltError

Host = Annotated[str, typer.Argument(metavar="REGISTRY", help="HOST or HOST:PORT.", show_default=False)]
User = Annotated[str, typer.Option("--username", "-u", metavar="NAME", help="Who you are there.")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
_MOST = 1 << 16  # characters


@failing(FAILED)
def login(registry: Host, username: User, password_stdin: Stdin = False) -> int:
    """Keep who you are to a REGISTRY, once it has said that it knows you: in /etc/volt/credentials.json.

    What `docker login` has kept is read too, and Docker's credential helpers are asked.
    """
    if password_stdin:
        password = sys.stdin.read(_MOST).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass(f"Password of {username} at {registry}: ")
    else:
        raise VoltError("standard input is no terminal", hint="volt login REGISTRY -u NAME --password-stdin < FILE")
    api.log_in(registry, username, password)
    return 0


@failing(FAILED)
def logout(registry: Host) -> int:
    """Forget who you are to a REGISTRY."""
    api.log_out(registry)
    return 0
