"""Files into and out of a workload that runs: behind its whole wall inside, checked like a hostile archive outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from volt.api.looking import running
from volt.errors import VoltError
from volt.host.folders import folders
from volt.model.asked import Asked
from volt.model.copied import Copied
from volt.model.items import TEXT_LIMIT, Item, Kind
from volt.runs.archives import Archiver, Sink, Unarchiver
from volt.runs.copying import IN, OUT, Session, Tally
from volt.runs.items import Sender
from volt.runs.packing import Packer, measured
from volt.runs.unpacking import Unpacker, place

if TYPE_CHECKING:
    from volt.runs.items import Receiver
    from volt.runs.record import Record

Progress = Callable[[int, int | None], None]


def copy_out(
    workload: str,
    path: str,
    to: str | os.PathLike[str] | Sink,
    *,
    follow_link: bool = False,
    archive: bool = False,
    user: str = "",
    progress: Progress | None = None,
) -> Copied:
    """Copy a file, folder or link at `path` in a running workload to a path here, or as a tar to what has `write`.

    Into a folder that is there it goes under its own name; `path` ending in `/.` is what lies in a folder. `to` else
    becomes it, and the folder above has to be there. A link is copied as one, unless `follow_link`; one that leads out
    of the copy is left out, but stays in a tar, and so are devices, pipes and sockets. Set-id bits do not come along.
    With `archive` the numbers of owners do, else all is the caller's. It is read as the workload's root, or as `user`,
    "USER[:GROUP]". `progress` is called with the bytes so far, and with all of them or None.

    Raises StateError where no such workload runs, there is no such path or what comes is damaged, HostUnfit without
    root, VoltError where it cannot be put down.
    """
    record = running(folders(), workload)
    tally = Tally(record.name, progress)
    inside, base = _inside(path)
    with Session(record, (OUT, inside, "", "L" * follow_link), _who(record, user)) as session:
        receiver = session.receiver
        while (item := receiver.item()).kind == Kind.PROBLEM:
            tally.told(item)
        if item.kind != Kind.TOTAL:
            tally.told(item)
        tally.total = None if item.mode else item.size
        first = receiver.item()
        while first.kind not in (Kind.ENTER, Kind.FILE, Kind.LINK):
            if first.kind == Kind.END:  # nothing but what was told
                return tally.copied()
            tally.told(first)
            first = receiver.item()
        if isinstance(to, str | os.PathLike):
            _unpack(receiver, first, tally, (os.fspath(to), base), owners=archive)
        else:
            archiver = Archiver(to, base, owners=archive)
            _take(receiver, first, tally, archiver.put)
            archiver.finish()
    return tally.copied()


def copy_in(
    source: str | os.PathLike[str] | IO[bytes],
    workload: str,
    path: str,
    *,
    follow_link: bool = False,
    archive: bool = False,
    user: str = "",
    progress: Progress | None = None,
) -> Copied:
    """Copy a file, folder or link of the caller's to `path` in a running workload, or unpack there the tar that a
    stream holds, compressed or not.

    As `copy_out`, the other way round. A tar goes into a folder that is there. What is copied belongs to the workload's
    root, or to `user`; with `archive` to the numbers that it has here. Raises as `copy_out`, and VoltError where the
    source cannot be read.
    """
    record = running(folders(), workload)
    tally = Tally(record.name, progress)
    base, named = "", isinstance(source, str | os.PathLike)
    if follow_link and not named:
        raise VoltError("a tar has no link to follow", hint="leave out --follow-link")
    if isinstance(source, str | os.PathLike):
        base = _base(os.fspath(source))
        tally.total = measured(os.fspath(source)) if progress else None
    switches = "a" * archive + "d" * (not named)
    with Session(record, (IN, _rooted(path), base, switches), _who(record, user)) as session:
        sender = Sender(session.taking, session.receiver, tally.told)
        calls = (sender, tally.leave, tally.move)
        if isinstance(source, str | os.PathLike):
            Packer(*calls, owners=archive).path(os.fspath(source), follow=follow_link)
        else:
            Unarchiver(*calls, owners=archive).archive(source)
        tally.arrived(sender.finish())
    return tally.copied()


def _unpack(receiver: Receiver, first: Item, tally: Tally, to: tuple[str, str], *, owners: bool) -> None:
    if first.kind == Kind.LINK:
        target = os.fsdecode(first.text)
        raise VoltError(f"it is a link to {target}", hint="--follow-link copies what it leads to")
    where = place(*to, folder=first.kind == Kind.ENTER)
    unpacker = Unpacker(where, tally.leave, owners=owners)
    try:
        _take(receiver, first, tally, unpacker.put)
    finally:
        unpacker.close()


def _take(
    receiver: Receiver, first: Item, tally: Tally, put: Callable[[Item, Receiver, Callable[[int], None]], None]
) -> None:
    item = first
    while item.kind != Kind.END:
        if item.kind in (Kind.ENTER, Kind.LEAVE, Kind.FILE, Kind.LINK):
            put(item, receiver, tally.move)
            tally.count(item)
        else:
            tally.told(item)
        item = receiver.item()


def _who(record: Record, user: str) -> Asked:
    from volt.api.executing import identity

    if not user:
        return Asked((), uid=0)
    found = identity(record, user)
    return Asked((), uid=found.uid, gid=found.gid, groups=found.groups)


def _rooted(path: str) -> str:
    """A path inside begins at the root, whether it is written so or not. Raises VoltError."""
    if not path or "\0" in path or len(os.fsencode(path)) >= TEXT_LIMIT:
        raise VoltError(f"'{path[:80]}' is no path", hint="write NAME:/PATH")
    return path if path.startswith("/") else f"/{path}"


def _inside(path: str) -> tuple[str, str]:
    rooted = _rooted(path)
    return rooted, _base(rooted)


def _base(path: str) -> str:
    """The name of what is copied; "" for what lies in a folder. Raises VoltError for a path that gives none."""
    name = path.rstrip("/").rpartition("/")[2]
    if name == "..":
        raise VoltError(f"{path} gives no name to what is copied", hint="end it with /. to copy what lies in it")
    return "" if name == "." else name
