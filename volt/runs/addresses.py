"""Who has the addresses of a network namespace, read from the claims of those that live."""

# ruff: noqa: PTH123, PTH208 (as in the rest of this room)

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from volt.model.networks import Joined
from volt.runs.claims import is_held, take
from volt.runs.retracting import remove_dead_address

_LONGEST = 512  # bytes of a claim's first line


def holders(folder: str, names: Mapping[str, str]) -> tuple[Joined, ...]:
    """Each claimed address with who has it, in order; `names` are those of runs by their ids. Raises OSError."""
    found = [_joined(folder, address, names) for address in claimed(folder) if is_held(f"{folder}/{address}")]
    return tuple(sorted(found, key=lambda one: tuple(map(int, one.address.split(".")))))


def claimed(folder: str) -> list[str]:
    """The addresses that there are claims of, whose holders may have died. Raises OSError."""
    try:
        return sorted(name for name in os.listdir(folder) if name.count(".") == 3 and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _joined(folder: str, address: str, names: Mapping[str, str]) -> Joined:
    run, pid = "", 0
    with suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"{folder}/{address}", "rb") as file:
            known = json.loads(file.readline(_LONGEST))
        run, pid = str(known["run"]), int(known["pid"])
    return Joined(address, run, pid, names.get(run, ""))


@contextmanager
def held(folder: str, address: str) -> Iterator[bool]:
    """Holds an address, so that no workload gets it meanwhile: whether that could be done. A dead one's claim is left:
    what leads to its address has to go first, volt/runs/retracting.py. Raises OSError."""
    if not os.path.isdir(folder):  # noqa: PTH112
        yield True
        return
    content = json.dumps({"run": "", "pid": os.getpid()}) + "\n"
    if os.path.lexists(f"{folder}/{address}"):
        yield False
        return
    descriptor = take(folder, address, content, partial(remove_dead_address, folder, address))
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/{address}")  # noqa: PTH108
            os.close(descriptor)
