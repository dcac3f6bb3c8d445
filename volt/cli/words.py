"""The words of a plain `volt run`, read without typer; whatever is not plain is left to typer, mistakes above all."""

# pathlib and what it brings take a tenth of an exec.
# ruff: noqa: PTH109, PTH118

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from volt import api
from volt.errors import VoltError
from volt.model.facts import PullPolicy
from volt.model.values import Value

# What a host may be unable to hold, and a caller may go without.
WAIVABLE = ("resources", "landlock")


MISSING = "missing"  # when `volt run` pulls, where it is not said


class Request(Value):
    """What `volt run` was asked for, as it was written."""

    file: str
    command: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    fresh: bool = False
    outcome: str | None = None
    waived: tuple[str, ...] = ()
    detach: bool = False
    rm: bool = False
    interactive: bool = False
    tty: bool = False
    name: str | None = None
    labels: tuple[str, ...] = ()
    timeout: str | None = None
    pull: str = "never"
    unit: str = ""
    keeps: tuple[str, ...] = ()


# Options of `volt run`: those that take no value, and the field of a request that each of the others fills or adds to.
SWITCHES = {
    "--fresh": "fresh",
    "--detach": "detach",
    "-d": "detach",
    "--rm": "rm",
    "--interactive": "interactive",
    "-i": "interactive",
    "--tty": "tty",
    "-t": "tty",
}
SINGLE = {"--outcome": "outcome", "--name": "name", "--timeout": "timeout", "--pull": "pull", "--unit": "unit"}
REPEATED = {
    "--set": "variables",
    "--env": "env",
    "-e": "env",
    "--allow-unenforced": "waived",
    "--label": "labels",
    "-l": "labels",
    "--unit-keeps": "keeps",
}


def request_of(
    file: str,
    command: Sequence[str] | None,
    variables: Sequence[str] | None,
    env: Sequence[str] | None,
    waived: Sequence[str] | None,
    **more: Any,
) -> Request:
    """The request of these options, each None where it was not given; `more` are fields of a request."""
    words, set_, added, allowed = (tuple(given or ()) for given in (command, variables, env, waived))
    return Request(file, command=words, variables=set_, env=added, waived=allowed, **more)


def read_run(words: Sequence[str]) -> Request | None:
    """The request in `run [OPTION VALUE]... FILE [OPTION VALUE]... [-- COMMAND...]`; None for anything else.

    Options are written out in full, or as single letters, and take their value as the next word.
    """
    if words[:1] != ["run"]:
        return None
    split = words.index("--") if "--" in words else len(words)
    found: dict[str, Any] = {"command": tuple(words[split + 1 :]), "pull": MISSING}
    files = []
    own = iter(words[1:split])
    for word in own:
        if word in SWITCHES:
            found[SWITCHES[word]] = True
        elif word in SINGLE or word in REPEATED:
            value = next(own, None)
            if value is None:
                return None
            found |= _value(found, word, value)
        elif word.startswith("-") and word != "-":
            return None
        else:
            files.append(word)
    return Request(files[0], **found) if len(files) == 1 else None


def _value(found: Mapping[str, Any], option: str, value: str) -> dict[str, Any]:
    if option in SINGLE:
        return {SINGLE[option]: value}
    field = REPEATED[option]
    return {field: (*found.get(field, ()), value)}


def call_of(request: Request) -> api.Call:
    """What the command line adds to the manifest. Raises VoltError."""
    if request.detach and request.unit:
        raise VoltError("--detach does not go with --unit", hint="systemctl start returns when the workload is ready")
    if request.detach and request.outcome is not None:
        raise VoltError("--outcome goes with a run in the foreground", hint="volt inspect NAME shows how it ended")
    return api.Call(
        command=request.command,
        env=tuple(pairs(request.env, "--env").items()),
        fresh=request.fresh,
        report=None if request.outcome is None else os.path.join(os.getcwd(), request.outcome),
        waived=waivers(request.waived),
        detach=request.detach,
        keep=request.detach and not request.rm,
        discard=request.rm,
        interactive=request.interactive,
        terminal=_asked_terminal(request),
        name=request.name,
        labels=tuple(pairs(request.labels, "--label").items()),
        time_limit=None if request.timeout is None else milliseconds(request.timeout),
        pull=pull_policy(request.pull),
        unit=request.unit,
        keeps=tuple(pairs(request.keeps, "--unit-keeps").items()),
    )


def pull_policy(written: str) -> PullPolicy:
    """Raises VoltError."""
    if written in get_args(PullPolicy):
        return cast("PullPolicy", written)
    raise VoltError(f"--pull {written}: there is no such time", hint="write --pull missing, always or never")


def _asked_terminal(request: Request) -> int:
    """The standard descriptors that -t makes terminals; in the foreground input only where the caller's is one."""
    if not request.tty:
        return 0
    return 0b111 if request.detach else 0b110


def milliseconds(written: str) -> int:
    """A duration, or a number of seconds. Raises VoltError."""
    from volt.model.sizes import Duration

    try:
        span = Duration.parse(f"{written}s" if written.isdecimal() else written).milliseconds
    except ValueError as error:
        raise VoltError(f"--timeout: {error}", hint="write 30s, or 1m30s") from error
    if span == 0:
        raise VoltError("--timeout: nothing runs for no time", hint="write 30s, or leave it out")
    return span


def waivers(words: Sequence[str] | None) -> tuple[str, ...]:
    """NAME,NAME words as the sections that may stay unenforced. Raises VoltError."""
    names = tuple(dict.fromkeys(name for word in words or () for name in word.split(",")))
    for name in names:
        if name not in WAIVABLE:
            hint = f"write --allow-unenforced {','.join(WAIVABLE)}"
            raise VoltError(f"--allow-unenforced {name}: there is nothing of that name to allow", hint=hint)
    return names


def pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE words as a mapping; a later one wins. Raises VoltError."""
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise VoltError(f"{option} {word}: not of the form NAME=VALUE", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found
