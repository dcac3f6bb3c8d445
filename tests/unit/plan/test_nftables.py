"""The batches of port rules, read back and run on packets as the kernel does. tests/host loads them into a kernel."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt.plan.nftables import MOST, port_rules

TCP, UDP, ICMP6 = 6, 17, 58
SYN, ACK = 0x02, 0x10
NEWTABLE, NEWCHAIN, NEWRULE = (10 << 8 | number for number in (0, 3, 6))
ACCEPT, DROP, RESET = "accept", "drop", "reset"


def messages(batch):
    """(type, flags, number, nfgenmsg, attributes) of each message."""
    found, at = [], 0
    while at < len(batch):
        length, kind, flags, number, port = struct.unpack_from("<IHHII", batch, at)
        assert (port, length % 4) == (0, 0)
        found.append((kind, flags, number, batch[at + 16 : at + 20], attributes(batch[at + 20 : at + length])))
        at += length
    assert at == len(batch)
    return found


def attributes(data):
    """[(type, value)], the value of a nested one read on."""
    found, at = [], 0
    while at < len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        value = data[at + 4 : at + length]
        assert len(value) == length - 4
        found.append((kind & 0x7FFF, attributes(value) if kind & 0x8000 else value))
        at += (length + 3) & ~3
    return found


def text(value):
    return value.removesuffix(b"\0").decode()


def number(value):
    return struct.unpack(">I", value)[0]


def chains(batches):
    """Name → (hook number, policy, rules), of a table `volt` for IPv4 and IPv6."""
    tables, found = [], {}
    for batch in batches:
        for kind, _, _, head, body in messages(batch)[1:-1]:
            assert head[0] == 1
            values = dict(body)
            if kind == NEWTABLE:
                tables.append(text(values[1]))
            elif kind == NEWCHAIN:
                hook = dict(values[4])
                assert (text(values[1]), text(values[7]), number(hook[2])) == ("volt", "filter", 0)
                found[text(values[3])] = (number(hook[1]), number(values[5]), [])
            else:
                assert (kind, text(values[1])) == (NEWRULE, "volt")
                rule = [(text(dict(one)[1]), dict(dict(one)[2])) for _, one in values[4]]
                found[text(values[2])][2].append(rule)
    assert tables == ["volt"]
    return found


def value(attribute):
    ((_, data),) = attribute
    return data


def judge(rules, protocol, segment):
    """What the rules make of a packet, run as nf_tables runs them: one register, and a rule ends where it fails."""
    for rule in rules:
        register = b""
        for name, given_ in rule:
            if name == "meta":
                assert number(given_[2]) == 16
                register = bytes([protocol])
            elif name == "payload":
                assert number(given_[2]) == 2
                start, length = number(given_[3]), number(given_[4])
                register = segment[start : start + length]
                if len(register) < length:
                    break
            elif name == "bitwise":
                register = bytes(
                    a & b ^ c for a, b, c in zip(register, value(given_[4]), value(given_[5]), strict=True)
                )
            elif name == "cmp":
                if (register == value(given_[3])) != (number(given_[2]) == 0):
                    break
            elif name == "range":
                if not value(given_[3]) <= register <= value(given_[4]):
                    break
            elif name == "immediate":
                assert number(dict(dict(given_[2])[2])[1]) == 1
                return ACCEPT
            else:
                assert (name, number(given_[1])) == ("reject", 1)
                return RESET
    return DROP


def segment(port, flags):
    return struct.pack(">HHIIBBHHH", 40000, port, 0, 0, 0x50, flags, 0, 0, 0)


PORT = st.integers(1, 65535)
RANGES = st.lists(st.tuples(PORT, st.integers(0, 300)).map(lambda one: (one[0], min(65535, sum(one)))), max_size=150)


def near(ranges):
    """Ports at the ends of ranges and beside them."""
    ends = {end + step for one in ranges for end in one for step in (-1, 0, 1)}
    return sorted(port for port in ends if 0 <= port <= 65535)[:40]


@given(RANGES, st.lists(PORT, max_size=5), st.integers(0, 255))
def test_a_connection_is_opened_to_the_ports_given_and_to_no_others(ranges, ports, others):
    hook, policy, rules = chains(port_rules([("input", ranges)]))["input"]
    assert (hook, policy) == (1, 0)
    for port in (*ports, *near(ranges)):
        opens = segment(port, (others | SYN) & ~ACK)
        within = any(first <= port <= last for first, last in ranges)
        assert judge(rules, TCP, opens) == (ACCEPT if within else RESET)


@given(st.integers(0, 255), PORT)
def test_what_opens_no_connection_goes_through(flags, port):
    _, _, rules = chains(port_rules([("output", [])]))["output"]
    opens = flags & SYN and not flags & ACK
    assert judge(rules, TCP, segment(port, flags)) == (RESET if opens else ACCEPT)


@pytest.mark.parametrize("protocol", [UDP, ICMP6, 0, 132])
def test_other_protocols_are_left_alone(protocol):
    for hook in ("input", "output"):
        assert judge(chains(port_rules([(hook, [])]))[hook][2], protocol, segment(80, SYN)) == ACCEPT


@given(st.integers(0, 13))
def test_a_segment_that_is_cut_off_is_not_let_through(length):
    """As a fragment can be: its flags lie at byte 13."""
    _, _, rules = chains(port_rules([("input", [(1, 65535)])]))["input"]
    found = judge(rules, TCP, segment(80, SYN)[:length])
    assert found == (ACCEPT if length >= 4 else RESET)
    assert judge(chains(port_rules([("input", [])]))["input"][2], TCP, segment(80, SYN)[:length]) == RESET


def test_each_hook_has_its_own_ports():
    found = chains(port_rules([("input", [(80, 80)]), ("output", [(443, 443)])]))
    assert {name: one[0] for name, one in found.items()} == {"input": 1, "output": 3}
    for name, port, other in (("input", 80, 443), ("output", 443, 80)):
        assert judge(found[name][2], TCP, segment(port, SYN)) == ACCEPT
        assert judge(found[name][2], TCP, segment(other, SYN)) == RESET


@pytest.mark.parametrize("count", [0, 1, MOST - 6, MOST - 5, MOST, 3 * MOST])
def test_a_batch_is_whole_and_asks_for_no_more_answers_than_a_socket_takes(count):
    batches = list(port_rules([("input", [(2 * n + 1, 2 * n + 1) for n in range(count)])]))
    for batch in batches:
        found = messages(batch)
        assert [one[2] for one in found] == [*range(1, len(found) + 1)]
        assert [(one[0], one[1], one[3]) for one in (found[0], found[-1])] == [
            (0x10, 0x1, bytes([0, 0, 0, 10])),
            (0x11, 0x1, bytes([0, 0, 0, 10])),
        ]
        assert 1 <= len(found) - 2 <= MOST
        assert all(one[1] & 0x5 == 0x5 for one in found[1:-1]), "each is acknowledged"
    rules = chains(batches)["input"][2]
    assert len(rules) == count + 3
    assert [name for name, _ in rules[-1]] == ["reject"]
