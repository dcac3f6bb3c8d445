"""When what a name of a registry stood for was signed, the last time it was taken: what is older is not taken again.

It is the machine's, as its policy is: VOLT_ROOT does not move it. A file for each name, called by the digest of that.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from volt.errors import StoreError
from volt.store.transaction import write_whole

ACCEPTED = "/var/lib/volt/accepted"


@contextmanager
def accept(name: str, signed: int, folder: str = "") -> Iterator[int]:
    """From now on nothing older is taken for a name, HOST/PATH:VERSION, signed in seconds since 1970; what was the
    least until now, where that is more, and then stays. Nobody else takes anything meanwhile: what the name stands for
    is written down here. Raises StoreError for a file that is damaged, OSError."""
    folder = folder or ACCEPTED
    for made, mode in ((os.path.dirname(folder), 0o711), (folder, 0o700)):
        with suppress(FileExistsError):
            os.mkdir(made, mode)
    path = file_of(name, folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for as long as two small files are written
        before = _least(path)
        if signed > before:
            write_whole(path, json.dumps({"name": name, "signed": signed}).encode() + b"\n")
        yield max(before, signed)
    finally:
        os.close(descriptor)


def least(name: str, folder: str = "") -> int:
    """What is older than this is not taken for a name now. Raises as `accept`."""
    return _least(file_of(name, folder))


def file_of(name: str, folder: str = "") -> str:
    """Where that is written down."""
    return f"{folder or ACCEPTED}/{hashlib.sha256(name.encode()).hexdigest()}"


def _least(path: str) -> int:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        try:
            return int(json.loads(file.read(1 << 13))["signed"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged", hint="remove it, if what the registry has is good") from error
    return 0
