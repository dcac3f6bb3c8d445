"""Every verb with its arguments and options, for typer: parsing, help, completion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from volt import __version__
from volt.cli.failure import RUN_FAILED, report
from volt.errors import VoltError

__all__ = ["app", "command_line"]

# As the help lists them. The function of a verb is in the module of its name, or in one of MODULES.
VERBS = (
    *("run", "plan", "explain", "learn", "validate", "show", "lock", "schema", "doctor"),
    *("ps", "inspect", "wait", "stop", "kill", "pause", "unpause", "restart", "rm", "gc", "update"),
    *("exec", "attach", "cp", "logs", "top", "stats", "diff", "commit", "audit"),
    *("login", "logout", "push", "pull", "completion"),
)
MODULES: Mapping[str, str] = {"unpause": "pause", "logout": "login", "push": "artifact", "pull": "artifact"}
# Nouns, whose verbs are words of their own, in the module of the noun.
NOUNS: Mapping[str, tuple[str, ...]] = {
    "generate": ("systemd",),
    "image": ("import", "pull", "push", "ls", "inspect", "tag", "export", "history", "diff", "rm"),
    "net": ("create", "ls", "show", "rm", "gc"),
    "store": ("df", "verify", "gc", "add", "ls", "rm"),
}
SUMMARY = {
    "generate": "Write files for other programs, which launch workloads.",
    "image": "Bring in, name, list and bring out images: file trees that workloads have as their root.",
    "net": "Define, list, look at and take away networks, which workloads join.",
    "store": "Look after the store, which holds the images: what it takes, whether it is sound, what can go.",
}


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"volt {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
]

# What typer raises for a mistake in a call; typer has kept it in several places over the years.
MISTAKE: type[Exception] = typer.BadParameter.__mro__[2]


def _volt(version: Version = False) -> None:
    """Launch what a TOML manifest describes, behind the wall that one word picks."""


def app(words: Sequence[str] = ()) -> typer.Typer:
    """Of a command line that begins with a verb, that alone: to read the definitions of all takes longer than most
    verbs do. Of any other, everything."""
    whole = typer.Typer(
        name="volt",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,  # `volt completion` it is: its scripts quote what they are given, and need no typer
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    whole.callback()(_volt)
    verbs, nouns = _chosen(words)
    for verb in verbs:
        # The words of a command in a workload are its own, whatever they begin with.
        settings = {"allow_interspersed_args": verb != "exec"}
        whole.command(verb, context_settings=settings)(_function(MODULES.get(verb, verb), verb))
    for noun, of_noun in nouns.items():
        group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=SUMMARY[noun])
        for verb in of_noun:
            group.command(verb)(_function(noun, verb))
        whole.add_typer(group, name=noun)
    return whole


def _chosen(words: Sequence[str]) -> tuple[Sequence[str], Mapping[str, Sequence[str]]]:
    first, second = (*words, "", "")[:2]
    if first in VERBS:
        return (first,), {}
    return ((), {first: (second,)}) if second in NOUNS.get(first, ()) else (VERBS, NOUNS)


def _function(module: str, verb: str) -> Callable[..., int]:
    """Behind the names that Python has itself stands a line."""
    found = import_module(f"volt.cli.{module}")
    function: Callable[..., int] = getattr(found, f"{verb}_" if verb in ("exec", "import") else verb)
    return function


def command_line(arguments: list[str]) -> int:
    """Run one command line; the exit status. A mistake in the call itself ends with 2, in verbs that end with a
    payload's status with 125."""
    try:
        return int(app(arguments)(arguments, prog_name="volt", standalone_mode=False) or 0)
    except MISTAKE as mistake:
        return _refuse(mistake, arguments)
    except typer.Abort:
        return 130


def _refuse(mistake: Any, arguments: list[str]) -> int:
    """Say what is wrong with the call: as typer does, or as JSON where that was asked for."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in own:
        report(VoltError(mistake.format_message(), hint="see volt --help"), as_json=True)
    else:
        mistake.show()
    return RUN_FAILED if own[:1] in (["run"], ["wait"], ["exec"], ["attach"]) else int(mistake.exit_code)
