"""Opening what lies inside a workload from outside: by descriptor, below its own root, over no link of its making."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.runs.processes import GONE, tree_of

if TYPE_CHECKING:
    from volt.runs.record import Record

MOST = 1 << 20  # bytes of an account file
_OPENAT2 = 437  # asm-generic/unistd.h
_NO_MAGICLINKS, _NO_SYMLINKS, _IN_ROOT = 0x02, 0x04, 0x10  # linux/openat2.h
_DEVPTS = 0x1CD1  # linux/magic.h
_TIOCGPTPEER, _TIOCSPTLCK = 0x5441, 0x40045431  # asm-generic/ioctls.h
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def account_files(record: Record) -> tuple[str, str]:
    """The workload's /etc/passwd and /etc/group as they are now, "" for one that is not there or no regular file."""
    root = _root(record)
    try:
        return _read(root, "etc/passwd"), _read(root, "etc/group")
    finally:
        os.close(root)


def open_terminal(record: Record, uid: int) -> tuple[int, int]:
    """A terminal of the workload's own devpts that belongs to its user `uid`: master and slave. Raises StateError."""
    root = _root(record)
    try:
        master = _open(root, "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, _NO_SYMLINKS | _IN_ROOT)
        try:
            return master, _slave(master, record.uids + uid)
        except BaseException:
            os.close(master)
            raise
    except OSError as error:
        raise StateError(f"{record.name}: no terminal can be opened in it: {error}") from error
    finally:
        os.close(root)


def _slave(master: int, owner: int) -> int:
    """Not by its path. What is no devpts is none of the kernel's terminals."""
    if _filesystem(master) != _DEVPTS:
        raise OSError(errno.ENODEV, "its /dev/pts is no devpts")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        os.fchown(slave, owner, -1)
    except BaseException:
        os.close(slave)
        raise
    return slave


def _root(record: Record) -> int:
    try:
        return os.open(f"/proc/{tree_of(record).init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except GONE as error:
        raise StateError(f"{record.name} has ended meanwhile") from error
    except PermissionError as error:
        raise StateError(f"{record.name} cannot be looked into", hint="run it with sudo") from error


def _read(root: int, path: str) -> str:
    """A regular file alone is opened: anything else could block, or act on being opened."""
    try:
        found = _open(root, path, os.O_PATH, _NO_MAGICLINKS | _IN_ROOT)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return ""
        with open(f"/proc/self/fd/{found}", "rb") as file:  # noqa: PTH123 (no path, but what is open already)
            return file.read(MOST).decode(errors="replace")
    finally:
        os.close(found)


def _open(root: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2). Raises OSError."""
    how = struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, resolve)
    found: int = _libc.syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_int(root), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return found


def _filesystem(descriptor: int) -> int:
    """fstatfs(2), f_type: the first word."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, buffer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(struct.unpack_from("@l", buffer)[0])
