"""Claim files: each is locked by the process that holds it, and nobody's once that has died."""

# What runs before every launch must not cost more than its system calls: no path objects.
# ruff: noqa: PTH108

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ATTEMPTS = 100  # holders can die and others come while we look
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


def take(folder: str, name: str, content: str, remove: Callable[[], bool] | None = None) -> int | None:
    """Claim a name in a folder as the static program does: a descriptor whose lock holds it, None when a living process
    has it. Who claims removes the file before closing the descriptor. `remove` is what removes a dead holder's claim,
    where more than that has to go with it. Raises OSError."""
    path = f"{folder}/{name}"
    remove = remove or (lambda: remove_dead(path))
    there = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, content.encode())
        for _ in range(_ATTEMPTS):
            try:
                # With a folder's descriptor: without one Python does not follow the link, linkat(2).
                os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=there, follow_symlinks=True)
            except FileExistsError:
                if not remove() and is_held(path):
                    break
            else:
                return os.dup(descriptor)
        return None
    finally:
        os.close(there)
        if descriptor >= 0:
            os.close(descriptor)
