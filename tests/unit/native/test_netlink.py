"""The step that sends netlink messages, under the sanitizers: what the kernel refuses or leaves open ends the start.

On NETLINK_ROUTE, whose kernel takes from anybody what changes nothing.
"""

from __future__ import annotations

import errno
import struct

import pytest

from tests.unit.native.test_init import START, running, shell
from volt.model.steps import SendNetlink

ROUTE = 0
NOOP, GETLINK = 1, 18  # NLMSG_NOOP, RTM_GETLINK
REQUEST, ACK = 0x1, 0x4


def message(number, kind=NOOP, flags=REQUEST | ACK, body=b""):
    return struct.pack("<IHHII", 16 + len(body), kind, flags, number, 0) + body


def link(number, index, flags=REQUEST | ACK):
    """Ask for the interface with this number: struct ifinfomsg."""
    return message(number, GETLINK, flags, struct.pack("<BxHiII", 0, 0, index, 0, 0))


ABSENT = 2**31 - 1


def failed(units, request, protocol=ROUTE):
    with running(units, [SendNetlink(protocol=protocol, request=request), START], [shell("true")]) as init:
        return init.failed()


def test_what_is_confirmed_lets_the_init_go_on(units):
    for request in (message(1), message(7) + message(8) + message(9), message(1, flags=REQUEST) + message(2)):
        with running(units, [SendNetlink(protocol=ROUTE, request=request), START], [shell("true")]) as init:
            init.started()
            init.exited()


def test_what_is_refused_is_told_by_its_number(units):
    request = message(1) + link(2, ABSENT) + message(3)
    assert failed(units, request) == (1, errno.ENODEV, "message 2 of the request")


def test_it_is_refused_also_where_no_answer_was_asked_for(units):
    request = link(5, ABSENT, REQUEST) + message(6)
    assert failed(units, request) == (1, errno.ENODEV, "message 5 of the request")


def test_an_answer_that_is_none_is_a_failure(units):
    """The interface itself is sent before the acknowledgement."""
    number, error, text = failed(units, link(1, 1))
    assert (number, error, text) == (1, errno.EPROTO, "message 1 of the request")


def test_a_request_that_nobody_takes_is_a_failure(units):
    """NETLINK_USERSOCK is for programs: the kernel has no part in it."""
    assert failed(units, message(1), protocol=2) == (1, errno.ECONNREFUSED, "the request")


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        message(1)[:15],
        message(1) + b"\0",
        struct.pack("<IHHII", 15, NOOP, 5, 1, 0),
        struct.pack("<IHHII", 0, NOOP, 5, 1, 0),
        struct.pack("<IHHII", 20, NOOP, 5, 1, 0),
        struct.pack("<IHHII", 2**32 - 1, NOOP, 5, 1, 0),
        struct.pack("<IHHII", 18, NOOP, 5, 1, 0) + b"xx",
    ],
)
def test_a_damaged_request_is_not_sent(units, request_):
    assert failed(units, request_) == (1, errno.EBADMSG, "the request is damaged")


def test_a_protocol_that_there_is_not_is_a_failure(units):
    number, error, text = failed(units, message(1), protocol=31)
    assert (number, text) == (1, "netlink protocol 31")
    assert error in {errno.EPROTONOSUPPORT, errno.EPROTOTYPE}
