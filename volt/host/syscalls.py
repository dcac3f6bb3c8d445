"""System calls that Python has no function for, made through the C library's syscall(2)."""

from __future__ import annotations

import ctypes
import os

# The same numbers on x86-64 and arm64: asm-generic/unistd.h.
_OPENAT2 = 437
_LANDLOCK_CREATE_RULESET = 444

_AT_FDCWD = -100
_RESOLVE_NO_MAGICLINKS = 0x02
_LANDLOCK_CREATE_RULESET_VERSION = 1


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def open_path(path: str) -> int:
    """An O_PATH descriptor of `path`, links followed but none of /proc's magic ones, as a launch opens it.

    openat2(2). Nothing is read, no device or FIFO is waited for. Raises OSError, ValueError for a NUL byte.
    """
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    if b"\0" in name:  # the kernel would open what stands before it
        raise ValueError("embedded null byte")
    result: int = _syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(name),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def landlock_abi() -> int:
    """The version of Landlock that this kernel offers, 0 for none: landlock_create_ruleset(2)."""
    result: int = _syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET),
        ctypes.c_void_p(None),
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(0, result)
