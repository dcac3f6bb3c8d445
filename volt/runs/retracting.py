"""Published ports of the dead: what their claims of addresses say leads to them is taken out of nftables again."""

# As in volt/runs/sweep.py: no path objects.
# ruff: noqa: PTH108, PTH116, PTH208

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from volt.runs.claims import take_dead
from volt.runs.netlink import NETFILTER, tell

_MOST = 1 << 20  # bytes of a claim
_HEAD = struct.Struct("<IHHII")  # struct nlmsghdr
_BATCH_END = 0x11  # NFNL_MSG_BATCH_END
_LOCK = struct.Struct("hhqqi4x")  # struct flock, fcntl_locking(2), where long has 64 bits
_SECONDS, _PAUSE = 1.0, 0.002
# Gone already, or another's by now: then the batch changes nothing.
_GONE = (errno.ENOENT,)
_NOT_OURS = (errno.ENOENT, errno.EEXIST)


def remove_dead_address(folder: str, name: str) -> bool:
    """Remove the claim of an address whose holder has died, and all that leads to it; False where he lives, or it was
    gone already. `folder` bears the number of its network namespace: …/NUMBER/addresses.

    While the claim is there and its lock is held nobody else can have the address. Raises OSError.
    """
    path = f"{folder}/{name}"
    claim = take_dead(path)
    if claim is None:
        return False
    try:
        # As the static program writes it: what publishes all, what takes all of it back, then a batch for each element.
        batches = tuple(_batches(os.pread(claim, _MOST, 0)))[1:]
        if batches:
            _retract(path, folder.split("/")[-2], batches)
        else:
            os.unlink(path)
    finally:
        os.close(claim)
    return True


def _batches(content: bytes) -> Iterator[bytes]:
    """What lies behind the second line, as far as it is whole."""
    behind = content.split(b"\n", 2)[2:]
    data, begin, at = behind[0] if behind else b"", 0, 0
    while at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)[:2]
        at += length
        if length < _HEAD.size or at > len(data):
            return
        if kind == _BATCH_END:
            yield data[begin:at]
            begin = at


def _retract(path: str, namespace: str, batches: Sequence[bytes]) -> None:
    """The claim goes before its lock: who mends meanwhile would publish what it says once more."""
    with open(path, "r+b") as file:  # noqa: PTH123 (paths are text here)
        _lock(file.fileno())
        if str(os.stat("/proc/self/ns/net").st_ino) == namespace:
            _send(batches)
        elif found := _path_of(namespace):
            from volt.runs.network import in_network

            in_network(found, lambda: _send(batches))
        os.unlink(path)


def _lock(descriptor: int) -> None:
    """Against who publishes again what a claim says, for the same moment: volt/native/ports.c."""
    whole = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _path_of(namespace: str) -> str | None:
    """A path of the network namespace with this number, of a process or of ip-netns(8); None for one that is gone."""
    named: list[str] = []
    with suppress(FileNotFoundError):
        named = [f"/run/netns/{name}" for name in os.listdir("/run/netns")]
    for path in (*named, *(f"/proc/{name}/ns/net" for name in os.listdir("/proc") if name.isdecimal())):
        with suppress(OSError):
            if str(os.stat(path).st_ino) == namespace:
                return path
    return None


def _send(batches: Sequence[bytes]) -> None:
    """The first is for all of them; where one is another's by now it has changed nothing, and each is sent."""
    try:
        tell(NETFILTER, batches[0], _GONE)
    except FileExistsError:
        for batch in batches[1:]:
            tell(NETFILTER, batch, _NOT_OURS)
