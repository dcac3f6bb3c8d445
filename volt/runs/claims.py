"""Claim files: each is locked by the process that holds it, and nobody's once that has died."""

# What runs before every launch must not cost more than its system calls: no path objects.
# ruff: noqa: PTH108

from __future__ import annotations

import fcntl
import os

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def take_dead(path: str) -> int | None:
    """A descriptor that locks the dead holder's claim file, None when its holder lives or it is gone.

    flock(2). Whoever holds the lock of a file that still has its name may remove it: a claim is locked
    before it gets its name. Raises OSError.
    """
    return _take(path, fcntl.LOCK_EX)


def is_held(path: str) -> bool:
    """Whether the process that made this claim lives. Asked with a shared lock: two may ask at once."""
    descriptor = _take(path, fcntl.LOCK_SH)
    if descriptor is None:
        return os.path.lexists(path)
    os.close(descriptor)
    return False


def _take(path: str, lock: int) -> int | None:
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        if _is_named(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_named(descriptor: int, path: str) -> bool:
    """Whether `path` is still the file that has been locked: another of that name is a new holder's. Not by
    the number of its names: where there is no O_TMPFILE, a claim may have a second one."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:  # another sweep was faster
        return False


def remove_dead(path: str) -> bool:
    """Remove a claim whose holder has died; False when he lives or it was gone already. Raises OSError.

    The lock is held for one call only: a launch that meets it takes it for a living holder's.
    """
    descriptor = take_dead(path)
    if descriptor is None:
        return False
    try:
        os.unlink(path)
    finally:
        os.close(descriptor)
    return True
