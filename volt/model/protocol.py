"""The framed protocol between supervisor and init: one definition for Python, the docs and the C header.

A frame is one message of a seqpacket socket: `magic`, `version`, `type`, `length` (little-endian u32,
u16, u16, u32), then `length` bytes. A frame with another magic, version or length ends the run.

A run outlives the volt that began it, and another version may ask its init. A run's record has the version that its
init speaks; frames to it, and within its sessions, are of that version. What changes a frame that an asker sends or is
sent, or adds one to the control socket, raises VERSION; OLDEST is the oldest that askers still write. A new kind of
session does not: an init that does not know it closes its socket.
"""

from __future__ import annotations

from enum import IntEnum

MAGIC = 0x544C4F56  # "VOLT"
OLDEST = 2
VERSION = 2  # part of the table's own version, volt/model/steps.py: both sides come with one table
FRAME_LIMIT = 4096  # bytes of a frame's body
# Signal 0 answers TERMINAL: the window has its size, COVER and NETWORK: it is done. The init goes on.
GO_ON = 0
# The kinds of session. What is tried there is tried by a process that has done the payload's steps up to its exec.
SESSION_ATTEMPTS = 1
# A command runs in the place of the payload's, with the descriptors that EXECUTE brings.
SESSION_COMMAND = 2
# As SESSION_COMMAND, but the session copies files by itself: an image may have no tar. volt/model/items.py.
SESSION_COPY = 3
# Flags of EXECUTE: its standard descriptors are a terminal, which becomes the command's own.
ON_TERMINAL = 1


class Frame(IntEnum):
    """The types, with the body of each."""

    STARTED = 1  # init → supervisor: the payload's exec has succeeded; paths without a rule, one a line
    FAILED = 2  # init → supervisor: u32 printed number of the step, i32 errno, then text (UTF-8)
    EXITED = 3  # init → supervisor: i32 wait status of the payload, as from waitpid(2)
    TERMINAL = 4  # init → supervisor: the master of the payload's terminal travels along; no body
    SIGNAL = 5  # supervisor → init: u32 number of a signal for the payload; GO_ON after TERMINAL, COVER or NETWORK
    SESSION = 6  # supervisor → init: u32 its kind; the session's own socket travels along, and frames go over that
    ATTEMPT = 7  # asker → session: calls to try behind the payload's wall, volt/runs/session.py
    ANSWER = 8  # session → asker: u32 wait status of who tried, i32 what the last call returned, an error negative.
    #             One more comes first: prctl(2)'s PR_GET_DUMPABLE of the init, or why its program cannot be read again
    COVER = 9  # init → supervisor: u32 printed number of the step; nspawn has mounted what it needs a whole /proc for
    WATCH = 10  # init → supervisor: what show-network, show-root or offer-socket hand over travels along. Of show-root
    #             the body is the file that is there already, volt/native/watcher.h; else there is none
    NETWORK = 11  # init → supervisor: u32 printed number of the step; the network namespace travels along
    EXECUTE = 16  # asker → session: u32 flags; a file with the command and three standard descriptors travel along,
    #               volt/runs/command.py. Back come STARTED and EXITED, or FAILED, whose number is the exit status and
    #               whose text is the whole message. SIGNAL goes to the command; the asker's end closed kills it
