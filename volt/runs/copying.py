"""The session of a copy: behind the workload's whole wall, where its paths are opened; and how it is spoken to."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from volt.errors import StateError
from volt.model.asked import Asked
from volt.model.copied import Copied, LeftOut
from volt.model.items import Item, Kind, Why
from volt.model.protocol import SESSION_COPY
from volt.runs.command import begin
from volt.runs.items import Receiver, reason

if TYPE_CHECKING:
    from volt.runs.command import Command
    from volt.runs.record import Record

KEPT = 1000  # of what was left out; a payload can make any number
OUT, IN = "out", "in"
HINTS = {
    errno.EACCES: "the copy stands behind the workload's whole wall; --user copies as another of its users",
    errno.EPERM: "the copy stands behind the workload's whole wall; --user copies as another of its users",
    errno.ENOENT: "a path in a workload begins at its root",
}


class Tally:
    """What was copied so far, and what was not."""

    def __init__(self, name: str, progress: Callable[[int, int | None], None] | None) -> None:
        self.name = name
        self.total: int | None = None
        self._progress = progress
        self._counts = dict.fromkeys((Kind.FILE, Kind.ENTER, Kind.LINK), 0)
        self._bytes = 0
        self._left: list[LeftOut] = []
        self._more = 0

    def count(self, item: Item) -> None:
        """One more of its kind."""
        if item.kind in self._counts:
            self._counts[Kind(item.kind)] += 1

    def arrived(self, end: Item) -> None:
        """What the session says is there now, in the place of what was sent."""
        self._counts = {Kind.FILE: end.uid, Kind.ENTER: end.gid, Kind.LINK: end.mode}

    def move(self, length: int) -> None:
        """So many bytes more."""
        self._bytes += length
        if self._progress:
            self._progress(self._bytes, self.total)

    def leave(self, path: str, why: str) -> None:
        """Something was left out."""
        if len(self._left) < KEPT:
            self._left.append(LeftOut(path, why))
        else:
            self._more += 1

    def told(self, item: Item) -> None:
        """Something that the session says. Raises StateError where it ends the copy."""
        if item.kind == Kind.PROBLEM:
            self.leave(os.fsdecode(item.name), reason(item))
        elif item.kind == Kind.FAILED:
            path = os.fsdecode(item.name)
            hint = HINTS.get(item.mode, "") if item.size == Why.ERROR else ""
            raise StateError(f"{self.name}:{path}: {reason(item)}", hint=hint)
        else:
            raise StateError(f"{self.name}: what comes from inside is out of order: nothing more of it is taken")

    def copied(self) -> Copied:
        """All of it."""
        files, folders, links = self._counts.values()
        return Copied(self.name, files, folders, links, self._bytes, tuple(self._left), self._more)


class Session:
    """A session that copies, with the pipes to and from it; a context manager that ends it."""

    def __init__(self, record: Record, words: tuple[str, str, str, str], who: Asked) -> None:
        """`words` are OUT or IN, the path inside, the name of what goes in, and switches, volt/native/copy.c; `who` is
        whom it copies as. Raises StateError."""
        self.name = record.name
        self._held = ExitStack()
        self._command: Command | None = None
        asked = Asked(words, uid=who.uid, gid=who.gid, groups=who.groups)
        given, self.taking = os.pipe()
        coming, answering = os.pipe()
        self._held.callback(_close, self.taking, coming)
        self.receiver = Receiver(record.name, coming, self._lost)
        try:
            self._command = begin(record, asked, (given, answering, answering), kind=SESSION_COPY)
            self._held.callback(self._command.close)
        except BaseException:
            self._held.close()
            raise
        finally:
            _close(given, answering)

    def _lost(self) -> StateError:
        """Why nothing more comes."""
        ended = self._command.poll(5) if self._command else None
        wait = ended.wait if ended else None
        if wait is not None and os.WIFSIGNALED(wait) and os.WTERMSIG(wait) == signal.SIGSYS:
            hint = "a seccomp profile has to let a copy open, read, write, rename and list"
            return StateError(f"{self.name}: its seccomp profile has killed the copy", hint=hint)
        return StateError(f"{self.name}: the copy was ended inside", hint="the workload has ended, or killed it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
