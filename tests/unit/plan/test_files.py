"""The generated files."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import BRIDGE, FACTS, GOOD
from volt.model.modes import NetworkMode
from volt.model.text import show
from volt.model.workload import Network
from volt.plan.files import generated, hosts, resolv_conf

HOSTS_OWN = replace(
    FACTS, upstream="nameserver 192.0.2.53\n", resolv_conf="nameserver 127.0.0.53\nsearch example.org\n"
)


def test_it_knows_itself_and_localhost_in_both_families():
    named = replace(GOOD, hostname="www.example.org")
    assert show(hosts(named, FACTS)).splitlines() == [
        "127.0.0.1 localhost",
        "127.0.1.1 www.example.org",
        "::1 localhost ip6-localhost ip6-loopback",
    ]


def test_on_a_bridge_it_knows_itself_by_the_address_that_it_will_have():
    named = replace(GOOD, network=Network(mode=NetworkMode.BRIDGE))
    assert show(hosts(named, replace(FACTS, bridge=BRIDGE))).splitlines() == [
        "127.0.0.1 localhost",
        "{address} web",
        "::1 localhost ip6-localhost ip6-loopback",
        "fd12:3456:789a::{groups} web",
    ]


@pytest.mark.parametrize(
    ("mode", "dns", "expected"),
    [
        (NetworkMode.NONE, (), ""),
        (None, (), "nameserver 192.0.2.53\n"),
        (NetworkMode.BRIDGE, ("192.0.2.1",), "nameserver 192.0.2.1\n"),
        (NetworkMode.HOST, (), "nameserver 127.0.0.53\nsearch example.org\n"),
        (NetworkMode.HOST, ("192.0.2.1", "2001:db8::1"), "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"),
    ],
)
def test_resolvers_are_the_given_ones_or_in_its_network_the_hosts(mode, dns, expected):
    workload = replace(GOOD, network=Network(mode=mode, dns=dns))
    assert resolv_conf(workload, HOSTS_OWN) == expected


def test_the_hostname_ends_its_line():
    assert generated(GOOD, FACTS)["/etc/hostname"] == ("web\n",)
    assert set(generated(GOOD, FACTS)) == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
