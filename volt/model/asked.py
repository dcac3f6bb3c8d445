"""A command that is to run in a workload that runs already, and how one ended."""

from __future__ import annotations

from volt.model.values import Value


class Asked(Value):
    """`env` is added to the payload's environment; `defaults` too, where the manifest says nothing else. `folder` is
    "" for the payload's own. `uid`, `gid` and `groups` are inside; with `uid` None it runs as the payload does."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    folder: str = ""
    uid: int | None = None
    gid: int = 0
    groups: tuple[int, ...] = ()


class Ended(Value):
    """Either the `wait` status of a command, as waitpid(2) has it, or the exit `status` that says why there was none:
    126, 127 or 125, with its `error` (errno) and in words."""

    wait: int | None = None
    status: int = 0
    error: int = 0
    message: str = ""
