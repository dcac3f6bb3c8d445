"""What can answer for names of workloads on a machine, and what stands in its way."""

import pytest

from volt.host.resolver import NOBODY, probe_resolver

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS, CONNECTED, UNCONNECTED = "0A", "01", "07"


def row(address, port, state):
    return (
        f"   0: {address}:{port:04X} {'0' * len(address)}:0000 {state} 00000000:00000000 00:00000000 00000000     0\n"
    )


@pytest.fixture
def probed(tmp_path):
    def probe(accounts="", resolvers="nameserver 192.0.2.1\n", mode=0o644, **sockets):
        for kind in ("tcp", "tcp6", "udp", "udp6"):
            (tmp_path / kind).write_text(HEAD + sockets.get(kind, ""))
        for name, text in (("passwd", accounts), ("resolv.conf", resolvers)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(mode)
        return probe_resolver(
            proc=str(tmp_path), accounts=str(tmp_path / "passwd"), resolvers=str(tmp_path / "resolv.conf")
        )

    return probe


def open_to_all(path):
    for one in (path, *path.parents):
        if one.stat().st_uid == path.stat().st_uid and len(one.parts) > 2:
            one.chmod(one.stat().st_mode | 0o005)


NOBODYS = "nobody:x:65000:65001:nobody:/nonexistent:/usr/sbin/nologin\n"


def test_it_runs_as_who_is_made_for_it_or_as_nobody(probed):
    ours = "dnsmasq:x:999:998:dnsmasq:/var/lib/misc:/usr/sbin/nologin\n"
    for accounts, ids in (
        (NOBODYS + ours, (999, 998)),
        (NOBODYS, (65000, 65001)),
        ("", NOBODY),
        ("dnsmasq:x\n", NOBODY),
    ):
        found = probed(accounts)
        assert (found.uid, found.gid) == ids


@pytest.mark.parametrize(
    ("sockets", "taken"),
    [
        ({"udp": row("00000000", 53, UNCONNECTED)}, True),
        ({"tcp": row("00000000", 53, LISTENS)}, True),
        ({"tcp6": row("0" * 32, 53, LISTENS)}, True),
        ({"udp6": row("0" * 32, 53, UNCONNECTED)}, True),
        ({"udp": row("3500007F", 53, UNCONNECTED), "tcp": row("3500007F", 53, LISTENS)}, False),
        ({"udp": row("0100BD0A", 53, UNCONNECTED)}, False),
        ({"udp": row("00000000", 5353, UNCONNECTED)}, False),
        ({"tcp": row("00000000", 53, CONNECTED)}, False),
    ],
)
def test_a_server_on_every_address_is_in_its_way(probed, tmp_path, sockets, taken):
    open_to_all(tmp_path)
    found = probed(**sockets)
    assert ("another DNS server" in found.problem) == taken
    assert bool(found.mend) == taken


def test_the_file_that_it_follows_is_where_links_lead_and_everybody_may_read_it(probed, tmp_path):
    open_to_all(tmp_path)
    assert (probed().file, probed().problem) == (str(tmp_path.resolve() / "resolv.conf"), "")
    assert "which not everybody may look at" in probed(mode=0o600).problem
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "resolv.conf")
    found = probe_resolver(resolvers=str(tmp_path / "link"))
    assert f"leads to {tmp_path.resolve()}/gone/resolv.conf" in found.problem
