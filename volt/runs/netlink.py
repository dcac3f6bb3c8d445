"""The kernel over netlink(7): what links there are, what lies in a set of nftables, and requests that change either.

linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator

from volt.model.values import Value

ROUTE, NETFILTER = 0, 12  # NETLINK_
_HEAD = struct.Struct("<IHHII")  # struct nlmsghdr
_ABOUT_LINK, _ABOUT_TABLE = 16, 4  # bytes of struct ifinfomsg, of struct nfgenmsg
_GETLINK = 18  # RTM_
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300  # NLM_F_
_ERROR, _DONE = 2, 3  # NLMSG_
_MAC, _NAME, _MASTER, _INFO, _KIND = 1, 3, 10, 18, 1  # IFLA_, IFLA_INFO_
_ELEMENTS, _ONE, _KEY, _DATA, _VALUE = 3, 1, 1, 2, 1  # NFTA_SET_ELEM_LIST_, NFTA_LIST_ELEM, NFTA_SET_ELEM_, NFTA_DATA_
_TYPE = 0x3FFF  # NLA_TYPE_MASK
_RECEIVED = 1 << 18  # bytes: the kernel's dumps are no longer
_SECONDS = 10.0  # of the kernel, which answers at once
_GONE = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)


class Link(Value):
    """An interface: `kind` is `bridge`, `veth`, … or "" for a device; `master` the index of what it is a port of, 0
    without."""

    index: int
    name: str
    kind: str
    master: int
    mac: bytes


def links() -> tuple[Link, ...]:
    """Those of this network namespace. Raises OSError."""
    request = _HEAD.pack(_HEAD.size + _ABOUT_LINK, _GETLINK, _REQUEST | _DUMP, 1, 0) + bytes(_ABOUT_LINK)
    return tuple(_link(body) for body in dump(ROUTE, request))


def _link(body: bytes) -> Link:
    index = struct.unpack_from("<i", body, 4)[0]
    found = attributes(body[_ABOUT_LINK:])
    kind = attributes(found.get(_INFO, b"")).get(_KIND, b"")
    master = struct.unpack("<I", found.get(_MASTER, bytes(4)))[0]
    return Link(index, _text(found[_NAME]), _text(kind), master, found.get(_MAC, b""))


def keys(listing: bytes) -> tuple[bytes, ...]:
    """Of every element of the set that `listing` asks for; none where there is no such set. Raises OSError."""
    return tuple(key for body in dump(NETFILTER, listing) for key in _keys(body[_ABOUT_TABLE:]))


def mapped(listing: bytes) -> dict[bytes, bytes]:
    """Likewise of a map: each key's value. Raises OSError."""
    found = (one for body in dump(NETFILTER, listing) for one in _elements(body[_ABOUT_TABLE:]))
    return {attributes(one[_KEY])[_VALUE]: attributes(one[_DATA])[_VALUE] for one in found}


def _keys(body: bytes) -> Iterator[bytes]:
    return (attributes(element[_KEY])[_VALUE] for element in _elements(body))


def _elements(body: bytes) -> Iterator[dict[int, bytes]]:
    for kind, element in _pairs(attributes(body).get(_ELEMENTS, b"")):
        if kind == _ONE:
            yield attributes(element)


def dump(protocol: int, request: bytes) -> tuple[bytes, ...]:
    """What answers a request for all of something, each without its header; nothing where there is no such thing.
    Raises OSError."""
    try:
        return tuple(_answers(protocol, request))
    except OSError as error:
        if error.errno in _GONE:
            return ()
        raise


def tell(protocol: int, request: bytes, tolerated: Collection[int] = ()) -> bool:
    """Send a request, of which each part that asks for it is answered. False where one of the answers was one of the
    errors that are `tolerated`. Raises OSError for any other."""
    try:
        list(_answers(protocol, request))
    except OSError as error:
        if error.errno in tolerated:
            return False
        raise
    return True


def _answers(protocol: int, request: bytes) -> Iterator[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as one:
        one.settimeout(_SECONDS)
        one.send(request)
        waiting = sum(1 for _, flags, _ in _messages(request) if flags & _ACK or flags & _DUMP == _DUMP)
        while waiting:
            for kind, _, body in _messages(one.recv(_RECEIVED)):
                if kind == _ERROR and (number := -struct.unpack_from("<i", body)[0]):
                    raise OSError(number, os.strerror(number))
                if kind in (_ERROR, _DONE):
                    waiting -= 1
                else:
                    yield body


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        length, kind, flags = _HEAD.unpack_from(data, at)[:3]
        yield kind, flags, data[at + _HEAD.size : at + length]
        at += -(-length // 4) * 4


def attributes(data: bytes) -> dict[int, bytes]:
    """By their types, each without its header."""
    return dict(_pairs(data))


def _pairs(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4:
            return
        yield kind & _TYPE, data[at + 4 : at + length]
        at += -(-length // 4) * 4


def _text(data: bytes) -> str:
    return os.fsdecode(data.rstrip(b"\0"))
