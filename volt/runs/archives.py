"""Copies as tar: items written as an archive, and an archive sent as items. tar(5), POSIX.1-2001."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Protocol

from volt.errors import StateError, VoltError
from volt.model.items import DEEPEST, NO_MODE, PIECE_LIMIT, TEXT_LIMIT, Item, Kind, Why
from volt.runs.items import WHYS, ZEROES, Receiver

if TYPE_CHECKING:
    from volt.runs.items import Sender

SET_ID = stat.S_ISUID | stat.S_ISGID
KINDS = {Kind.ENTER: tarfile.DIRTYPE, Kind.FILE: tarfile.REGTYPE, Kind.LINK: tarfile.SYMTYPE}


class Sink(Protocol):
    """Where an archive is written."""

    def write(self, data: bytes, /) -> object: ...


class Archiver:
    """Writes items as a tar, names below `base`, with `owners` or as root's. Links are as they are: an archive follows
    none."""

    def __init__(self, to: Sink, base: str, *, owners: bool) -> None:
        self._to = to
        self._owners = owners
        self._names = [base or "."]
        self._levels = 0

    def put(self, item: Item, receiver: Receiver, moved: Callable[[int], None]) -> None:
        """One item, with its content. Raises StateError, OSError where it cannot be written."""
        if item.kind == Kind.LEAVE:
            if self._levels == 0:
                raise StateError("what comes from inside leaves a folder that it has not entered")
            self._levels -= 1
            self._names[self._levels + 1 :] = []
            return
        self._write_head(item)
        if item.kind == Kind.ENTER:
            self._levels += 1
            if self._levels > DEEPEST + 1:
                raise StateError("what comes from inside is deeper than it may be")
        if item.kind == Kind.FILE:
            for piece in receiver.pieces(item.size):
                self._write_piece(piece)
                moved(piece if isinstance(piece, int) else len(piece))
            self._to.write(bytes(-item.size % tarfile.BLOCKSIZE))

    def finish(self) -> None:
        """The end of the archive. Raises OSError."""
        self._to.write(bytes(2 * tarfile.BLOCKSIZE))

    def _write_head(self, item: Item) -> None:
        if item.name:
            self._names[self._levels :] = [os.fsdecode(item.name)]
        one = tarfile.TarInfo("/".join(self._names[: self._levels + 1]))
        one.type, one.mode = KINDS[Kind(item.kind)], item.mode & 0o7777 & ~SET_ID
        one.size = item.size
        if self._owners:  # root's otherwise
            one.uid, one.gid = item.uid, item.gid
        one.mtime, one.linkname = item.seconds, os.fsdecode(item.text)
        if item.nanoseconds:
            one.pax_headers = {"mtime": f"{item.seconds}.{item.nanoseconds:09d}"}
        self._to.write(one.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _write_piece(self, piece: bytes | int) -> None:
        if isinstance(piece, bytes):
            self._to.write(piece)
            return
        for start in range(0, piece, len(ZEROES)):
            self._to.write(ZEROES[: piece - start])


class _Open:
    """A folder that was entered; `left` is what is said when it is left."""

    def __init__(self, name: str, left: Item) -> None:
        self.name, self.left = name, left


class Unarchiver:
    """Sends the members of a tar, compressed or not, into a folder that is there; as Packer calls back."""

    def __init__(
        self, sender: Sender, left: Callable[[str, str], None], moved: Callable[[int], None], *, owners: bool
    ) -> None:
        self._sender, self._left, self._moved = sender, left, moved
        self._owners = owners
        self._open: list[_Open] = []

    def archive(self, source: IO[bytes]) -> None:
        """All of it. Raises VoltError where it is none, or damaged."""
        self._sender.item(Item(Kind.ENTER, mode=NO_MODE))
        try:
            with tarfile.open(fileobj=source, mode="r|*") as members:
                for member in members:
                    self._member(members, member)
        except (tarfile.TarError, EOFError, struct.error, OverflowError, ValueError) as error:  # numbers that are none
            raise VoltError(f"the archive: {error}", hint="- takes a tar, plain or compressed") from error
        self._close_to([])
        self._sender.item(Item(Kind.LEAVE, mode=NO_MODE))

    def _member(self, members: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """An absolute name begins in the folder too, as tar(1) has it; one that leads out of it is refused."""
        names = _names(member.name)
        if ".." in names or (member.islnk() and ".." in _names(member.linkname)):
            self._left(member.name, "it leads out of the folder")
        elif len(names) > DEEPEST or max(map(_length, [*names, member.linkname]), default=0) > TEXT_LIMIT:
            self._left(member.name, WHYS[Why.DEEP] if len(names) > DEEPEST else "its name is too long")
        elif member.isdir():
            self._enter(names, member)
        elif not names:
            self._left(member.name, "it has no name")
        elif member.issym() and member.linkname:
            self._put(names, self._item(Kind.LINK, member, names[-1], member.linkname))
        elif member.islnk():
            target = "/".join(_names(member.linkname))
            self._put(names, Item(Kind.LINKED, os.fsencode(names[-1]), os.fsencode(target)))
        elif member.isreg():
            self._file(members, member, names)
        else:
            self._left(member.name, WHYS[Why.SPECIAL])

    def _enter(self, names: list[str], member: tarfile.TarInfo) -> None:
        if not names or [one.name for one in self._open][: len(names)] == names:
            return
        self._close_to(names[:-1])
        self._begin(names[-1], self._item(Kind.ENTER, member, names[-1]), self._item(Kind.LEAVE, member))

    def _begin(self, name: str, item: Item, left: Item) -> None:
        self._sender.item(item)
        self._open.append(_Open(name, left))

    def _close_to(self, names: list[str]) -> None:
        """Leaves and enters until `names` is where the next item lies."""
        own = [one.name for one in self._open]
        shared = next((n for n, pair in enumerate(zip(own, names, strict=False)) if pair[0] != pair[1]), None)
        shared = min(len(own), len(names)) if shared is None else shared
        while len(self._open) > shared:
            self._sender.item(self._open.pop().left)
        for name in names[shared:]:
            entered = Item(Kind.ENTER, os.fsencode(name), mode=NO_MODE)
            self._begin(name, entered, Item(Kind.LEAVE, mode=NO_MODE))

    def _put(self, names: list[str], item: Item) -> None:
        self._close_to(names[:-1])
        self._sender.item(item)

    def _file(self, members: tarfile.TarFile, member: tarfile.TarInfo, names: list[str]) -> None:
        self._put(names, self._item(Kind.FILE, member, names[-1]))
        content = members.extractfile(member)
        left = member.size
        while piece := content.read(min(PIECE_LIMIT, left)) if content else b"":
            self._sender.data(piece)
            self._moved(len(piece))
            left -= len(piece)
        if left:
            raise VoltError(f"the archive ends within {member.name}")

    def _item(self, kind: Kind, member: tarfile.TarInfo, name: str = "", text: str = "") -> Item:
        seconds, nanoseconds = divmod(int(member.mtime * 10**9), 10**9)
        mode = member.mode & 0o7777 & ~(0 if self._owners else SET_ID)
        names = (b"" if kind == Kind.LEAVE else os.fsencode(name), os.fsencode(text))
        size = member.size if kind == Kind.FILE else 0
        return Item(kind, *names, mode, member.uid, member.gid, size, seconds, nanoseconds)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _length(name: str) -> int:
    return len(os.fsencode(name))
