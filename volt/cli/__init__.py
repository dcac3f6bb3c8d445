"""The command line: one file per verb, each parses, calls volt.api, and prints."""

from __future__ import annotations

import sys

import typer

from volt.cli.doctor import doctor
from volt.cli.failure import RUN_FAILED
from volt.cli.plan import plan
from volt.cli.run import run
from volt.cli.schema import schema
from volt.cli.show import show
from volt.cli.validate import validate

__all__ = ["app", "main"]

app = typer.Typer(
    name="volt",
    help="Launch what a TOML manifest describes, behind the wall that one word picks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (run, plan, validate, show, schema, doctor):
    app.command(verb.__name__)(verb)


def main(arguments: list[str]) -> int:
    """Run one command line; the exit status. A mistake in the call itself ends with 2, in `run` with 125."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what is no text in a name or a variable is shown escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="volt")
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 1
        return RUN_FAILED if code and arguments[:1] == ["run"] else code
    return 0
