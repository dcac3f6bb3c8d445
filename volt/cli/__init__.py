"""The command line: one file per verb, each parses, calls volt.api, and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from gc import disable  # by its name: there is a verb called gc in this package
from importlib import import_module

__all__ = ["main"]

# Verbs whose plain calls are read without typer. `plain` of the module takes the words, and gives the exit status, or
# None for what is left to typer: mistakes above all.
PLAIN: Mapping[str, str] = {
    "run": "volt.cli.launching",
    "ps": "volt.cli.listing",
    "exec": "volt.cli.executing",
    "image": "volt.cli.arriving",
    "__complete": "volt.cli.complete",
}


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
    """A plain call of some verbs is read here, since typer and what it imports take longer than the verb itself."""
    module = PLAIN.get(arguments[0]) if arguments else None
    if module:
        disable()  # this process soon becomes the launch, or ends: nothing is worth being collected
        status: int | None = import_module(module).plain(arguments)
        if status is not None:
            return status
    from volt.cli.app import command_line

    return command_line(arguments)
