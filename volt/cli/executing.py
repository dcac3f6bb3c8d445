"""What `volt exec` does once its words are read, and the reading of plain ones: without typer, rich, pydantic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from volt.cli.failure import RUN_FAILED, failing, report
from volt.errors import LaunchError
from volt.model.values import Value, replace

if TYPE_CHECKING:
    from volt import api


class Wanted(Value):
    """What `volt exec` was asked for."""

    name: str
    command: tuple[str, ...]
    interactive: bool = False
    terminal: bool = False
    user: str = ""
    folder: str = ""
    env: tuple[str, ...] = ()


VALUES = {"-u": "user", "--user": "user", "-w": "folder", "--workdir": "folder", "-e": "env", "--env": "env"}
SWITCHES = {"-i": "interactive", "--interactive": "interactive", "-t": "terminal", "--tty": "terminal"}


def plain(words: Sequence[str]) -> int | None:
    """The exit status of a plain call; None for words that are left to typer."""
    wanted = read_exec(words)
    return None if wanted is None else execute(wanted)


def read_exec(words: Sequence[str]) -> Wanted | None:
    """What `exec [OPTION VALUE]... NAME [--] COMMAND...` asks for; None for anything else, which is left to typer.

    Options are written out in full or as one letter, `-it` alone together, and take their value as the next word. They
    may stand behind the name too where `--` comes before the command.
    """
    wanted, name = Wanted("", ()), ""
    own = iter(words[1:])
    for word in own:
        if word == "--" or (name and not word.startswith("-")):
            command = tuple(own) if word == "--" else (word, *own)
            return replace(wanted, name=name, command=command) if name and command else None
        if word in VALUES:
            value = next(own, None)
            if value is None:
                return None
            wanted = _with(wanted, VALUES[word], value)
        elif word in SWITCHES:
            wanted = replace(wanted, **{SWITCHES[word]: True})
        elif word in ("-it", "-ti"):
            wanted = replace(wanted, interactive=True, terminal=True)
        elif word.startswith("-"):
            return None
        else:
            name = word
    return None


def _with(wanted: Wanted, field: str, value: str) -> Wanted:
    return replace(wanted, **{field: (*wanted.env, value) if field == "env" else value})


@failing(RUN_FAILED)
def execute(wanted: Wanted) -> int:
    """The command's exit status; 125 where there was none, with the reason told."""
    from volt.cli.relay import hold_signals, relay, release_signals

    hold_signals()
    try:
        outcome = relay(_started(wanted), interactive=wanted.interactive)
    finally:
        release_signals()
    if outcome.message:
        report(LaunchError(outcome.message))
    return outcome.status


def _started(wanted: Wanted) -> api.Execution:
    """A terminal of the caller's is never handed in: what is shown there goes through a pipe."""
    from volt import api
    from volt.cli.words import pairs

    def stream(number: int) -> int | None:
        if number == 0 and not wanted.interactive:
            return api.DEVNULL
        return api.PIPE if os.isatty(number) else None

    return api.execute(
        wanted.name,
        wanted.command,
        env=pairs(wanted.env, "--env"),
        user=wanted.user,
        folder=wanted.folder,
        stdin=stream(0),
        stdout=stream(1),
        stderr=stream(2),
        terminal=wanted.terminal,
        term=os.environ.get("TERM", "") if wanted.terminal else "",
    )
