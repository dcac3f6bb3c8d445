"""The policy of this machine as a file: read once, and only where root alone can have written it."""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath

from volt.host.files import MOST
from volt.host.sources import may_quote
from volt.model.findings import Finding, Place
from volt.model.policy import POLICY
from volt.model.values import Value

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PolicyFile(Value):
    """The text of the policy, None where it cannot be read; `problems` are the reasons not to go by it."""

    path: str
    data: bytes | None
    problems: tuple[Finding, ...]
    quotable: bool


def read_policy_file(path: str = POLICY) -> PolicyFile | None:
    """The policy, None where there is none. Neither it nor its folder may be a link, and both have to be root's
    alone: whoever can write to the folder can remove the policy. /etc itself is not looked at: who can write
    there can make himself root."""
    where = PurePosixPath(path)
    folder = str(where.parent)
    try:
        above = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unread(path, _problem(folder, f"is no folder that can be opened: {error.strerror}", "make it a folder"))
    try:
        status = os.fstat(above)
        problems = not_roots(folder, status.st_uid, status.st_mode)
        return _open(path, where.name, above, problems)
    finally:
        os.close(above)


def _open(path: str, name: str, above: int, problems: tuple[Finding, ...]) -> PolicyFile | None:
    try:
        file = os.open(name, _FILE, dir_fd=above)
    except FileNotFoundError:
        return _unread(path, *problems) if problems else None
    except OSError as error:
        hint = "make it a file, no link, that whoever plans can read"
        return _unread(path, *problems, _problem(path, f"cannot be opened: {error.strerror}", hint))
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        return _unread(path, *problems, _problem(path, "is no regular file", "make it one, or remove it"))
    with os.fdopen(file, "rb") as opened:
        problems += not_roots(path, status.st_uid, status.st_mode)
        return PolicyFile(path, opened.read(MOST + 1), problems, may_quote(file))


def _unread(path: str, *problems: Finding) -> PolicyFile:
    return PolicyFile(path, None, problems, quotable=False)


def not_roots(path: str, owner: int, mode: int) -> tuple[Finding, ...]:
    """Why root alone cannot have written what lies at a path: its owner's uid, and the bits of its mode."""
    found = []
    if owner != 0:
        found.append(_problem(path, f"belongs to the user {owner}, not to root", f"chown root {path}"))
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.append(_problem(path, "can be written by others than root", f"chmod go-w {path}"))
    return tuple(found)


def _problem(path: str, message: str, hint: str) -> Finding:
    return Finding("bad-policy", "", f"it {message}", hint, Place(path))
