"""Which subnets the bridge has, and which resolvers can be reached from it."""

import pytest

from volt.errors import NetworkError
from volt.host.networks import SUBNETS, choose, no_bridge, probe_bridge, upstream
from volt.host.settings import Settings
from volt.model.networks import Definition

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def row(interface, destination, mask):
    return f"{interface}\t{destination}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n"


DEFAULT = row("eth0", "00000000", "00000000")
VPN = row("tun0", "0000000A", "000000FF")  # 10.0.0.0/8
OWN = row("volt0", "00001DAC", "0000FFFF")  # 172.29.0.0/16
OTHERS = row("volt0", "0000090A", "0000FFFF")  # 10.9.0.0/16: of somebody else's choice
TEN = row("volt0", "0000BD0A", "0000FFFF")  # 10.189.0.0/16


@pytest.fixture
def probed(tmp_path):
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")

    def probe(*routes, six="", ipv6=True, network=None, **settings):
        (tmp_path / "route").write_text(HEAD + "".join(routes))
        (tmp_path / "ipv6_route").write_text(six)
        (tmp_path / "if_inet6").write_text("00000000000000000000000000000001 01 80 10 80 lo\n" if ipv6 else "")
        places = {"proc": str(tmp_path), "machine": str(tmp_path / "machine-id"), "folder": str(tmp_path / "networks")}
        return probe_bridge(network, Settings(**settings), **places)

    return probe


def test_the_first_subnet_that_no_route_overlaps(probed):
    assert (probed(DEFAULT).subnet, probed(DEFAULT).problem) == (SUBNETS[0], "")
    assert probed(DEFAULT, VPN).subnet == "172.29.0.0/16"


def test_a_bridge_that_is_there_keeps_its_subnet(probed):
    assert probed(DEFAULT, OWN).subnet == "172.29.0.0/16"
    assert probed(DEFAULT, TEN).subnet == SUBNETS[0]
    assert (probed(DEFAULT, TEN, VPN).subnet, probed(DEFAULT, TEN, VPN).problem) == (SUBNETS[0], "")
    assert probed(DEFAULT, OTHERS).problem == "volt0 is there with 10.9.0.0/16, and no subnet is set"


def test_a_subnet_that_is_set_is_had_or_refused(probed):
    assert probed(DEFAULT, subnet="10.9.0.0/16").problem == ""
    overlapping = probed(DEFAULT, VPN, subnet="10.9.0.0/16")
    assert overlapping.problem == "its subnet 10.9.0.0/16 overlaps the route 10.0.0.0/8 of tun0"
    other = probed(DEFAULT, TEN, subnet="10.9.0.0/16")
    assert other.problem == "its subnet is 10.9.0.0/16, and volt0 is there with 10.189.0.0/16"


def test_where_every_subnet_is_taken_that_is_said(probed):
    everything = [row("a", "0000000A", "000000FF"), row("b", "000010AC", "0000F0FF"), row("c", "0000A8C0", "0000FFFF")]
    assert probed(*everything).problem.startswith("each subnet that it could have overlaps a route")


def test_the_unique_local_subnet_is_the_machines_and_the_bridges(probed):
    one = probed(DEFAULT).subnet6
    assert one.startswith("fd")
    assert one.endswith("::/64")
    assert probed(DEFAULT).subnet6 == one != probed(DEFAULT, bridge="other0").subnet6
    assert probed(DEFAULT, ipv6=False).subnet6 == ""


def test_an_ipv6_route_into_it_is_refused(probed):
    six = "fd120000000000000000000000000000 20 " + "0" * 32 + " 00 " + "0" * 32 + " 400 1 0 1     tun0\n"
    taken = probed(DEFAULT, six=six, subnet6="fd12:0:1::/64")
    assert taken.problem == "its subnet fd12:0:1::/64 overlaps the route fd12::/32 of tun0"


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("nameserver 192.0.2.1\nsearch a.example\n", "nameserver 192.0.2.1\nsearch a.example\n"),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n", "nameserver 2001:db8::1\n"),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.9\n"),
        ("", "nameserver 192.0.2.9\n"),
    ],
)
def test_resolvers_that_only_the_host_reaches_are_left_out(tmp_path, written, left):
    (tmp_path / "resolved").write_text("nameserver 192.0.2.9\n")
    assert upstream(written, str(tmp_path / "resolved")) == left


# ── networks of one's own


