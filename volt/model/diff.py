"""What a run has changed in its root, as its writable layer has it."""

from __future__ import annotations

from typing import Literal

from volt.model.values import Value

Kind = Literal["added", "changed", "deleted"]
Form = Literal["file", "folder", "link", "pipe", "socket", "device", ""]


class Change(Value):
    """One of `path`, as the workload sees it; bytes that are no text are there as os.fsdecode has them.

    `form` is what lies there now, "" for what is deleted. An `opaque` folder has taken the place of another, of which
    nothing is left but what it holds itself. `moved_from` is where a folder was before, with all that it held.
    """

    kind: Kind
    path: str
    form: Form = ""
    opaque: bool = False
    moved_from: str = ""
