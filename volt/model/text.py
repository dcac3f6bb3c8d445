"""Texts and messages of a plan: literal pieces and typed slots that only the launch can fill."""

from __future__ import annotations

from enum import IntEnum

from volt.model.values import Value


class SlotKind(IntEnum):
    """What the launch claims or observes; the number is the slot's place in the binary form."""

    RUN = 1  # the run's id, 12 hex digits, claimed by claim-run
    UIDS = 2  # first host uid of the range, claimed by claim-uids
    PID = 3  # host process id of the supervisor
    STARTED = 4  # seconds since the epoch when the launch began
    CLOCK = 5  # the supervisor's start time in clock ticks since boot, as in /proc/PID/stat
    ADDRESS = 6  # the IPv4 address claimed by claim-address; in a message its four bytes
    HEX = 7  # the same as 8 hex digits, in a text and in a message
    GROUPS = 8  # the same as the last two groups of an IPv6 address
    BRIDGE = 9  # in a message: the index of the bridge, which ensure-bridge has found or made
    NAMESPACE = 10  # in a message: the descriptor of the workload's network namespace
    LINK = 11  # in a message: the index of a workload's link on the bridge
    PORT = 12  # the host's port that claim-ports holds as number `plus`; in a message its two bytes, and two of nothing


class Slot(Value):
    """A value unknown while planning; `plus` is added to a number (a uid inside the range), and of a port its place."""

    kind: SlotKind
    plus: int = 0

    def __str__(self) -> str:
        plus = f"+{self.plus}" if self.plus else ""
        return "{" + self.kind.name.lower() + plus + "}"


Text = tuple["str | Slot", ...]
Message = tuple["bytes | Slot", ...]

RUN = Slot(SlotKind.RUN)
UIDS = Slot(SlotKind.UIDS)
PID = Slot(SlotKind.PID)
STARTED = Slot(SlotKind.STARTED)
CLOCK = Slot(SlotKind.CLOCK)
ADDRESS = Slot(SlotKind.ADDRESS)
HEX = Slot(SlotKind.HEX)
GROUPS = Slot(SlotKind.GROUPS)
BRIDGE = Slot(SlotKind.BRIDGE)
NAMESPACE = Slot(SlotKind.NAMESPACE)
LINK = Slot(SlotKind.LINK)


def port(number: int) -> Slot:
    """The host's port that claim-ports holds for the socket of that number, from 0 on."""
    return Slot(SlotKind.PORT, number)


# What a slot is, in bytes, in a message.
PORT_WIDTH = 4  # of any port
WIDTHS = {ADDRESS: 4, HEX: 8, BRIDGE: 4, NAMESPACE: 4, LINK: 4}


def text(*parts: str | Slot) -> Text:
    """Pieces joined into one text; a NUL byte has no place in it."""
    for part in parts:
        if isinstance(part, str) and "\0" in part:
            raise ValueError("a NUL byte cannot be part of a plan's text")
    return tuple(part for part in parts if part != "")


def show(value: Text) -> str:
    """The text as `volt plan` prints it: slots in braces, a literal brace doubled."""
    return "".join(part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else str(part) for part in value)
