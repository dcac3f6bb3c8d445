"""The network namespace of a running workload, joined by one thread: what nftables holds there, and a socket in it."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from volt.runs.netlink import NETFILTER, dump

_CLONE_NEWNET = 0x4000_0000
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP, linux/netlink.h
_HEAD = struct.Struct("<IHHII")  # struct nlmsghdr
# NFT_MSG_GETCHAIN and NFT_MSG_GETRULE of NFNL_SUBSYS_NFTABLES, and what answers each
_LISTED = {10 << 8 | 4: 10 << 8 | 3, 10 << 8 | 7: 10 << 8 | 6}
_ANY = struct.pack(">BBH", 1, 0, 0)  # struct nfgenmsg: NFPROTO_INET

Given = TypeVar("Given")
_libc = ctypes.CDLL(None, use_errno=True)


def in_network(path: str, act: Callable[[], Given]) -> Given:
    """What `act` gives in the network namespace that has this path: setns(2) is a thread's, and this thread ends.

    Raises OSError, and what `act` raises.
    """
    given: list[Given] = []
    failed: list[BaseException] = []

    def join() -> None:
        try:
            _enter(path)
            given.append(act())
        except BaseException as error:  # noqa: BLE001 raised again where it was asked for
            failed.append(error)

    thread = threading.Thread(target=join)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return given[0]


def namespace(pid: int) -> str:
    """The path of a process's network namespace."""
    return f"/proc/{pid}/ns/net"


def _enter(path: str) -> None:
    there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(there, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(there)


def abstract_socket(pid: int) -> socket.socket:
    """One for datagrams in the network namespace of a process, by an abstract name that the kernel picked: unix(7).
    Nobody reads from it."""

    def bind() -> socket.socket:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.bind("")
        return one

    return in_network(namespace(pid), bind)


def firewall(pid: int) -> tuple[tuple[int, bytes], ...]:
    """The chains and rules of nftables for IPv4 and IPv6 together in the network namespace of a process, each as the
    type and the attributes of the kernel's message; none where there is no nftables. Raises OSError."""
    return in_network(namespace(pid), lambda: tuple(message for kind in _LISTED for message in _listed(kind)))


def _listed(kind: int) -> Iterator[tuple[int, bytes]]:
    request = _HEAD.pack(_HEAD.size + len(_ANY), kind, _DUMP, 1, 0) + _ANY
    return ((_LISTED[kind], body[len(_ANY) :]) for body in dump(NETFILTER, request))
