"""The words of a plain `volt run`, read without typer; whatever is not plain is left to typer, mistakes above all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volt import api
from volt.errors import VoltError
from volt.model.values import Value, replace

# What a host may be unable to hold, and a caller may go without.
WAIVABLE = ("resources", "landlock")


class Request(Value):
    """What `volt run` was asked for, as it was written."""

    file: str
    command: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    fresh: bool = False
    outcome: str | None = None
    waived: tuple[str, ...] = ()


def request_of(
    file: str,
    command: Sequence[str] | None,
    variables: Sequence[str] | None,
    env: Sequence[str] | None,
    fresh: bool,
    outcome: str | None,
    waived: Sequence[str] | None,
) -> Request:
    """The request of these options, each None where it was not given."""
    words, set_, added, allowed = (tuple(given or ()) for given in (command, variables, env, waived))
    return Request(file, words, set_, added, fresh, outcome, allowed)


def read_run(words: Sequence[str]) -> Request | None:
    """The request in `run [OPTION VALUE]... FILE [OPTION VALUE]... [-- COMMAND...]`; None for anything else.

    Options are written out in full, `-e` alone in short, and take their value as the next word.
    """
    if words[:1] != ["run"]:
        return None
    split = words.index("--") if "--" in words else len(words)
    request, files = Request("", tuple(words[split + 1 :])), []
    own = iter(words[1:split])
    for word in own:
        if word == "--fresh":
            request = replace(request, fresh=True)
        elif word in ("--set", "--env", "-e", "--outcome", "--allow-unenforced"):
            value = next(own, None)
            if value is None:
                return None
            request = _with(request, word, value)
        elif word.startswith("-") and word != "-":
            return None
        else:
            files.append(word)
    return replace(request, file=files[0]) if len(files) == 1 else None


def _with(request: Request, option: str, value: str) -> Request:
    if option == "--set":
        return replace(request, variables=(*request.variables, value))
    if option == "--outcome":
        return replace(request, outcome=value)
    if option == "--allow-unenforced":
        return replace(request, waived=(*request.waived, value))
    return replace(request, env=(*request.env, value))


def call_of(request: Request) -> api.Call:
    """What the command line adds to the manifest. Raises VoltError."""
    return api.Call(
        command=request.command,
        env=tuple(pairs(request.env, "--env").items()),
        fresh=request.fresh,
        report=None if request.outcome is None else str(Path(request.outcome).absolute()),
        waived=waivers(request.waived),
    )


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
