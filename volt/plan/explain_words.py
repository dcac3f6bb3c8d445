"""Lists, paths, ports and sizes in the sentences of an explanation."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from volt.model.text import Text

MOST_NAMES = 8
MOST_PATHS = 24
# From so many paths in one folder on, they are counted.
CROWD = 5


def plain(value: Text) -> str:
    """A plan's text as it is, a slot in braces."""
    return "".join(map(str, value))


def command(argv: Iterable[Text]) -> str:
    """Words as a shell takes them."""
    return shlex.join(map(plain, argv))


def joined(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def names(words: Sequence[str], most: int = MOST_NAMES) -> str:
    """The first of many, and how many more there are."""
    if len(words) <= most + 1:
        return joined(words)
    return f"{', '.join(words[:most])} and {len(words) - most} more"


def paths(found: Iterable[str]) -> str:
    """Paths, those that crowd in one folder as a number."""
    folders: dict[str, list[str]] = {}
    for path in sorted(found):
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    words = []
    for folder, own in folders.items():
        words += [f"{len(own)} places in {folder}"] if folder and len(own) >= CROWD else own
    return names(sorted(words, key=lambda word: (" " in word, word)), MOST_PATHS)


def ports(ranges: Iterable[tuple[int, int]]) -> str:
    """`port 80`, `ports 80 and 8000 to 8010`."""
    found = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    plural = len(found) > 1 or " " in "".join(found)
    return f"port{'s' * plural} {joined(found)}"


def size(number: int) -> str:
    """Bytes in the largest binary unit that leaves at most two digits behind the point."""
    value, unit = float(number), ""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):  # noqa: B007 (the last one is wanted)
        if value < 1024:
            break
        value /= 1024
    return f"{value:.2f}".rstrip("0").rstrip(".") + f" {unit}"


def sentence(text: str) -> str:
    """With a capital letter, unless it begins with a name or a path, and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."
