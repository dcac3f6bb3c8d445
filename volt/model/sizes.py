"""Sizes and durations: parsed once from what people write."""

from __future__ import annotations

import re

from volt.model.findings import quote
from volt.model.values import Value

MOST = 2**63
UNITS = "KMGTPE"
SIZE = re.compile(r"(\d{1,40}(?:\.\d{1,40})?)\s*(?:([KMGTPE])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)
PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", re.ASCII)
DURATION = re.compile(r"(?:(\d{1,40})h)?(?:(\d{1,40})m)?(?:(\d{1,40})s)?(?:(\d{1,40})ms)?", re.ASCII)


class Size(Value):
    """`bytes`, or with None there `percent` of the host's memory."""

    bytes: int | None
    percent: float | None = None

    @classmethod
    def parse(cls, written: str) -> Size:
        """`512M`, `2G`, `1.5GiB`, `65536`, `25%`: base 1024, any case. Raises ValueError."""
        text = written.strip()
        if text.endswith("%") and (share := PERCENT.fullmatch(text)):
            if not 0 < float(share[1]) <= 100:
                raise ValueError(f"{quote(written)} is not between 0% and 100%")
            return cls(None, float(share[1]))
        match = SIZE.fullmatch(text)
        if not match:
            raise ValueError(f"{quote(written)} is not a size")
        whole, _, fraction = match[1].partition(".")
        unit = 1024 ** (UNITS.index(match[2].upper()) + 1) if match[2] else 1
        number = int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        if number > MOST:
            raise ValueError(f"{quote(written)} is more than 2^63 bytes")
        return cls(number)

    def of(self, memory: int) -> int:
        """The number of bytes on a host with `memory` bytes. A percentage is never 0, which often means no limit."""
        if self.bytes is not None:
            return self.bytes
        return max(1, memory * round((self.percent or 0) * 10**6) // 10**8)

    def __str__(self) -> str:
        if self.bytes is None:
            return f"{self.percent:.6f}".rstrip("0").rstrip(".") + "%"
        number, unit = self.bytes, ""
        for larger in UNITS:
            if not number or number % 1024:
                break
            number, unit = number // 1024, larger
        return f"{number}{unit}"


class Duration(Value):
    """A span of time in milliseconds."""

    milliseconds: int

    @classmethod
    def parse(cls, written: str) -> Duration:
        """`500ms`, `10s`, `2m`, `1h30m`. Raises ValueError."""
        match = DURATION.fullmatch(written.strip())
        if not match or not any(match.groups()):
            raise ValueError(f"{quote(written)} is not a duration")
        hours, minutes, seconds, rest = (int(part or 0) for part in match.groups())
        total = ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest
        if total > MOST:
            raise ValueError(f"{quote(written)} is more than 2^63 milliseconds")
        return cls(total)

    def __str__(self) -> str:
        parts, left = [], self.milliseconds
        for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
            count, left = divmod(left, size)
            parts += [f"{count}{unit}"] if count else []
        return "".join(parts) or "0ms"
