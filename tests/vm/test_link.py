"""A workload's link on a kernel that makes others before it, as it does with a tunnel's driver loaded."""

import subprocess

import pytest

from tests.host.networks import own_machine


@pytest.fixture
def tunnels():
    subprocess.run(["modprobe", "ipip"], check=True)
    yield
    subprocess.run(["modprobe", "-r", "ipip"], check=False)


def test_eth0_is_connected_whatever_index_it_has(tunnels, volt, volt_root):
    with own_machine():
        inside = volt.run("sh", "-c", "cat /proc/net/dev; ip -o addr show dev eth0", network={"mode": "bridge"})
    assert inside.returncode == 0, inside.stderr
    assert b"tunl0" in inside.stdout, "nothing was tried"
    assert b"inet 10." in inside.stdout
