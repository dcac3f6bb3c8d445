"""The settings below /proc/sys that launches have changed for networks, as noted, and putting them back.

The static program appends a line to a file before each change: its path below /proc/sys and what it was,
volt/native/connect.c. Before a change that makes the kernel set others, those have a line too. Putting back begins by
giving that file another name: what a launch changes meanwhile is noted anew, and whoever comes after a crash takes up
what was begun.
"""

# ruff: noqa: PTH104, PTH108, PTH123, PTH208 (paths are text here)

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from volt.host.files import read_text
from volt.model.networks import Changed
from volt.model.values import Value

NOTES = "sysctls"
_BEGUN = f"{NOTES}.going-"
_SYS = "/proc/sys"
_FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_LAST = "accept_ra"  # of those of an interface, changed where it would cost it a route
_LOOPBACK = "route_localnet"  # … of a bridge, changed for ports that are published at 127.0.0.1


class PutBack(Value):
    """The settings that are as they were again, and in words why others are not."""

    done: tuple[Changed, ...]
    kept: tuple[str, ...]


def changed(folder: str, root: str = _SYS) -> tuple[Changed, ...]:
    """What was changed, the oldest first, each setting once."""
    found: dict[str, str] = {}
    for file in reversed(_files(folder)):
        for path, before in _notes(f"{folder}/{file}"):
            found.setdefault(path, before)
    told = (Changed(path, before, _now(root, path)) for path, before in found.items())
    return tuple(one for one in told if one.now != one.before or _is_volts(one.path))


def put_back(folder: str, root: str = _SYS) -> PutBack:
    """Every setting that still has the value which volt gave it. The newest first: forwarding ends before interfaces
    take routers' advertisements as they did. Raises OSError for what cannot be written."""
    _begin(folder)
    done: list[Changed] = []
    kept: list[str] = []
    for file in _files(folder):
        for path, before in reversed(_notes(f"{folder}/{file}")):
            now = _now(root, path)
            if now == before or not now:
                continue
            if now == _given(root, path):
                with open(f"{root}/{path}", "w", encoding="ascii") as setting:
                    setting.write(before)
                done.append(Changed(path, before, _now(root, path)))
            else:
                kept.append(f"{path} is {now}, which volt did not make it")
        os.unlink(f"{folder}/{file}")
    return PutBack(tuple(done), tuple(kept))


def give_again(folder: str, taken: PutBack, root: str = _SYS) -> None:
    """What was put back is as volt had it, and noted, once more. Raises OSError."""
    oldest_first = taken.done[::-1]
    with open(os.open(f"{folder}/{NOTES}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as notes:
        notes.writelines(f"{one.path} {one.before}\n" for one in oldest_first)
    for one in oldest_first:
        if given := _made(one.path):
            with open(f"{root}/{one.path}", "w", encoding="ascii") as setting:
                setting.write(given)


def _begin(folder: str) -> None:
    numbers = [int(name.removeprefix(_BEGUN)) for name in _files(folder) if name != NOTES]
    with suppress(FileNotFoundError):
        os.rename(f"{folder}/{NOTES}", f"{folder}/{_BEGUN}{max(numbers, default=0) + 1}")


def _files(folder: str) -> list[str]:
    """The newest first."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    begun = [name for name in names if name.startswith(_BEGUN) and name.removeprefix(_BEGUN).isdecimal()]
    begun.sort(key=lambda name: int(name.removeprefix(_BEGUN)), reverse=True)
    return [NOTES, *begun] if NOTES in names else begun


def _notes(path: str) -> list[tuple[str, str]]:
    return list(_parsed(read_text(path)))


def _parsed(text: str) -> Iterator[tuple[str, str]]:
    """A line that a crash left unfinished was written before the change."""
    for line in text.split("\n")[:-1]:
        path, _, before = line.rpartition(" ")
        if path.startswith(("net/ipv4/", "net/ipv6/")) and ".." not in path.split("/"):
            yield path, before


def _is_volts(path: str) -> bool:
    """Whether volt changes it, and has not only noted it for what the kernel does with others."""
    return path in _FORWARDING or path.endswith((f"/{_LAST}", f"/{_LOOPBACK}"))


def _given(root: str, path: str) -> str:
    """What volt has made a setting, or the kernel where forwarding has ended: "" where it has not."""
    forwarding = next(one for one in _FORWARDING if one.startswith(path[: len("net/ipv4/")]))
    return _made(path) or (_now(root, path) if _now(root, forwarding) == "0" else "")


def _made(path: str) -> str:
    """What volt itself makes a setting, "" where the kernel alone changes it."""
    return ("2" if path.endswith(f"/{_LAST}") else "1") if _is_volts(path) else ""


def _now(root: str, path: str) -> str:
    """What it says, "" where it is no more: an interface has gone."""
    return read_text(f"{root}/{path}").strip()
