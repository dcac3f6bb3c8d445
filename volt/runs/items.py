"""The two ends of a copy's stream: whole items come from inside and go there, and nobody is waited for without end.

What comes from inside is hostile: its kinds, lengths and names are checked here, before anything is done with them.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Iterator

from volt.errors import StateError
from volt.model.items import DEEPEST, HEAD, HOLE, PIECE, PIECE_LIMIT, TEXT_LIMIT, Item, Kind, Why

SILENCE = 30.0  # seconds in which the other end has to do something
MOST_ERRNO = 4095  # linux/err.h
ZEROES = bytes(PIECE_LIMIT)
NAMED = (Kind.ENTER, Kind.FILE, Kind.LINK)
WHYS: dict[int, str] = {
    Why.SPECIAL: "neither file nor folder nor link",
    Why.SHRANK: "it shrank while it was read: zeroes stand for what has gone",
    Why.GREW: "it grew while it was read: what came later is left out",
    Why.DEEP: f"more than {DEEPEST} folders within each other",
    Why.ENDLESS: "it grows faster than it is copied",
}


ERRORS: dict[int, str] = {
    errno.EROFS: "it is read-only there: a writable layer, volume or tmpfs makes a place to write to",
    errno.EOVERFLOW: 'its owner has no number there: volumes.ids = "same" maps them all',
}


def reason(item: Item) -> str:
    """Why something was left out, in words."""
    if item.size != Why.ERROR:
        return WHYS.get(item.size, "for a reason that is not known here")
    return ERRORS.get(item.mode) or os.strerror(min(item.mode, MOST_ERRNO))


def is_name(name: bytes) -> bool:
    """Whether it is one component, and no way out of the folder."""
    return bool(name) and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def _ready(*wanted: tuple[int, int]) -> set[int]:
    """Those of the descriptors that can be used, or whose other end has gone; none after a long silence."""
    poll = select.poll()
    for descriptor, events in wanted:
        poll.register(descriptor, events)
    return {descriptor for descriptor, _ in poll.poll(SILENCE * 1000)}


class Receiver:
    """Items as they come. `lost` gives the error for an end that comes too early."""

    def __init__(self, name: str, descriptor: int, lost: Callable[[], StateError]) -> None:
        self.name = name
        self.descriptor = descriptor
        self._lost = lost
        self._first = True
        self._depth = 0

    def item(self) -> Item:
        """The next one, whole and sound. Raises StateError."""
        kind, *numbers, name_length, text_length = HEAD.unpack(self._exactly(HEAD.size))
        if max(name_length, text_length) > TEXT_LIMIT or kind not in tuple(Kind):
            raise self._damaged()
        name, text = self._exactly(name_length), self._exactly(text_length)
        mode, uid, gid, size, seconds, nanoseconds = numbers
        item = Item(kind, name, text, mode, uid, gid, size, seconds, nanoseconds)
        self._depth += (kind == Kind.ENTER) - (kind == Kind.LEAVE)
        sound = size < HOLE and nanoseconds < 10**9 and self._depth >= 0
        if not sound or (kind in NAMED and not self._well_named(item)):
            raise self._damaged()
        return item

    def _well_named(self, item: Item) -> bool:
        """What comes first has no name: what it becomes is for its receiver to say. Nothing comes beside it."""
        first, self._first = self._first, False
        target = item.kind != Kind.LINK or bool(item.text and b"\0" not in item.text)
        inside = self._depth > (item.kind == Kind.ENTER)
        return target and (item.name == b"" if first else inside and is_name(item.name))

    def pieces(self, size: int) -> Iterator[bytes | int]:
        """The content of a file: data, or how many zeroes; `size` bytes in all. Raises StateError."""
        while size > 0:
            (length,) = PIECE.unpack(self._exactly(PIECE.size))
            hole, length = length & HOLE, length & ~HOLE
            if not 0 < length <= size or (not hole and length > PIECE_LIMIT):
                raise self._damaged()
            yield length if hole else self._exactly(length)
            size -= length

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            if not _ready((self.descriptor, select.POLLIN)):
                raise StateError(f"{self.name}: nothing has come from inside for {SILENCE:.0f} seconds")
            part = os.read(self.descriptor, count)
            if not part:
                raise self._lost()
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _damaged(self) -> StateError:
        return StateError(f"{self.name}: what comes from inside is damaged: nothing more of it is taken")


class Sender:
    """Items as they go; what is answered meanwhile is given to `answered`."""

    def __init__(self, descriptor: int, answers: Receiver, answered: Callable[[Item], None]) -> None:
        self._descriptor = descriptor
        self._answers = answers
        self._answered = answered
        os.set_blocking(descriptor, False)

    def item(self, item: Item) -> None:
        """Raises StateError, or what `answered` raises."""
        self._send(item.encoded())

    def data(self, data: bytes) -> None:
        """A piece of a file. Raises as `item`."""
        for start in range(0, len(data), PIECE_LIMIT):
            part = data[start : start + PIECE_LIMIT]
            self._send(PIECE.pack(len(part)) + part)

    def hole(self, length: int) -> None:
        """So many zeroes of a file. Raises as `item`."""
        if length:
            self._send(PIECE.pack(length | HOLE))

    def finish(self) -> Item:
        """Until all was taken; what is said last. Raises as `item`."""
        self.item(Item(Kind.END))
        return self._hear_out()

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        answers = self._answers.descriptor
        while left:
            ready = _ready((answers, select.POLLIN), (self._descriptor, select.POLLOUT))
            if not ready:
                raise StateError(f"{self._answers.name}: nothing is taken inside for {SILENCE:.0f} seconds")
            if answers in ready:
                self._answered(self._answers.item())
            if self._descriptor in ready:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    self._hear_out()

    def _hear_out(self) -> Item:
        while (item := self._answers.item()).kind != Kind.END:
            self._answered(item)
        return item
