"""A tar's bytes as they come, compressed or not, read forwards only and never more of them than is good for memory."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from volt.errors import StoreError

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE = 1 << 20
HEADERS_MOST = 4 << 20  # bytes of the headers of one member: names, attributes, maps of sparse files
_XZ_MEMORY = 256 << 20

_MAGIC: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)),
)
_ZSTD_WINDOW = 128 << 20  # bytes: what zstd --ultra needs
_ZSTD = b"\x28\xb5\x2f\xfd"
_BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError)


class Forwards:
    """What tarfile takes for a file: it can be read, and sought forwards. `allowance` are the bytes that may still be
    read; None where whoever reads takes care himself. `known` is updated with all that is read. Raises StoreError
    beyond it, and for damaged data."""

    def __init__(self, file: BinaryIO, known: _Hash | None = None) -> None:
        self._known = known
        self._pieces = _pieces(file)
        self._piece = memoryview(b"")
        self._at = 0
        self.allowance: int | None = None

    def tell(self) -> int:
        return self._at

    def seek(self, to: int) -> int:
        if to < self._at:
            raise StoreError("the archive is damaged: it points back into itself")
        if self.reach(to) < to:
            raise cut_short()
        return to

    def reach(self, to: int) -> int:
        """Read on as far as that, or to the end where it comes before: where that is."""
        while self._at < to and self._more():
            self._take(to - self._at)
        return self._at

    def has_ended(self) -> bool:
        return not self._more()

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, fewer only at the end."""
        if self.allowance is not None:
            self.allowance -= size
        if size < 0 or size > max(HEADERS_MOST, PIECE) or (self.allowance or 0) < 0:
            raise StoreError(f"the archive has a header of more than {HEADERS_MOST} bytes")
        found = bytearray()
        while len(found) < size and self._more():
            found += self._take(size - len(found))
        return bytes(found)

    def drain(self) -> None:
        """Read on to the end: whoever writes into a pipe would be killed by its closing."""
        while self._more():
            self._take(PIECE)

    def _more(self) -> bool:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            if self._known:
                self._known.update(piece)
            self._piece = memoryview(piece)
        return True

    def _take(self, size: int) -> memoryview:
        taken, self._piece = self._piece[:size], self._piece[size:]
        self._at += len(taken)
        return taken


def cut_short() -> StoreError:
    return StoreError("the archive is cut short", hint="make it again, or transfer it again")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The archive itself, in pieces of at most 1 MiB, whatever it is compressed with."""
    first = file.read(PIECE)
    if first.startswith(_ZSTD):
        yield from _unpacked_zstd(first, file)
        return
    make = next((make for magic, make in _MAGIC if first.startswith(magic)), None)
    if make is None:
        while first:
            yield first
            first = file.read(PIECE)
        return
    yield from _unpacked(first, file, make)


def _unpacked(data: bytes, file: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
    """One compressed stream after another, as gzip(1), bzip2(1) and xz(1) read them."""
    one, fresh = make(), True
    while data or (data := file.read(PIECE)):
        try:
            piece = one.decompress(data, PIECE)
        except _BROKEN as error:
            raise StoreError(f"the archive is damaged: {error}") from error
        fresh = False
        if piece:
            yield piece
        if one.eof:
            data = one.unused_data.lstrip(b"\0")  # padding between streams
            one, fresh = make(), True
        else:
            data = _left(one)
            while not data and not getattr(one, "needs_input", True):
                piece = one.decompress(b"", PIECE)
                if piece:
                    yield piece
                if one.eof:
                    data, one, fresh = one.unused_data, make(), True
    if not fresh:
        raise cut_short()


def _unpacked_zstd(first: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Frames one after another, as zstd(1) reads them; the library is loaded for them alone."""
    from zstandard import ZstdDecompressor, ZstdError

    source: Any = _Joined(first, file)
    unpacker = ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    with unpacker.stream_reader(source, read_across_frames=True, closefd=False) as reader:
        try:
            while piece := reader.read(PIECE):
                yield piece
        except ZstdError as error:
            raise StoreError(f"the archive is damaged: {error}") from error


class _Joined:
    """What has been read of a file, and the rest of it."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self._first, self._file = first, file

    def read(self, size: int) -> bytes:
        taken, self._first = self._first[:size], self._first[size:]
        return taken or self._file.read(size)


def _left(one: Any) -> bytes:
    """What zlib has not looked at yet; the others keep it themselves."""
    left: bytes = getattr(one, "unconsumed_tail", b"")
    return left
