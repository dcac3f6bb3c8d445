"""Runs in print: a line of a table, and a JSON document, of one typed record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from volt.cli.findings import printable
from volt.model.run import RunState
from volt.model.values import Value, kinds

COMMAND = 40  # characters of it that are shown
REPORT = 40  # … and of what it says of itself
HEAD = ("NAME", "ID", "MODE", "STATE", "PORTS", "COMMAND")
EVERY4, EVERY6 = "0.0.0.0", "[::]"  # noqa: S104 (nothing is bound here)
UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def table(states: Sequence[RunState]) -> str:
    """A line for each run below a head; nothing of it is obeyed by a terminal."""
    now = time.time()
    rows = [HEAD, *(_row(state, now) for state in states)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(state: RunState, now: float) -> tuple[str, ...]:
    command = printable(" ".join(state.command))
    shown = command if len(command) <= COMMAND else f"{command[: COMMAND - 1]}…"
    ports = printable(", ".join(shortened(state.ports)))
    return printable(state.name), state.id, printable(state.mode), condition(state, now), ports, shown


def shortened(ports: Sequence[str]) -> list[str]:
    """Published ports in few words: what is published for IPv4 and IPv6 alike once, and neighbours as a range."""
    ranges: list[list[Any]] = []  # address, first outside, first inside, protocol, how many
    for one in ports:
        address, outside, inside, protocol = _parts(one)
        if address == EVERY6 and one.replace(EVERY6, EVERY4, 1) in ports:
            continue
        last = ranges[-1] if ranges else []
        if last and last == [address, outside - last[4], inside - last[4], protocol, last[4]]:
            last[4] += 1
        else:
            ranges.append([address, outside, inside, protocol, 1])
    return [f"{at}:{_range(out, many)}->{_range(into, many)}/{kind}" for at, out, into, kind, many in ranges]


def _parts(port: str) -> tuple[str, int, int, str]:
    """Of 0.0.0.0:8080->80/tcp."""
    front, _, behind = port.partition("->")
    address, _, outside = front.rpartition(":")
    inside, _, protocol = behind.partition("/")
    return address, int(outside), int(inside), protocol


def _range(first: int, many: int) -> str:
    return f"{first}-{first + many - 1}" if many > 1 else str(first)


def condition(state: RunState, now: float) -> str:
    """Its state in words: since when, or how it ended and when."""
    if state.state == "restarting":
        status = "" if state.last is None else f" after {state.last.status}"
        return f"restarting in {age(max(0, (state.next_start or 0) - now))}{status}{_restarts(state)}"
    if state.lives:
        return f"{state.state} {age(now - state.started)}{_restarts(state)}{_readiness(state)}"
    when = "" if state.ended is None else f" {age(now - state.ended)} ago"
    status = "" if state.status is None else f" ({state.status})"
    return f"{state.state}{status}{when}"


def _restarts(state: RunState) -> str:
    return f" ({state.restarts} restart{'s' if state.restarts > 1 else ''})" if state.restarts else ""


def _readiness(state: RunState) -> str:
    """What it says of itself, which may be anything: behind whether it is ready."""
    ready = " (ready)" if state.ready_since is not None else ""
    said = printable(state.reports)
    shown = said if len(said) <= REPORT else f"{said[: REPORT - 1]}…"
    return f"{ready}: {shown}" if shown else ready


def age(seconds: float) -> str:
    """How long that is, in its greatest unit."""
    for size, name in UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "0 seconds"


def document(state: Value) -> dict[str, Any]:
    """The fields of a run, or of what came of it, as JSON has them."""
    return {name: _plain(getattr(state, name)) for name in kinds(type(state))}


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return document(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
