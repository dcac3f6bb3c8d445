"""The framed protocol between supervisor and init: one definition for Python, the docs and the C header.

A frame is one message of a seqpacket socket: `magic`, `version`, `type`, `length` (little-endian u32,
u16, u16, u32), then `length` bytes. A frame with another magic, version or length ends the run.
"""

from __future__ import annotations

from enum import IntEnum

MAGIC = 0x544C4F56  # "VOLT"
VERSION = 1
FRAME_LIMIT = 4096  # bytes of a frame's body
# Signal 0 answers TERMINAL: the window has its size, and the payload may start.
GO_ON = 0


class Frame(IntEnum):
    """The types, with the body of each."""

    STARTED = 1  # init → supervisor: the payload's exec has succeeded; paths without a rule, one a line
    FAILED = 2  # init → supervisor: u32 printed number of the step, i32 errno, then text (UTF-8)
    EXITED = 3  # init → supervisor: i32 wait status of the payload, as from waitpid(2)
    TERMINAL = 4  # init → supervisor: the master of the payload's terminal travels along; no body
    SIGNAL = 5  # supervisor → init: u32 number of a signal for the payload; GO_ON after TERMINAL
