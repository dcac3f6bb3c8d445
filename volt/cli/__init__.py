"""The command line: one file per verb, each parses, calls volt.api, and prints."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run one command line; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what is no text in a name or a variable is shown escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone: nothing more to say, and nothing to flush into.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(arguments: list[str]) -> int:
    """Plain words of some verbs are read by hand, since typer and what it imports take longer than the verb itself."""
    plain = PLAIN.get(arguments[0]) if arguments else None
    if plain:
        gc.disable()  # this process soon becomes the launch, or ends: nothing is worth being collected
        status = plain(arguments)
        if status is not None:
            return status
    from volt.cli.app import command_line

    return command_line(arguments)


def _run(arguments: list[str]) -> int | None:
    from volt.cli.words import read_run

    request = read_run(arguments)
    if request is None:
        return None
    from volt.cli.launching import launch

    return launch(request)


def _exec(arguments: list[str]) -> int | None:
    from volt.cli.executing import execute, read_exec

    wanted = read_exec(arguments)
    return None if wanted is None else execute(wanted)


# What is read without typer: each gives the exit status, or None for words that are not plain.
PLAIN: dict[str, Callable[[list[str]], int | None]] = {"run": _run, "exec": _exec}
