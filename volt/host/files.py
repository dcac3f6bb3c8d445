"""Reading small files of the machine: bounded, never waiting, absent when they cannot be read."""

from __future__ import annotations

import os
import stat

MOST = 1 << 20


def lines(text: str) -> list[str]:
    r"""The lines of a kernel's file: they end at \n alone, whatever else str.splitlines takes for an end."""
    return text.removesuffix("\n").split("\n") if text else []


def read_head(path: str, most: int) -> bytes:
    """The first `most` bytes of a regular file, links followed; none when there is none, or it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(most)
        except OSError:
            return b""


def read_text(path: str, most: int = MOST) -> str:
    """What a regular file holds, links followed; "" when there is none, or it holds more than `most` bytes.

    Bytes that are no UTF-8, and NUL, which no plan can carry, become U+FFFD.
    """
    data = read_head(path, most + 1)
    return "" if len(data) > most else data.decode(errors="replace").replace("\0", "\ufffd")
