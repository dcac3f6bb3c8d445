"""Loop devices, loop(4): what the kernel mounts from disks alone is one of a file's content."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volt.host.kernel import filesystem
from volt.host.mounts import mounts

_DEVICES = "/dev"
LOOP_CONTROL = "/dev/loop-control"  # where loop devices are had from, loop(4)

_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A  # LOOP_CTL_GET_FREE, LOOP_CONFIGURE
_READ_ONLY, _AUTOCLEAR = 1, 4
_TRIES = 64  # others take a free device at the same moment


class _Config(ctypes.Structure):
    """struct loop_config of linux/loop.h, of whose loop_info64 the flags alone are given."""

    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("before", ctypes.c_uint8 * 52),
        ("flags", ctypes.c_uint32),
        ("behind", ctypes.c_uint8 * 176),
        ("reserved", ctypes.c_uint64 * 8),
    )


def has_loops() -> bool:
    """Whether an image can be mounted through a loop device, loop(4): one can be had, it appears in /dev by itself or
    is there, as it need not be in a container, and the kernel has EROFS."""
    devices = any(one.path == _DEVICES and one.filesystem == "devtmpfs" for one in mounts())
    there = Path(LOOP_CONTROL).exists() and (devices or Path(_DEVICES, "loop0").exists())
    return there and bool(filesystem("erofs"))


@contextmanager
def loop_device(file: str) -> Iterator[str]:
    """The path of a read-only loop device of the file, which goes with its last user. Raises OSError."""
    source = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        device, path = _configured(source)
        try:
            yield path
        finally:
            os.close(device)
    finally:
        os.close(source)


def _configured(source: int) -> tuple[int, str]:
    config = bytes(_Config(fd=source, flags=_READ_ONLY | _AUTOCLEAR))
    control = os.open(LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device, path
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), LOOP_CONTROL)
