"""What the host leads to a run is compared with what it publishes."""

import struct

import pytest

from tests.unit.native.programs import plan
from volt.model.steps import PreparePorts
from volt.plan.audit_ports import port_points

OWN = ("10.189.0.7", "fd12::abd:7")
FOUR, SIX = bytes([10, 189, 0, 7]), b"\xfd\x12" + bytes(10) + bytes([10, 189, 0, 7])
PLAN = plan(host=[PreparePorts(publish=(), remove=())])
PORTS = ("0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", "[::1]:9->9/tcp", "192.0.2.1:53->53/udp")


def word(number):
    return struct.pack(">HH", number, 0)


WHOLE = {
    bytes([6, 0, 0, 0]) + bytes(4) + word(8080): FOUR + word(80),
    bytes([6, 0, 0, 0]) + bytes(16) + word(8080): SIX + word(80),
    bytes([17, 0, 0, 0, 192, 0, 2, 1]) + word(53): FOUR + word(53),
    bytes([6, 0, 0, 0]) + bytes(4) + word(22): bytes([10, 189, 0, 8]) + word(22),  # another's
}
LED = "0.0.0.0:8080/tcp, [::]:8080/tcp and 192.0.2.1:53/udp"


def point(there):
    (found,) = port_points(PLAN, PORTS, OWN, there)
    return found.found, found.holds


def test_all_that_is_published_leads_to_it():
    assert point(WHOLE) == (LED, True)


@pytest.mark.parametrize("what", [FOUR + word(81), bytes([10, 189, 0, 9]) + word(80), None])
def test_a_port_that_leads_elsewhere_or_nowhere_is_told(what):
    key = next(iter(WHOLE))
    there = {**WHOLE, key: what} if what else {k: v for k, v in WHOLE.items() if k != key}
    found, holds = point(there)
    assert not holds
    assert found.startswith("0.0.0.0:8080/tcp does not lead to it")


@pytest.mark.parametrize("own", [FOUR, SIX])
def test_a_port_that_leads_to_it_and_is_not_published_is_told(own):
    more = {bytes([6, 0, 0, 0]) + bytes(len(own)) + word(22): own + word(22)}
    found, holds = point({**WHOLE, **more})
    assert not holds
    assert found.endswith(":22/tcp leads to it too")


def test_without_ports_there_is_no_point():
    assert list(port_points(plan(), (), OWN, WHOLE)) == []
