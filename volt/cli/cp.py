"""volt cp: files into and out of a workload that runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Annotated, Any

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Json
from volt.cli.stats import size
from volt.errors import VoltError

Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="NAME:PATH, a path here, or - for a tar on stdin.", show_default=False),
]
Target = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="A path here, - for a tar on stdout, or NAME:PATH.", show_default=False),
]
FollowLink = Annotated[bool, typer.Option("--follow-link", "-L", help="Where SOURCE is a link, copy what it leads to.")]
Archive = Annotated[bool, typer.Option("--archive", "-a", help="Keep the numbers of owner and group.")]
As = Annotated[
    str,
    typer.Option(
        "--user", "-u", metavar="USER[:GROUP]", help="Copy as this user of the workload.", show_default="root"
    ),
]

SHOWN_AFTER = 1.0  # seconds
SHOWN_EVERY = 0.2
MOST = 20  # lines of what was left out


@failing(FAILED)
def cp(
    source: Source,
    target: Target,
    follow_link: FollowLink = False,
    archive: Archive = False,
    user: As = "",
    json_: Json = False,
) -> int:
    """Copy files, folders and links from SOURCE to TARGET, of which one is a path in the running workload NAME.

    Into a folder that is there they go under their own name; SOURCE ending in `/.` is what lies in a folder, not the
    folder itself. Else TARGET becomes what is copied. Links are copied as links; out of a workload come neither
    set-id bits nor links that lead out of the copy. Ends with 1 where something was left out, which is told.
    """
    (name, inside), outward = _sides(source, target)
    options: dict[str, Any] = {"follow_link": follow_link, "archive": archive, "user": user}
    progress = Progress() if os.isatty(2) and not json_ else None
    for number in (signal.SIGTERM, signal.SIGHUP):  # what is not whole yet goes, as with ctrl-c
        signal.signal(number, lambda came, _: sys.exit(128 + came))
    try:
        if outward:
            _refuse_output(target, json_)
            copied = api.copy_out(
                name, inside, sys.stdout.buffer if target == "-" else target, progress=progress, **options
            )
        else:
            copied = api.copy_in(
                sys.stdin.buffer if source == "-" else source, name, inside, progress=progress, **options
            )
    finally:
        if progress:
            progress.clear()
    sys.stdout.flush()
    if json_:
        print(json.dumps(document(copied), indent=2))
    else:
        _tell(copied)
    return FAILED if copied.left_out else 0


def _sides(source: str, target: str) -> tuple[tuple[str, str], bool]:
    """Name and path inside, and whether that is the source. Raises VoltError."""
    from_, to = _split(source), _split(target)
    if from_ and to:
        raise VoltError(
            "one of SOURCE and TARGET is a path here",
            hint=f"volt cp {source} - | volt cp - {target} goes through a tar",
        )
    if from_:
        return from_, True
    if to:
        return to, False
    raise VoltError("neither SOURCE nor TARGET is in a workload", hint="write NAME:/PATH; ./a:b is a path here")


def _split(word: str) -> tuple[str, str] | None:
    """NAME:PATH; None for a path here, which has a slash before its colon, or none."""
    name, colon, path = word.partition(":")
    return (name, path) if colon and name and "/" not in name else None


def _refuse_output(target: str, as_json: bool) -> None:
    if target != "-":
        return
    if as_json:
        raise VoltError("--json and - exclude each other", hint="standard output has the tar")
    if os.isatty(1):
        raise VoltError("a tar is not for a terminal", hint="volt cp NAME:PATH - | tar -t")


def _tell(copied: api.Copied) -> None:
    for one in copied.left_out[:MOST]:
        print(f"volt: {printable(one.path)}: {printable(one.why)}", file=sys.stderr)
    if more := len(copied.left_out[MOST:]) + copied.more:
        print(f"volt: and {more} more: --json lists them", file=sys.stderr)


def document(copied: api.Copied) -> dict[str, object]:
    """The JSON document, version 1."""
    fields = {name: getattr(copied, name) for name in ("name", "files", "folders", "links", "bytes")}
    left = [{"path": one.path, "why": one.why} for one in copied.left_out]
    return {"version": 1, **fields, "left_out": left, "more": copied.more}


class Progress:
    """A line on the terminal that says how far a copy is, where it takes longer than a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + SHOWN_AFTER
        self._shown = False

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next, self._shown = now + SHOWN_EVERY, True
        of = f" of {size(total)}, {min(100, 100 * done // total)}%" if total else ""
        print(f"\r\033[K{size(done)}{of}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take it away again."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
