"""The files of one log: `0.log` is written to, `1.log` came before it, and so on."""

# A log may be as long as its settings allow: descriptors and bytes, no path objects.
# ruff: noqa: PTH208

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from volt.model.log import mended
from volt.model.moments import stamp

BLOCK = 1 << 20  # bytes that are read at once
MOST = 1000  # files that a log may have
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NAME = re.compile(r"(\d{1,4})\.log", re.ASCII)
LOST = "the log was rotated faster than it was read: lines are missing here"

# Waits a while for more, shorter when there has just been some; False when nothing more will be written.
Wait = Callable[[bool], bool]


class LogFiles:
    """The descriptors of a log's files, the oldest first. Each is closed when it has been read, or by close()."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files = deque(open_files(folder))

    def close(self) -> None:
        while self.files:
            os.close(self.files.popleft())

    def seek(self, index: int, offset: int) -> None:
        """Begin with byte `offset` of file `index`."""
        for _ in range(index):
            os.close(self.files.popleft())
        os.lseek(self.files[0], offset, os.SEEK_SET)

    def blocks(self, wait: Wait | None = None) -> Iterator[bytes]:
        """All that is written, in blocks of whole lines; with `wait`, what is still being written too."""
        return _whole(self._read(wait))

    def ahead(self) -> Iterator[bytes]:
        """The same as far as it is written, still to be read afterwards."""
        return _whole(self._look_ahead())

    def _read(self, wait: Wait | None) -> Iterator[bytes | None]:
        fresh = False
        while True:
            while block := os.read(self.files[0], BLOCK):
                yield block
                fresh = True
            if len(self.files) > 1:  # one that has a successor is written to no more
                yield None
                os.close(self.files.popleft())
            elif wait is None:
                return
            else:
                going_on = wait(fresh)  # before the look at the files: what is written until the end is read
                fresh = False
                yield from self._find_newer()
                wait = wait if going_on else None

    def _look_ahead(self) -> Iterator[bytes | None]:
        for file in self.files:
            at = os.lseek(file, 0, os.SEEK_CUR)
            while block := os.pread(file, BLOCK, at):
                yield block
                at += len(block)
            yield None

    def _find_newer(self) -> Iterator[bytes | None]:
        """Takes up the files that have come after the one that is read; a line that says so where some are gone."""
        own = _identity(self.files[0])
        with suppress(FileNotFoundError):
            status = os.lstat(f"{self.folder}/0.log")
            if (status.st_dev, status.st_ino) == own:
                return
        found = open_files(self.folder)
        identities = [_identity(file) for file in found]
        after = identities.index(own) + 1 if own in identities else 0
        for file in found[:after]:
            os.close(file)
        self.files.extend(found[after:])
        if found and own not in identities:
            yield None
            yield f"{stamp(datetime.now(UTC))} volt F {LOST}\n".encode()


def _whole(blocks: Iterator[bytes | None]) -> Iterator[bytes]:
    """Blocks of whole lines from any blocks, with None where a file ends: what is left there was cut off."""
    rest = b""
    for block in blocks:
        if block is None:
            yield mended(rest)
            rest = b""
            continue
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            yield rest + head + newline
            rest = b""
        rest += tail
    yield mended(rest)


def open_files(folder: str) -> list[int]:
    """Descriptors of the log's files, the oldest first; none where there is no log.

    Opened from the newest on: a rotation meanwhile lets one be found twice, but none be missed.
    """
    found: dict[tuple[int, int], int] = {}
    number = 0
    while number <= min(_highest(folder) + 1, MOST):
        with suppress(FileNotFoundError):
            file = os.open(f"{folder}/{number}.log", _FLAGS)
            if _identity(file) in found:
                os.close(file)
            else:
                found[_identity(file)] = file
        number += 1
    return list(reversed(found.values()))


def _highest(folder: str) -> int:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return -1
    return max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=-1)


def _identity(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino


def last_lines(files: LogFiles, wanted: int, count: Callable[[bytes], int]) -> tuple[int, int]:
    """(file, offset) from where at least `wanted` are counted up to the end, or the very beginning."""
    found = 0
    for index in reversed(range(len(files.files))):
        file = files.files[index]
        end, size = os.fstat(file).st_size, BLOCK
        while end:
            begin = max(0, end - size)
            block = os.pread(file, end - begin, begin)
            cut = block.find(b"\n", 0, len(block) - 1) + 1 if begin else 0
            if begin and not cut:  # one line is longer than that
                size *= 2
                continue
            found += count(block[cut:])
            if found >= wanted:
                return index, begin + cut
            end, size = begin + cut, BLOCK
    return 0, 0
