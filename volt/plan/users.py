"""Who the payload is: names looked up in the image's own passwd and group texts, passwd(5), group(5)."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.values import Value
from volt.model.workload import User

# What a host rootfs starts with: the host's own accounts stay outside.
HOST_PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
HOST_GROUP = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n"

LAST_ID = 65535


class Identity(Value):
    """The payload's ids inside, its supplementary groups, and what HOME and USER say."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


class UnknownUserError(LookupError):
    """The image knows no such user or group, or the number lies outside the workload's range."""


def identify(user: User | None, passwd: str, group: str) -> Identity:
    """The identity that `user` names; root when None. Raises UnknownUserError."""
    wanted = user or User(0)
    account = _account(wanted.user, passwd)
    if account is None and isinstance(wanted.user, str):
        raise UnknownUserError(f"the image's /etc/passwd has no user '{wanted.user}'")
    number = int(wanted.user) if account is None else account.uid
    name = account.name if account else str(number)
    home = account.home if account else ("/root" if number == 0 else "/")
    gid = account.gid if account else 0
    groups = tuple(_memberships(name, group)) if account else ()
    if wanted.group is not None:
        gid, groups = _group(wanted.group, group), ()
    for number_ in (number, gid, *groups):
        if number_ > LAST_ID:
            raise UnknownUserError(f"id {number_} is not in the workload's range of 0 to {LAST_ID}")
    # With the primary one, as initgroups(3): a file that denies a group must not be open to who drops it.
    return Identity(number, gid, tuple(sorted({gid, *groups})), name, home)


class _Account(Value):
    name: str
    uid: int
    gid: int
    home: str


def _account(wanted: str | int, passwd: str) -> _Account | None:
    for fields in _rows(passwd, 7):
        if fields[2].isdecimal() and fields[3].isdecimal() and str(wanted) == fields[isinstance(wanted, int) * 2]:
            return _Account(fields[0], int(fields[2]), int(fields[3]), fields[5] or "/")
    return None


def _group(wanted: str | int, group: str) -> int:
    if isinstance(wanted, int):
        return wanted
    for fields in _rows(group, 4):
        if fields[0] == wanted and fields[2].isdecimal():
            return int(fields[2])
    raise UnknownUserError(f"the image's /etc/group has no group '{wanted}'")


def _memberships(name: str, group: str) -> Iterator[int]:
    for fields in _rows(group, 4):
        if name in fields[3].split(",") and fields[2].isdecimal():
            yield int(fields[2])


def _rows(text: str, count: int) -> Iterator[list[str]]:
    for line in text.split("\n"):  # as the C library: no other character ends a line
        fields = line.split(":")
        if len(fields) == count:
            yield fields
