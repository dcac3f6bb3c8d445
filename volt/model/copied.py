"""What a copy into or out of a workload has done."""

from __future__ import annotations

from volt.model.values import Value


class LeftOut(Value):
    """Something that was not copied, or not as it is, by its path, and why."""

    path: str
    why: str


class Copied(Value):
    """What was copied: files, folders and links, and the bytes of the files, holes included. `left_out` is what was
    not, in the order in which it was met; of more than a thousand the first, and `more` counts the others."""

    name: str
    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    left_out: tuple[LeftOut, ...] = ()
    more: int = 0
