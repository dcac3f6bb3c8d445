"""Sockets of the supervisor's, some of which are its caller's too: looked at, and left as they are."""

import os
import socket

import pytest

from volt.runs.session import _shared


@pytest.fixture
def pair():
    ends = socket.socketpair()
    yield ends
    for one in ends:
        one.close()


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("default", [None, 0, 30])
def test_whether_it_blocks_stays_as_it_is(pair, blocks, default):
    pair[0].setblocking(blocks)
    copied = os.dup(pair[0].fileno())
    socket.setdefaulttimeout(default)
    try:
        with _shared(copied):
            assert os.get_blocking(pair[0].fileno()) == blocks
    finally:
        socket.setdefaulttimeout(None)
