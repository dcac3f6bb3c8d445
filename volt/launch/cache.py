"""The plan cache's writing side: entries that the static program performs without starting Python.

The folder belongs to root alone; an entry gets its name when it is whole. Nothing here ever fails a launch: what
cannot be kept is planned again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from volt.model.entry import DIGEST, MOST, Dependency, encode_entry, file_name
from volt.model.facts import Folders
from volt.model.values import Value

ENTRIES = 256  # the oldest go first
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class PlanCache(Value):
    """The folder of entries, and the key that they are sealed with."""

    folder: Path
    key: bytes

    def keep(self, asked: bytes, dependencies: Sequence[Dependency], plan: bytes) -> None:
        """Write the entry that answers the question `asked`."""
        entry = encode_entry(asked, dependencies, plan, self.key)
        if len(entry) > MOST:
            return
        with suppress(OSError):
            self._bound()
            _write(self.folder / file_name(asked, self.key), entry)

    def _bound(self) -> None:
        """Make room for one more."""
        found = [(path.lstat().st_mtime_ns, path) for path in self.folder.glob("[!.]*") if path.name != "key"]
        for _, path in sorted(found)[: max(0, len(found) + 1 - ENTRIES)]:
            path.unlink(missing_ok=True)


def open_cache(where: Folders) -> PlanCache | None:
    """The cache, its folder and key made where they are missing; None where root alone cannot have made them."""
    folder = Path(where.state, "plans")
    try:
        for path, mode in ((Path(where.root or "/"), 0o711), (Path(where.state), 0o711), (folder, 0o700)):
            with suppress(FileExistsError):
                path.mkdir(mode)
        status = folder.lstat()
        if os.geteuid() != 0 or status.st_uid != 0 or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077:
            return None
        with suppress(FileExistsError):
            _write(folder / "key", os.urandom(DIGEST), replace=False)
        key = (folder / "key").read_bytes()
    except OSError:
        return None
    return PlanCache(folder, key) if len(key) == DIGEST else None


def _write(path: Path, data: bytes, *, replace: bool = True) -> None:
    """A file whole or not at all. Raises OSError, FileExistsError where it is there and not to be replaced."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if replace:
            temporary.rename(path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
