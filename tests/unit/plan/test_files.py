"""The generated files."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, GOOD
from volt.model.modes import NetworkMode
from volt.model.workload import Network
from volt.plan.files import generated, hosts, resolv_conf

HOSTS_OWN = replace(FACTS, resolv_conf="nameserver 127.0.0.53\nsearch example.org\n")


def test_it_knows_itself_and_localhost_in_both_families():
    named = replace(GOOD, hostname="www.example.org")
    assert hosts(named).splitlines() == [
        "127.0.0.1 localhost",
        "127.0.1.1 www.example.org",
        "::1 localhost ip6-localhost ip6-loopback",
    ]


@pytest.mark.parametrize(
    ("mode", "dns", "expected"),
    [
        (NetworkMode.NONE, (), ""),
        (NetworkMode.HOST, (), "nameserver 127.0.0.53\nsearch example.org\n"),
        (NetworkMode.HOST, ("192.0.2.1", "2001:db8::1"), "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"),
    ],
)
def test_resolvers_are_the_given_ones_or_in_its_network_the_hosts(mode, dns, expected):
    workload = replace(GOOD, network=Network(mode=mode, dns=dns))
    assert resolv_conf(workload, HOSTS_OWN) == expected


def test_the_hostname_ends_its_line():
    assert generated(GOOD, FACTS)["/etc/hostname"] == "web\n"
    assert set(generated(GOOD, FACTS)) == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
