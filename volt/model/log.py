"""The log of a detached run: lines in the form of the CRI, `STAMP STREAM TAG TEXT`.

Documented with the kubelet's container runtime interface: STAMP is RFC 3339 in UTC with nine digits of a second,
STREAM stdout or stderr (and `volt` for what volt itself says of the log), TAG is F for a line that ends here and P
for a piece of one that goes on in the next line of its stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from volt.model.values import Value

STREAMS = ("stdout", "stderr")
OWN = "volt"  # the stream of volt's own words
_STAMP = rb"[0-9TZ:.-]{20,35}"
_PARTS = re.compile(
    rb"(?P<stdout>(?:%(s)s stdout F [^\n]*\n)+)|(?P<stderr>(?:%(s)s stderr F [^\n]*\n)+)"
    rb"|(?P<volt>%(s)s volt [FP] [^\n]*\n)|%(s)s (?P<name>stdout|stderr) P (?P<piece>[^\n]*)\n"
    rb"|(?P<damaged>[^\n]*\n)" % {b"s": _STAMP}
)
_TEXTS = re.compile(rb"^[^ ]+ [a-z]+ F ([^\n]*\n)", re.MULTILINE)
_LINE = re.compile(rb"(%s) (stdout|stderr|volt) ([FP]) ([^\n]*)" % _STAMP)
_LINES = re.compile(rb"^(%s) (stdout|stderr|volt) ([FP]) ([^\n]*)\n|^[^\n]*\n" % _STAMP, re.MULTILINE)


class LogPiece(Value):
    """What a payload wrote: `text` is a line without its newline where `whole`, else a piece of one, which the next
    of the same `stream` goes on with. `begins` says that it is the first of its line. `time` is RFC 3339, in UTC."""

    time: str
    stream: str
    text: bytes
    whole: bool = True
    begins: bool = True


# (stamp, stream, tag, text): what a line says, before anybody wants it as a value.
Line = tuple[bytes, bytes, bytes, bytes]


def lines(block: bytes) -> Iterator[Line | None]:
    """Of a block of whole lines what each says, None for one that is damaged."""
    for found in _LINES.finditer(block):
        yield found.groups() if found[1] is not None else None  # type: ignore[misc]


def texts(block: bytes) -> Iterator[tuple[str, bytes]]:
    """Of a block of whole lines the text of each stretch that one stream wrote, as it was written, newlines and all.

    ("volt", line) is what volt says, ("damaged", line) what is no line of a log. No work for each line here: what is
    read is as much as a payload likes.
    """
    for found in _PARTS.finditer(block):
        kind = found.lastgroup or ""
        if kind in STREAMS:
            yield kind, b"".join(_TEXTS.findall(found[0]))
        elif kind == "piece":
            yield found["name"].decode(), found["piece"]
        elif kind == OWN:
            yield OWN, found[0].split(b" ", 3)[3]
        else:
            yield "damaged", found[0]


def mended(torn: bytes) -> bytes:
    """A last line that a crash has cut off, as a piece of one; nothing when not even its text had begun."""
    found = _LINE.fullmatch(torn)
    return b"%b %b P %b\n" % (found[1], found[2], found[4]) if found else b""
