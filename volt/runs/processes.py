"""The processes of a run, found by who started whom: no cgroup that a payload moves in, no name that it takes."""

# What a link of /proc says may be no path; and pathlib takes a tenth of an exec.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.modes import Mode
from volt.model.values import Value

if TYPE_CHECKING:
    from volt.runs.record import Record

FIRST = 2  # the number inside of the init's first child: the payload, or the keeper
GONE = (FileNotFoundError, ProcessLookupError)


class Tree(Value):
    """The host's numbers of a run's processes. `init` is process 1 inside, and `keeper` the one that takes sessions.
    `inside` is all that is not volt's own, the payload first.

    In a container the init is both, and all below it is inside. Where an image is booted the keeper is process 1's
    first child, 0 once root inside has ended that; the payload is the image's init.
    """

    supervisor: int
    init: int
    inside: tuple[int, ...]
    keeper: int


def tree_of(record: Record) -> Tree:
    """The processes of the run. Raises StateError where its payload has not started, or has ended."""
    children = _children()
    levels = len(namespaced(record.pid)) + 2  # the guard has a pid namespace of its own, the container another
    for init in _below(record.pid, children):
        numbers = namespaced(init)
        if len(numbers) == levels and numbers[-1] == 1:
            break
    else:
        raise between_starts(record) or StateError(f"{record.name} has not started yet, or has ended")
    below = _below(init, children)
    first = next((pid for pid in below if namespaced(pid)[levels - 1 :] == [FIRST]), 0)
    booted = record.mode == Mode.HYBRID_NATIVE
    if not (first or booted):
        raise StateError(f"{record.name} has not started its command yet, or that has ended")
    payload, keeper = (init, first) if booted else (first, init)
    return Tree(record.pid, init, (payload, *(pid for pid in below if pid != first)), keeper)


def between_starts(record: Record) -> StateError | None:
    """What is to be said of a run that waits for its next start; None of any other. Its supervisor has its folder open,
    where restarts.json says it, volt/native/restart.c."""
    if not record.restart:
        return None
    with suppress(OSError, ValueError, LookupError, TypeError):
        numbers = (one for one, path in descriptors(record.pid) if path.endswith(f"/runs/{record.id}"))
        if json.loads(_text(f"/proc/{record.pid}/fd/{next(numbers, -1)}/restarts.json"))["next"] is not None:
            return StateError(f"{record.name} is between two starts", hint="volt ps tells when the next one is")
    return None


def belongs(pid: int, record: Record) -> bool:
    """Whether a process is the run's supervisor, or below it."""
    return pid == record.pid or pid in _below(record.pid, _children())


def is_guarded(pid: int) -> bool:
    """Whether a supervisor has its guard still, ended perhaps and not waited for: of its children the one with a pid
    namespace of its own. When that has gone it puts in order what is left of the run."""
    levels = len(namespaced(pid))
    return any(len(namespaced(child)) > levels for child in _children().get(pid, ()))


def status_of(pid: int) -> dict[str, str]:
    """proc_pid_status(5); empty for a process that is gone."""
    try:
        lines = _text(f"/proc/{pid}/status").splitlines()
    except GONE:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def init_takes(record: Record, number: int) -> bool:
    """Whether process 1 inside has a handler for a signal, or waits for it: any other one it never gets,
    pid_namespaces(7). False where it has not started, or has ended."""
    try:
        status = status_of(tree_of(record).init)
    except StateError:
        return False
    return any(int(status.get(name, "0"), 16) >> (number - 1) & 1 for name in ("SigCgt", "SigBlk"))


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
