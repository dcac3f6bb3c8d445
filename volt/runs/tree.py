"""Removing a folder that a hostile payload has filled: no link followed, no mount entered, however deep."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import count

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove the folder `path` and all that is in it; nothing there is no error.

    Folders further down are renamed into the top one instead of being descended into, so that two open
    descriptors are enough for any depth. None is entered before rmdir(2) has said that it is not empty: one that
    something is mounted on it refuses, of the same file system too. Raises OSError, EBUSY for such a folder.
    """
    try:
        top = os.open(path, _FLAGS)
    except FileNotFoundError:
        return
    try:
        names = (f".volt-{number}" for number in count())
        while folders := _remove_entries(top):
            for folder in folders:
                _flatten(top, folder, names)
    finally:
        os.close(top)
    _try_remove_folder(path)


def _remove_entries(folder: int) -> list[str]:
    """Remove what is no folder, and empty ones; the names of the others."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:  # somebody else has removed this folder meanwhile
        return []
    left = []
    for name, is_folder in found:
        if not is_folder:
            _unlink(name, folder)
        elif not _try_remove_folder(name, folder):
            left.append(name)
    return left


def _flatten(top: int, name: str, names: Iterator[str]) -> None:
    """Empty one folder of the top: what is in its folders comes to lie in the top."""
    try:
        folder = os.open(name, _FLAGS, dir_fd=top)
    except FileNotFoundError:  # somebody else removes it too
        return
    try:
        for inner in _remove_entries(folder):
            _move(folder, inner, top, names)
    finally:
        os.close(folder)
    _try_remove_folder(name, top)


def _move(folder: int, name: str, top: int, names: Iterator[str]) -> None:
    for free in names:
        try:
            os.rename(name, free, src_dir_fd=folder, dst_dir_fd=top)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _try_remove_folder(name: str, folder: int | None = None) -> bool:
    """rmdir(2); False when there is something in it."""
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
