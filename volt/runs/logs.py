"""Reading the log of a run, line by line or as a whole, and as it grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Protocol, Self

from volt.model.log import OWN, STREAMS, LogPiece, lines, texts
from volt.model.values import Value
from volt.runs.log_files import last_lines

if TYPE_CHECKING:
    from volt.model.log import Line
    from volt.runs.log_files import LogFiles

LATEST = "~"  # after every stamp


class Sink(Protocol):
    """Where the text of a stream goes."""

    def write(self, data: bytes, /) -> object: ...


class Pace(Protocol):
    """What following a log waits by: called with whether there was something new, it waits a while, and says whether
    to go on."""

    def __call__(self, fresh: bool, /) -> bool: ...

    def close(self) -> None: ...


class Wanted(Value):
    """Which lines of a log: of these streams, of the time from `since` to `until` (stamps), the last `last` of them."""

    streams: tuple[str, ...] = STREAMS
    since: str = ""
    until: str = LATEST
    last: int | None = None

    @property
    def everything(self) -> bool:
        """Whether nobody has to look at a single line."""
        return (self.since, self.until, self.last) == ("", LATEST, None)


class Log:
    """The log of one run, read once: iterate over it for its pieces, or `copy` it. A context manager, for whoever
    stops in between. `damaged` counts lines that were none."""

    def __init__(self, files: LogFiles, wanted: Wanted, ending: Pace | None = None) -> None:
        self._files, self._wanted, self._ending = files, wanted, ending
        self.damaged = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._files.close()
        if self._ending:
            self._ending.close()

    def __iter__(self) -> Iterator[LogPiece]:
        for (at, stream, tag, text), begins in self._chosen():
            yield LogPiece(at.decode(), stream.decode(), text, tag == b"F", begins)

    def copy(self, stdout: Sink, stderr: Sink) -> None:
        """Write what the payload wrote, byte for byte, to where it wrote it; what volt says of the log, to `stderr`."""
        sinks = {"stdout": stdout, "stderr": stderr}
        streams = self._wanted.streams
        for kind, text in self._texts() if self._wanted.everything else self._chosen_texts():
            if kind in streams:
                sinks[kind].write(text)
            elif kind == OWN:
                stderr.write(b"volt: " + text)
            elif kind == "damaged":
                self.damaged += 1

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        with self:
            yield from chain.from_iterable(map(texts, self._files.blocks(self._ending)))

    def _chosen_texts(self) -> Iterator[tuple[str, bytes]]:
        for (_, stream, tag, text), _begins in self._chosen():
            yield stream.decode(), text + b"\n" if tag == b"F" else text

    def _chosen(self) -> Iterator[tuple[Line, bool]]:
        """The wanted lines, and whether each begins one or goes on with it."""
        with self:
            skipped = self._skip() if self._wanted.last is not None else 0
            for number, line, begins in _numbered(self._lines(self._files.blocks(self._ending)), self._wanted):
                if number > skipped:
                    yield line, begins

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[Line]:
        for line in chain.from_iterable(map(lines, blocks)):
            if line is None:
                self.damaged += 1
            else:
                yield line

    def _skip(self) -> int:
        """Goes to where the last lines lie; how many there are too many."""
        last = self._wanted.last or 0
        # One more for each stream: the first of each may be the end of a line that began before.
        where = last_lines(self._files, last + len(STREAMS) + 1, lambda block: _ends(block, self._wanted))
        self._files.seek(*where)
        ahead = filter(None, chain.from_iterable(map(lines, self._files.ahead())))
        found = sum(begins for _, _, begins in _numbered(ahead, self._wanted))
        return max(0, found - last)


def _numbered(all_lines: Iterable[Line], wanted: Wanted) -> Iterator[tuple[int, Line, bool]]:
    """The wanted ones, each with the number of the whole line that it is or belongs to, and whether it begins that.

    A whole line is wanted or not by its first piece.
    """
    streams = {name.encode() for name in (*wanted.streams, OWN)}
    since, until = wanted.since.encode(), wanted.until.encode()
    unfinished: dict[bytes, int] = {}  # by the stream; 0 for one that is not wanted
    count = 0
    for line in all_lines:
        at, stream, tag, _ = line
        number = unfinished.get(stream)
        begins = number is None
        if number is None:
            number = 0
            if stream in streams and since <= at <= until:
                count += 1
                number = count
        if tag == b"P":
            unfinished[stream] = number
        elif not begins:
            del unfinished[stream]
        if number:
            yield number, line, begins


def _ends(block: bytes, wanted: Wanted) -> int:
    """How many wanted lines end in a block."""
    streams = {name.encode() for name in (*wanted.streams, OWN)}
    since, until = wanted.since.encode(), wanted.until.encode()
    return sum(
        1 for line in lines(block) if line and line[2] == b"F" and line[1] in streams and since <= line[0] <= until
    )
