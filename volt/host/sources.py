"""What a manifest reads of this machine: files, standard input, variables; and what sudo's user may be shown."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from volt.errors import VoltError
from volt.host.facts import folders
from volt.host.files import MOST
from volt.host.watch import Watch

STDIN = "-"
CHUNK = 1 << 16
SEARCH, READ = 1, 4  # permission bits of one class, inode(7)


class FileSources:
    """The world as volt.manifest.Sources asks for it."""

    def __init__(self, watch: Watch | None = None, place: Callable[[str], str] | None = None) -> None:
        """`place` gives the file of what `cas://sha256:…` names, or raises OSError."""
        self._place = place
        self._withheld: set[str] = set()
        self._real: dict[str, str] = {}
        self._watch = watch

    def read(self, path: str) -> bytes:
        """A regular file's bytes, one more than 1 MiB at the most; a FIFO or a device is never waited for.
        Raises OSError."""
        if path == STDIN:
            if self._watch:
                self._watch.certain = False
            return sys.stdin.buffer.read(MOST + 1) if sys.stdin else b""
        return self._opened(path, path)

    def stored(self, url: str) -> bytes:
        """The manifest of the store that `cas://sha256:…` names, checked against that. Raises OSError."""
        if self._place is None:
            raise OSError(0, "no store is at hand here")
        data = self._opened(self._place(url), url)
        if hashlib.sha256(data).hexdigest() != url.rpartition(":")[2]:
            raise OSError(0, "it is damaged in the store: volt store verify lists what is")
        return data

    def _opened(self, file: str, path: str) -> bytes:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no regular file", path)
            if self._watch:
                self._watch.opened(str(Path(file).absolute()), descriptor)
            self._real[path] = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 (for each manifest)
            if not may_quote(descriptor):
                self._withheld.add(path)
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def quotable(self, path: str) -> bool:
        """Whether whoever called sudo could have read the file that was read: else no finding quotes it."""
        return path not in self._withheld

    def real(self, path: str) -> str:
        """Where the file that was read lies, links followed; "" where none was."""
        return self._real.get(path, "")

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def variable(self, name: str) -> str | None:
        value = os.environ.get(name)
        if self._watch:
            self._watch.variable(name, value)
        return value

    def builtins(self) -> dict[str, str]:
        """HOSTNAME, and volt's own folders."""
        where = folders()
        return {
            "HOSTNAME": os.uname().nodename,
            "VOLT_BASE": where.state,
            "VOLT_CAS_DIR": f"{where.state}/store",
            "VOLT_RUN_DIR": where.run,
        }

    def folder(self) -> str:
        """The current folder. Raises VoltError when it has been removed."""
        try:
            return os.getcwd()  # noqa: PTH109 (asked several times for each manifest)
        except FileNotFoundError as error:
            raise VoltError("the current folder does not exist any more", hint="cd to another one") from error


def _read(descriptor: int) -> bytes:
    """Up to MOST + 1 bytes, a little at a time: room for all of it takes longer to make than a manifest to read."""
    found = b""
    while len(found) <= MOST and (more := os.read(descriptor, min(CHUNK, MOST + 1 - len(found)))):
        found += more
    return found


def may_quote(descriptor: int) -> bool:
    """Whether whoever called sudo, if anybody did, may read an open file."""
    user = os.environ.get("SUDO_UID", "")
    if not user or user == "0" or os.geteuid() != 0:
        return True
    return user.isascii() and user.isdecimal() and readable_by(int(user), descriptor)


def readable_by(uid: int, descriptor: int) -> bool:
    """Whether a user may read an open file and enter every folder above it, by owner, group and mode.

    Of the file that is open, not of a name, which may mean another file by now. Where an access control
    list could say otherwise, and where the user is unknown, the answer is no.
    """
    try:
        real = Path(f"/proc/self/fd/{descriptor}").readlink()
        groups = _groups(uid)
        above = [_permits(folder, uid, groups, SEARCH) for folder in real.parents]
        return _permits(descriptor, uid, groups, READ) and all(above)
    except (OSError, KeyError, OverflowError):
        return False


def _groups(uid: int) -> set[int]:
    """Every group of a user. Raises KeyError for an unknown one."""
    import pwd

    user = pwd.getpwuid(uid)
    return set(os.getgrouplist(user.pw_name, user.pw_gid))


def _permits(what: Path | int, uid: int, groups: set[int], wanted: int) -> bool:
    status = os.fstat(what) if isinstance(what, int) else what.stat()
    if status.st_uid == uid:
        return bool(status.st_mode >> 6 & wanted)
    if "system.posix_acl_access" in os.listxattr(what):
        return False
    return bool(status.st_mode >> (3 if status.st_gid in groups else 0) & wanted)
