"""Calls that are tried behind a running workload's wall, and what came of them."""

from __future__ import annotations

from volt.model.values import Value


class Invoked(Value):
    """One system call by number. `places` are the arguments that are places in the attempt's data, `previous` those
    that are what the call before returned."""

    number: int
    arguments: tuple[int, ...]
    places: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()


class Attempt(Value):
    """Calls in a process of their own, until one fails. It holds with one of these `refusals` (errno) as the result,
    or, where `killed`, with SIGSYS; where `empty`, with nothing read too."""

    name: str
    planned: str
    calls: tuple[Invoked, ...]
    data: bytes = b""
    refusals: tuple[int, ...] = ()
    killed: bool = False
    empty: bool = False


class Tried(Value):
    """How the process that tried ended, as waitpid(2) tells it, and what the last call returned, an error negative."""

    status: int
    result: int


class Tries(Value):
    """A whole session: the init's PR_GET_DUMPABLE, and what came of each attempt, in order."""

    dumpable: int
    tried: tuple[Tried, ...]
