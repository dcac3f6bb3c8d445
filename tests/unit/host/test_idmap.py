"""Which file systems can be idmapped, and the reason in words where one cannot."""

import pytest

from volt.host.idmap import NEVER, SINCE, UPPER, idmappable, why_not


@pytest.mark.parametrize(("filesystem", "since"), SINCE.items())
def test_a_type_can_be_idmapped_since_its_kernel(filesystem, since):
    major, minor = since
    assert idmappable(filesystem, since)
    assert idmappable(filesystem, (major + 1, 0))
    assert not idmappable(filesystem, (major, minor - 1))
    assert why_not(filesystem, since) == ""
    assert why_not(filesystem, (major, minor - 1)) == f"it can since Linux {major}.{minor}"


@pytest.mark.parametrize("filesystem", NEVER)
def test_some_types_never_can(filesystem):
    assert not idmappable(filesystem, (99, 0))
    assert why_not(filesystem, (99, 0)) == NEVER[filesystem]


def test_an_unknown_type_cannot():
    assert not idmappable("newfs", (99, 0))
    assert why_not("newfs", (99, 0)) == "no kernel is known to idmap it"


def test_the_tables_agree():
    assert not set(SINCE) & set(NEVER)
    assert set(UPPER) <= set(SINCE)
