"""The processes of a run, found by who started whom: no cgroup that a payload moves in, no name that it takes."""

# What a link of /proc says may be no path; and pathlib takes a tenth of an exec.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.values import Value

if TYPE_CHECKING:
    from volt.runs.record import Record

PAYLOAD = 2  # its number inside: the init's first child
GONE = (FileNotFoundError, ProcessLookupError)


class Tree(Value):
    """The host's numbers of a run's processes. `inside` is all below the init, the payload first."""

    supervisor: int
    init: int
    inside: tuple[int, ...]


def tree_of(record: Record) -> Tree:
    """The processes of the run. Raises StateError where its payload has not started, or has ended."""
    children = _children()
    levels = len(namespaced(record.pid)) + 2  # the guard has a pid namespace of its own, the container another
    for init in _below(record.pid, children):
        numbers = namespaced(init)
        if len(numbers) == levels and numbers[-1] == 1:
            break
    else:
        raise StateError(f"{record.name} has not started yet, or has ended")
    inside = sorted(_below(init, children), key=lambda pid: namespaced(pid)[levels - 1 : levels] != [PAYLOAD])
    if not inside or namespaced(inside[0])[-1:] != [PAYLOAD]:
        raise StateError(f"{record.name} has not started its command yet, or that has ended")
    return Tree(record.pid, init, tuple(inside))


def belongs(pid: int, record: Record) -> bool:
    """Whether a process is the run's supervisor, or below it."""
    return pid == record.pid or pid in _below(record.pid, _children())


def status_of(pid: int) -> dict[str, str]:
    """proc_pid_status(5); empty for a process that is gone."""
    try:
        lines = _text(f"/proc/{pid}/status").splitlines()
    except GONE:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> Iterator[tuple[int, str]]:
    """The open ones of a process with what each leads to, less those that it closes meanwhile. Raises
    FileNotFoundError when it is gone."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(*GONE):
            yield int(name), os.readlink(f"/proc/{pid}/fd/{name}")


def namespaced(pid: int) -> list[int]:
    """Its number in each pid namespace, from ours inwards."""
    return [int(number) for number in status_of(pid).get("NSpid", "").split()]


def _children() -> Mapping[int, Sequence[int]]:
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            # The name before it is in parentheses, and may hold anything.
            parent = int(_text(f"/proc/{name}/stat").rpartition(")")[2].split()[1])
        except GONE:
            continue
        found.setdefault(parent, []).append(int(name))
    return found


def _below(pid: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    found: list[int] = []
    waiting = [*children.get(pid, ())]
    while waiting:
        found.append(waiting.pop(0))
        waiting += children.get(found[-1], ())
    return found


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
