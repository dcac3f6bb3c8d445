"""System calls that Python has no function for, made through the C library's syscall(2)."""

from __future__ import annotations

import ctypes
import errno
import os

# The same numbers on x86-64 and arm64: asm-generic/unistd.h.
_OPENAT2 = 437
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_LANDLOCK_CREATE_RULESET = 444

_AT_FDCWD = -100
_RESOLVE_NO_MAGICLINKS = 0x02
_LANDLOCK_CREATE_RULESET_VERSION = 1
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6  # FSCONFIG_SET_FLAG, …
_READ_ONLY = 0x1 | 0x2 | 0x4 | 0x8  # MOUNT_ATTR_RDONLY, _NOSUID, _NODEV, _NOEXEC


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


def mount_image(file: str) -> int:
    """A descriptor of the root of an EROFS image that no other process can see mounted: fsopen(2), fsmount(2). What
    regular files hold is not in it. Through a loop device where the kernel wants one. Raises OSError."""
    try:
        return _mounted(file)
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise
    from volt.host.loop import loop_device

    with loop_device(file) as device:
        return _mounted(device)


def _mounted(file: str) -> int:
    filesystem = _checked(_syscall(ctypes.c_long(_FSOPEN), ctypes.c_char_p(b"erofs"), ctypes.c_uint(_CLOEXEC)), file)
    try:
        settings = ((_SET_STRING, b"source", os.fsencode(file)), (_SET_FLAG, b"ro", None), (_CREATE, None, None))
        for command, key, value in settings:
            words = (ctypes.c_uint(command), ctypes.c_char_p(key), ctypes.c_char_p(value), ctypes.c_int(0))
            _checked(_syscall(ctypes.c_long(_FSCONFIG), ctypes.c_int(filesystem), *words), file)
        flags = (ctypes.c_uint(_CLOEXEC), ctypes.c_uint(_READ_ONLY))
        return _checked(_syscall(ctypes.c_long(_FSMOUNT), ctypes.c_int(filesystem), *flags), file)
    finally:
        os.close(filesystem)


def _checked(result: int, about: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
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
