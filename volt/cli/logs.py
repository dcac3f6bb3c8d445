"""volt logs: what a detached workload has written."""

from __future__ import annotations

import base64
import codecs
import json
import re
import sys
from typing import Annotated, BinaryIO

import typer

from volt import api
from volt.cli.failure import FAILED, failing
from volt.cli.findings import printable
from volt.cli.options import Json, Name
from volt.errors import VoltError

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the workload ends.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From then on: 2026-11-24T20:46, or 10m for that long ago."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to then.")]
Last = Annotated[int | None, typer.Option("--last", "-n", metavar="N", help="The last N lines.")]
Timestamps = Annotated[bool, typer.Option("--timestamps", "-t", help="The time of each line before it.")]
Stdout = Annotated[bool, typer.Option("--stdout", help="Standard output alone.")]
Stderr = Annotated[bool, typer.Option("--stderr", help="Standard error alone.")]
Raw = Annotated[bool, typer.Option("--raw", help="Escape sequences as they are, on a terminal too.")]

# What the C of the expression lets pass; the rest is looked at one by one.
_ODD = re.compile(r"[^\x20-\x7e\n\t]+")


@failing(FAILED)
def logs(
    name: Name,
    follow: Follow = False,
    since: Since = None,
    until: Until = None,
    last: Last = None,
    timestamps: Timestamps = False,
    stdout: Stdout = False,
    stderr: Stderr = False,
    raw: Raw = False,
    json_: Json = False,
) -> int:
    """Print what the detached workload NAME has written, standard output and standard error each to its own.

    Elsewhere than on a terminal that is byte for byte what it wrote; on one, escape sequences are shown, not obeyed.
    """
    if stdout and stderr:
        raise VoltError("--stdout and --stderr exclude each other", hint="without either both are printed")
    streams = ("stdout",) if stdout else ("stderr",) if stderr else ("stdout", "stderr")
    with api.logs(name, follow=follow, since=since, until=until, last=last, streams=streams) as log:
        if json_:
            for piece in log:
                print(json.dumps(document(piece)), flush=follow)
        else:
            outlet = Outlet(at_once=follow)
            sinks = {"stdout": sink(sys.stdout.buffer, outlet, raw), "stderr": sink(sys.stderr.buffer, outlet, raw)}
            if timestamps:
                _stamped(log, sinks)
            else:
                log.copy(sinks["stdout"], sinks["stderr"])
            outlet.flush()
    if log.damaged:
        print(f"volt: {log.damaged} damaged lines of the log are left out", file=sys.stderr)
    return 0


def document(piece: api.LogPiece) -> dict[str, object]:
    """The JSON document of a line, or of a piece of one; version 1. What is no text is there as `base64` too."""
    try:
        text, exact = piece.text.decode(), {}
    except UnicodeDecodeError:
        text = piece.text.decode(errors="replace")
        exact = {"base64": base64.b64encode(piece.text).decode()}
    fields = {"version": 1, "time": piece.time, "stream": piece.stream, "text": text, **exact}
    return {**fields, "whole": piece.whole}


def _stamped(log: api.Log, sinks: dict[str, Sink]) -> None:
    for piece in log:
        before = f"{piece.time} " if piece.begins else ""
        own = "volt: " if piece.stream == "volt" else ""
        sink = sinks.get(piece.stream, sinks["stderr"])
        sink.write(f"{before}{own}".encode() + piece.text + (b"\n" if piece.whole else b""))


class Outlet:
    """Writes to one of two places at a time: both may be the same terminal, and keep the order there."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._last: BinaryIO | None = None

    def write(self, to: BinaryIO, data: bytes) -> None:
        """Raises BrokenPipeError when the reader has gone."""
        if to is not self._last:
            self.flush()
            self._last = to
        to.write(data)
        if self._at_once:
            to.flush()

    def flush(self) -> None:
        if self._last:
            self._last.flush()


class Sink:
    """Where the text of a stream goes, as it is."""

    def __init__(self, to: BinaryIO, outlet: Outlet) -> None:
        self._to, self._outlet = to, outlet

    def write(self, data: bytes, /) -> None:
        self._outlet.write(self._to, data)


class Terminal(Sink):
    """Where what is no text is shown in its place: no terminal obeys a payload."""

    def __init__(self, to: BinaryIO, outlet: Outlet) -> None:
        super().__init__(to, outlet)
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")  # a character may come in two pieces

    def write(self, data: bytes, /) -> None:
        text = self._decoder.decode(data).replace("\r\n", "\n")
        super().write(_ODD.sub(lambda found: printable(found[0]), text).encode())


def sink(to: BinaryIO, outlet: Outlet, raw: bool) -> Sink:
    """On a terminal what is no text is shown, unless `raw`."""
    return (Terminal if to.isatty() and not raw else Sink)(to, outlet)
