"""The command line: one file per verb, each parses, calls volt.api, and prints."""

from __future__ import annotations

import gc
import os
import sys

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
    """A plain `volt run` is read here, since typer and what it imports take longer than the launch itself."""
    if arguments[:1] == ["run"]:
        gc.disable()  # this process soon becomes the launch, or ends: nothing is worth being collected
    if arguments[:1] == ["__complete"]:
        from volt.cli.complete import complete

        return complete(arguments[1:])
    from volt.cli.words import read_run

    request = read_run(arguments)
    if request is not None:
        from volt.cli.launching import launch

        return launch(request)
    from volt.cli.app import command_line

    return command_line(arguments)
