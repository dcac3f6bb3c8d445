"""Where the definitions of networks lie: found, read as text, written whole, and taken away in two steps."""

# ruff: noqa: PTH104, PTH108, PTH123, PTH208 (paths are text here)

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from volt.errors import StateError
from volt.model.networks import DEFINITIONS, ENDING, Definition, bridge_name, bridges_of, subnet, subnet6

MOST = 1 << 16  # bytes of a definition
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NEW, _GOING = ".new-", ".going"  # of files that are no definition yet, and no more
_PATIENCE = 10.0  # seconds for another command that creates or removes a network: neither takes one


def path_of(name: str, folder: str = DEFINITIONS) -> str:
    """Where a network's definition lies, if it is there."""
    return f"{folder}/{name}{ENDING}"


def names(folder: str = DEFINITIONS) -> tuple[str, ...]:
    """Of every network that has a definition, good or bad."""
    try:
        found = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()
    begun = (file.removesuffix(ENDING) for file in found if file.endswith(ENDING))
    return tuple(sorted(name for name in begun if _NAME.fullmatch(name)))


def read(name: str, folder: str = DEFINITIONS) -> bytes | None:
    """The text of a definition, None where there is none. Raises StateError for one that cannot be read."""
    if not _NAME.fullmatch(name):
        return None
    return _content(path_of(name, folder))


def _content(path: str) -> bytes | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(
            f"{path} cannot be read: {error.strerror}", hint="make it a file that root can read"
        ) from error


def outlines(folder: str = DEFINITIONS) -> tuple[Definition, ...]:
    """What places each network takes, as far as that can be read: `subnet` is "" where it cannot."""
    return tuple(_outline(name, path_of(name, folder)) for name in names(folder))


def outline(name: str, folder: str = DEFINITIONS) -> Definition | None:
    """Of one network, whose removal may have begun; None where there is none."""
    path = next((one for one in (path_of(name, folder), _hidden(name, folder)) if os.path.lexists(one)), None)
    return _outline(name, path) if path and _NAME.fullmatch(name) else None


def _outline(name: str, path: str) -> Definition:
    import tomli

    known: dict[str, Any] = {"subnet": "", "bridge": next(bridges_of(name))}
    with suppress(StateError, ValueError):
        table = tomli.loads((_content(path) or b"").decode())
        for key, form in (("subnet", subnet), ("subnet6", subnet6), ("bridge", bridge_name)):
            with suppress(ValueError):
                known |= {key: form(table[key])} if key in table else {}
    return Definition(name=name, **known)


# ── changes


@contextmanager
def changing(folder: str = DEFINITIONS) -> Iterator[None]:
    """Nobody else creates or removes a network meanwhile. Makes the folder. Raises StateError, OSError."""
    os.makedirs(folder, 0o755, exist_ok=True)  # noqa: PTH103
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                message = f"another command has been changing {folder} for {_PATIENCE:.0f} seconds"
                raise StateError(message, hint="see what it is: fuser -v " + folder) from None
            time.sleep(0.02)
        else:
            return


def write(name: str, text: str, folder: str = DEFINITIONS) -> None:
    """A new definition, which is there as a whole or not at all. Raises FileExistsError, OSError."""
    path = path_of(name, folder)
    begun = f"{folder}/.{name}{_NEW}{os.getpid()}"
    try:
        with open(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(begun, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(begun)
    _sync(folder)


def hide(name: str, folder: str = DEFINITIONS) -> bool:
    """From now on no workload is planned on it. False where it was not there; hidden it may be. Raises OSError."""
    try:
        os.rename(path_of(name, folder), _hidden(name, folder))
    except FileNotFoundError:
        return False
    _sync(folder)
    return True


def show(name: str, folder: str = DEFINITIONS) -> None:
    """It is there again. Raises OSError."""
    os.rename(_hidden(name, folder), path_of(name, folder))
    _sync(folder)


def forget(name: str, folder: str = DEFINITIONS) -> None:
    """A hidden one is gone. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(_hidden(name, folder))
    _sync(folder)


def unfinished(folder: str = DEFINITIONS) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What crashes have left: files that never became a definition, by their paths; networks whose removal was not
    finished, by their names."""
    try:
        found = sorted(file for file in os.listdir(folder) if file.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return (), ()
    begun = tuple(f"{folder}/{file}" for file in found if _NEW in file)
    return begun, tuple(file[1:].removesuffix(_GOING) for file in found if file.endswith(_GOING))


def _hidden(name: str, folder: str) -> str:
    return f"{folder}/.{name}{_GOING}"


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
