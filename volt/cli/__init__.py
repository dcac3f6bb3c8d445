"""The command line: one file per verb, each parses, calls volt.api, and prints."""

from __future__ import annotations

import os
import sys

import click
import typer

from volt.cli import doctor, plan, run, schema, show, validate
from volt.cli.failure import RUN_FAILED, report

app = typer.Typer(
    name="volt",
    help="Launch what a TOML manifest describes, behind the wall that one word picks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("validate")(validate.validate)
app.command("show")(show.show)
app.command("schema")(schema.schema)
app.command("doctor")(doctor.doctor)


def main(arguments: list[str]) -> int:
    """Run one command line; the exit status. A mistake in the call itself ends with 2, in `run` with 125."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    try:
        status = app(arguments, prog_name="volt", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as mistake:
        mistake.show()
        return RUN_FAILED if verb == "run" else mistake.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # The reader has gone: nothing more to say, and nothing to flush into.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return int(status or 0)


__all__ = ["app", "main", "report"]