def define(tmp_path, name, **values):
    folder = tmp_path / "networks"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))


@pytest.fixture
def chosen(probed, tmp_path):
    def choose_one(name="lan", *routes, subnet="", subnet6="", devices="", **settings):
        probed(*routes)
        (tmp_path / "dev").write_text(f"Inter-|\n face |\n    lo: 0\n{devices}")
        places = {"proc": str(tmp_path), "machine": str(tmp_path / "machine-id"), "folder": str(tmp_path / "networks")}
        return choose(Definition(name, subnet, "", subnet6), Settings(**settings), **places)

    return choose_one


def test_a_network_of_ones_own_gets_what_is_free(chosen, tmp_path):
    first = chosen()
    assert (first.subnet, first.bridge) == ("10.203.0.0/24", "vn-lan"), "behind the default network's"
    assert first.subnet6.startswith("fd")
    define(tmp_path, "lan", subnet=first.subnet, subnet6=first.subnet6)
    assert chosen("web").subnet == "10.203.1.0/24"
    assert chosen("web").subnet6 != first.subnet6
    assert chosen("web", VPN).subnet == "192.168.189.0/24", "beside the default one, which is 172.29.0.0/16 now"


def test_a_subnet_that_is_asked_for_is_had_or_refused_by_name(chosen, tmp_path):
    assert chosen(subnet="10.9.0.0/24", subnet6="fd12::/64").subnet == "10.9.0.0/24"
    define(tmp_path, "web", subnet="10.8.0.0/16", subnet6="fd12:3::/32")
    for asked, by in (
        ({"subnet": "10.8.7.0/24"}, "the network web, which has 10.8.0.0/16"),
        ({"subnet6": "fd12:3:1::/64"}, "the network web, which has fd12:3::/32"),
        ({"subnet": "10.189.4.0/24"}, "the network bridge, which has 10.189.0.0/16"),
    ):
        with pytest.raises(NetworkError, match=f"overlaps {by}"):
            chosen(**asked)
    with pytest.raises(NetworkError, match=r"overlaps the route 10\.0\.0\.0/8 of tun0"):
        chosen("lan", VPN, subnet="10.9.0.0/24")


def test_where_nothing_is_free_that_is_said(chosen):
    everything = [row("a", "0000000A", "000000FF"), row("b", "000010AC", "0000F0FF"), row("c", "0000A8C0", "0000FFFF")]
    with pytest.raises(NetworkError, match="no subnet is free"):
        chosen("lan", *everything)


def test_a_bridge_takes_no_other_interface_s_name(chosen, tmp_path):
    taken = chosen("lan", devices="vn-lan: 0 0\n").bridge
    assert taken.startswith("vn-lan-")
    define(tmp_path, "web", subnet="10.8.0.0/24", bridge="vn-lan")
    assert chosen().bridge == taken


def joined(probed, network, *routes, **settings):
    """As it is probed for a workload."""
    return probed(*routes, network=network, **settings)


LAN = Definition("lan", "10.203.0.0/24", "vn-lan", internal=True)


def test_a_workload_joins_what_is_defined(probed):
    found = joined(probed, LAN)
    assert (found.label, found.subnet, found.network, found.internal, found.problem) == (
        "vn-lan",
        "10.203.0.0/24",
        "lan",
        True,
        "",
    )
    assert found.subnet6 not in ("", joined(probed, None).subnet6)
    assert joined(probed, LAN, ipv6=False).subnet6 == ""


def test_what_others_have_is_a_problem_that_names_them(probed, tmp_path):
    define(tmp_path, "web", subnet="10.203.0.0/16", bridge="vn-web")
    assert joined(probed, LAN).problem == ("its subnet 10.203.0.0/24 overlaps the network web, which has 10.203.0.0/16")
    assert joined(probed, None, VPN).subnet == "172.29.0.0/16", "the default one goes elsewhere"
    assert joined(probed, None, bridge="vn-web").problem == "the network web has a bridge of that name"
    assert joined(probed, LAN, subnet="10.203.0.0/24").problem.startswith("its subnet 10.203.0.0/24 overlaps")


def test_of_a_network_that_is_not_known_the_nearest_is_told(tmp_path):
    define(tmp_path, "lan", subnet="10.8.0.0/24")
    assert no_bridge("lann", str(tmp_path / "networks")).near == "lan"
    assert no_bridge("web", str(tmp_path / "networks")).near == ""
