"""Signals by name, signal(7): the same numbers on x86-64 and arm64."""

from __future__ import annotations

NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()  # from 1
RTMIN, RTMAX = 34, 64  # as the C library has them
TERM, KILL = 15, 9


def signal_number(name: str) -> int:
    """The number of KILL, SIGKILL, RTMIN+3 or rtmax-1. Raises ValueError."""
    word = name.upper().removeprefix("SIG")
    if word in NAMES:
        return NAMES.index(word) + 1
    for base, first, sign in (("RTMIN", RTMIN, "+"), ("RTMAX", RTMAX, "-")):
        offset = word.removeprefix(base)
        if not word.startswith(base) or (offset and not (offset[0] == sign and offset[1:].isdecimal())):
            continue
        number = first + int(offset or 0)
        if RTMIN <= number <= RTMAX:
            return number
    raise ValueError(f"there is no signal {name}")
