"""Every verb with its arguments and options, for typer: parsing, help, completion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from volt import __version__
from volt.cli import generate, image, net, store
from volt.cli.artifact import pull, push
from volt.cli.attach import attach
from volt.cli.audit import audit
from volt.cli.commit import commit
from volt.cli.completion import completion
from volt.cli.cp import cp
from volt.cli.diff import diff
from volt.cli.doctor import doctor
from volt.cli.exec import exec_
from volt.cli.explain import explain
from volt.cli.failure import RUN_FAILED, report
from volt.cli.gc import gc
from volt.cli.inspect import inspect
from volt.cli.kill import kill
from volt.cli.learn import learn
from volt.cli.lock import lock
from volt.cli.login import login, logout
from volt.cli.logs import logs
from volt.cli.pause import pause, unpause
from volt.cli.plan import plan
from volt.cli.ps import ps
from volt.cli.restart import restart
from volt.cli.rm import rm
from volt.cli.run import run
from volt.cli.schema import schema
from volt.cli.show import show
from volt.cli.stats import stats
from volt.cli.stop import stop
from volt.cli.top import top
from volt.cli.update import update
from volt.cli.validate import validate
from volt.cli.wait import wait
from volt.errors import VoltError

__all__ = ["app", "command_line"]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"volt {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
]

# What typer raises for a mistake in a call; typer has kept it in several places over the years.
MISTAKE: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="volt",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,  # `volt completion` it is: its scripts quote what they are given, and need no typer
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


SUMMARY = {
    "generate": "Write files for other programs, which launch workloads.",
    "image": "Bring in, name, list and bring out images: file trees that workloads have as their root.",
    "net": "Define, list, look at and take away networks, which workloads join.",
    "store": "Look after the store, which holds the images: what it takes, whether it is sound, what can go.",
}


@app.callback()
def volt(version: Version = False) -> None:
    """Launch what a TOML manifest describes, behind the wall that one word picks."""


OF_MANIFESTS = (run, plan, explain, learn, validate, show, lock, schema, doctor)
OF_RUNS = (ps, inspect, wait, stop, kill, pause, unpause, restart, rm, gc, update)
INSIDE = (exec_, attach, cp, logs, top, stats, diff, commit, audit)

OF_REGISTRIES = (login, logout, push, pull)

for verb in (*OF_MANIFESTS, *OF_RUNS, *INSIDE, *OF_REGISTRIES, completion):
    # The words of a command in a workload are its own, whatever they begin with.
    settings = {"allow_interspersed_args": verb is not exec_}
    app.command(verb.__name__.rstrip("_"), context_settings=settings)(verb)

# Nouns, whose verbs are words of their own.
COMING = (image.import_, image.pull, image.push)
OF_IMAGES = (*COMING, image.ls, image.inspect, image.tag, image.export, image.history, image.diff, image.rm)
OF_NETWORKS = (net.create, net.ls, net.show, net.rm, net.gc)
OF_THE_STORE = (store.df, store.verify, store.gc, store.add, store.ls, store.rm)

NOUNS: Mapping[str, tuple[Callable[..., int], ...]] = {
    "generate": (generate.systemd,),
    "image": OF_IMAGES,
    "net": OF_NETWORKS,
    "store": OF_THE_STORE,
}

for noun, of_noun in NOUNS.items():
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=SUMMARY[noun])
    for one in of_noun:
        group.command(one.__name__.rstrip("_"))(one)
    app.add_typer(group, name=noun)


def command_line(arguments: list[str]) -> int:
    """Run one command line; the exit status. A mistake in the call itself ends with 2, in verbs that end with a
    payload's status with 125."""
    try:
        return int(app(arguments, prog_name="volt", standalone_mode=False) or 0)
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
