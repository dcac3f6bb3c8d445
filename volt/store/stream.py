"""A tar's bytes as they come, compressed or not, read forwards only and never more of them than is good for memory."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from zlib_ng import zlib_ng

from volt.errors import StoreError

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE = 1 << 20
_AT_ONCE = 1 << 16  # bytes of what is packed: zlib copies what is behind the end of each stream
HEADERS_MOST = 4 << 20  # bytes of the headers of one member: names, attributes, maps of sparse files
BEHIND_MOST = 64 << 20  # bytes behind the end: tar(1) fills up its last record, which may be some megabytes
_NOTHING_MOST = 64 << 20  # bytes in a row of which nothing comes: padding, comments, streams of nothing
_XZ_MEMORY = 256 << 20

_MAGIC: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib_ng.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)),
)
_ZSTD_WINDOW = 128 << 20  # bytes: what zstd --ultra needs
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = tuple(bytes([kind]) + b"\x2a\x4d\x18" for kind in range(0x50, 0x60))  # pzstd(1) begins with one
_BROKEN: tuple[Any, ...] = (zlib_ng.error, lzma.LZMAError, OSError, EOFError)  # its stub calls the class an instance


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
        """Read on to the end: whoever writes into a pipe would be killed by its closing. Raises StoreError where that
        is too far."""
        end = self._at
        while self._more():
            self._take(PIECE)
            if self._at - end > BEHIND_MOST:
                raise StoreError(f"behind the archive's end are more than {BEHIND_MOST} bytes")

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


class _Packed:
    """The bytes of a file, as long as something comes of them now and then. Raises StoreError where nothing does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._idle = file, 0
        self.first = self._ahead = file.read(PIECE)

    def read(self, size: int) -> bytes:
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        taken = taken or self._file.read(size)
        self._idle += len(taken)
        if self._idle > _NOTHING_MOST:
            raise StoreError(f"the archive is damaged: nothing comes of {_NOTHING_MOST} bytes of it")
        return taken

    def given(self, piece: bytes) -> Iterator[bytes]:
        """A plain piece, if it is one."""
        if piece:
            self._idle = 0
            yield piece


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The archive itself, in pieces of at most 1 MiB, whatever it is compressed with."""
    source = _Packed(file)
    if source.first.startswith((_ZSTD, *_SKIPPABLE)):
        return _unpacked_zstd(source)
    make = next((make for magic, make in _MAGIC if source.first.startswith(magic)), None)
    if make is None:
        return _plain(source)
    return _unpacked(source, make)


def _plain(source: _Packed) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield from source.given(piece)


def _unpacked(source: _Packed, make: Callable[[], Any]) -> Iterator[bytes]:
    """One compressed stream after another, as gzip(1), bzip2(1) and xz(1) read them, with zeros between them."""
    one, data = make(), source.read(_AT_ONCE)
    while data or (data := source.read(_AT_ONCE)):
        if one is None and not (data := data.lstrip(b"\0")):
            continue
        one = one or make()
        try:
            for piece in _coming(one, data):
                yield from source.given(piece)
        except _BROKEN as error:
            raise StoreError(f"the archive is damaged: {error}") from error
        one, data = (None, one.unused_data) if one.eof else (one, b"")
    if one:
        raise cut_short()


def _coming(one: Any, data: bytes) -> Iterator[bytes]:
    """All that comes of the data, piece by piece. zlib gives back what it has not looked at, the others keep it."""
    yield one.decompress(data, PIECE)
    while not one.eof and not getattr(one, "needs_input", not getattr(one, "unconsumed_tail", b"")):
        yield one.decompress(getattr(one, "unconsumed_tail", b""), PIECE)


def _unpacked_zstd(source: _Packed) -> Iterator[bytes]:
    """Frames one after another, as zstd(1) reads them; the library is loaded for them alone."""
    from zstandard import ZstdDecompressor, ZstdError

    given: Any = source
    unpacker = ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    with unpacker.stream_reader(given, read_across_frames=True, closefd=False) as reader:
        try:
            while piece := reader.read(PIECE):
                yield from source.given(piece)
        except ZstdError as error:
            raise StoreError(f"the archive is damaged: {error}") from error
