"""volt learn: the smallest profile that one command needs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from volt import api
from volt.cli.candidates import any_file
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Command, Env, File, Json, Variables
from volt.cli.words import pairs
from volt.errors import VoltError

LANDLOCK, SECCOMP = "landlock.toml", "seccomp.toml"

Folder = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help=f"Write {LANDLOCK} and {SECCOMP} there; nothing is overwritten.",
        autocompletion=any_file,
    ),
]
Whole = Annotated[
    list[str] | None,
    typer.Option("--whole", metavar="DIR", help="Take all that is used beneath this folder inside as one place."),
]
Runs = Annotated[int, typer.Option("--runs", metavar="NUMBER", help="Run the command at most so often.", min=10)]


@failing(FAILED)
def learn(
    file: File,
    command: Command = None,
    set_: Variables = None,
    env: Env = None,
    output: Folder = None,
    whole: Whole = None,
    runs: Runs = 1000,
    json_: Json = False,
) -> int:
    """Propose the smallest Landlock policy and seccomp profile under which the command passes, to read and edit.

    The command is run as it is, watched by strace from outside, and run again many times with less and less, until
    nothing can be taken away: it has to succeed, and to come to an end. Each run has a fresh layer and fresh copies
    of writable volumes, and no input; what it does in the network is done each time. Ends with 1 when not every rule
    could be tried.
    """
    places = _places(output) if output is not None else None
    say = None if json_ else _say
    found = api.learn(
        file,
        command=command or (),
        env=pairs(env, "--env"),
        variables=pairs(set_, "--set"),
        whole=whole or (),
        most_runs=runs,
        progress=say,
    )
    if places:
        _write(places[0], found.landlock)
        _write(places[1], found.seccomp)
    if json_:
        print(json.dumps(document(found), indent=2))
    else:
        show(found, output)
    return 0 if found.minimal else FAILED


def document(found: api.Learned) -> dict[str, object]:
    """The JSON document, version 1."""
    return {
        "version": 1,
        "landlock": found.landlock,
        "seccomp": found.seccomp,
        "capabilities": None if found.capabilities is None else list(found.capabilities),
        "rules": found.rules,
        "calls": found.calls,
        "runs": found.runs,
        "minimal": found.minimal,
        "compared": list(found.compared),
    }


def show(found: api.Learned, output: str | None) -> None:
    """The two files, unless they were written, and what the manifest has to say."""
    if output is None:
        for name, text in ((LANDLOCK, found.landlock), (SECCOMP, found.seccomp)):
            print(f"# ── {name} ──\n{text}")
    folder = json.dumps(output or ".", ensure_ascii=False)[1:-1].rstrip("/")
    print("# ── in the manifest ──\n[security]")
    print(
        f'landlock_profile = "custom"\nlandlock_policy = "{folder}/{LANDLOCK}"\nseccomp_profile = "{folder}/{SECCOMP}"'
    )
    if found.capabilities is not None:
        print(f"capabilities = {json.dumps(list(found.capabilities))}")
    how = "each tried" if found.minimal else "not all tried: raise --runs"
    print(f"{found.rules} rules and {found.calls} system calls, {how}, in {found.runs} runs", file=sys.stderr)


def _say(line: str) -> None:
    print(f"volt: {printable(line)}", file=sys.stderr)


def _places(output: str) -> tuple[Path, Path]:
    """Where the files go: looked at before anything runs. Raises VoltError."""
    places = Path(output) / LANDLOCK, Path(output) / SECCOMP
    for place in places:
        if place.exists() or place.is_symlink():
            raise VoltError(f"{place} is there already", hint="name another folder, or move it away")
    if not Path(output).is_dir():
        raise VoltError(f"{output} is no folder", hint=f"mkdir {output}")
    return places


def _write(place: Path, text: str) -> None:
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise VoltError(f"{place} cannot be written: {error.strerror}") from error
