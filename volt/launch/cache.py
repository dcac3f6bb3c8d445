"""The plan cache's writing side: entries that the static program performs without starting Python; and the compiled
filters beside them, which are looked up here.

The folder belongs to root alone; an entry gets its name when it is whole. Nothing here ever fails a launch: what
cannot be kept, or read, is made again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from volt.model.entry import DIGEST, MOST, Dependency, Depends, decode_entry, encode_entry, file_name, numbers_of_file
from volt.model.folders import Folders
from volt.model.values import Value

ENTRIES = 1024  # some 50 KB each; the oldest go first, so that one more in turn than fits would never find one
FILTER = "filter-"  # how the name of a filter's entry begins
FILTERS = 16
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class PlanCache(Value):
    """The folder of entries, and the key that they are sealed with."""

    folder: Path
    key: bytes

    def keep(self, asked: bytes, dependencies: Sequence[Dependency], plan: bytes) -> None:
        """Write the entry that answers the question `asked`."""
        self._keep("", asked, dependencies, plan, ENTRIES)

    def keep_filter(self, asked: bytes, dependencies: Sequence[Dependency], program: bytes) -> None:
        """Write the entry that answers a filter's question."""
        self._keep(FILTER, asked, dependencies, program, FILTERS)

    def find_filter(self, asked: bytes) -> tuple[tuple[Dependency, ...], bytes] | None:
        """What a filter that was kept depends on, which is as it was, and the filter. As the static program reads a
        plan: root alone can have written it, it is whole and sealed, and it answers this question."""
        try:
            entry = _read_trusted(self.folder, FILTER + file_name(asked, self.key))
        except OSError:
            return None
        found = decode_entry(entry, asked, self.key)
        return found if found and all(map(_as_it_was, found[0])) else None

    def _keep(self, kind: str, asked: bytes, dependencies: Sequence[Dependency], plan: bytes, most: int) -> None:
        entry = encode_entry(asked, dependencies, plan, self.key)
        if len(entry) > MOST:
            return
        with suppress(OSError):
            self._bound(kind, most)
            _write(self.folder / (kind + file_name(asked, self.key)), entry)

    def _bound(self, kind: str, most: int) -> None:
        """Make room for one more of a kind."""
        same = [path for path in self.folder.glob("[!.]*") if path.name.startswith(FILTER) == bool(kind)]
        found = [(path.lstat().st_mtime_ns, path) for path in same if path.name != "key"]
        for _, path in sorted(found)[: max(0, len(found) + 1 - most)]:
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


def _as_it_was(dependency: Dependency) -> bool:
    """Of a file alone: no filter depends on anything else."""
    try:
        status = os.stat(dependency.name)  # noqa: PTH116 (a name of bytes)
    except OSError:
        return False
    return dependency.kind == Depends.FILE and dependency.numbers == numbers_of_file(status)


def _read_trusted(folder: Path, name: str) -> bytes:
    """A regular file of root's that nobody else can write, below folders of which the same holds, none of them a
    link; a sticky one on the way, as /tmp, is as good. Raises OSError."""
    at = os.open("/", _FOLDER)
    try:
        for left, part in reversed(list(enumerate(reversed(folder.parts[1:])))):
            below = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
            _require_roots(os.fstat(at), passing=left > 0)
        file = os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    try:
        status = os.fstat(file)
        _require_roots(status, passing=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST:
            raise OSError(errno.EINVAL, "it is no entry")
        return os.read(file, status.st_size)
    finally:
        os.close(file)


def _require_roots(status: os.stat_result, *, passing: bool) -> None:
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if status.st_uid != 0 or (others and not (passing and status.st_mode & stat.S_ISVTX)):
        raise PermissionError(errno.EPERM, "it is not root's alone")


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
