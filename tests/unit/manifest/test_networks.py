"""The definition of a network: what it says, or all that is wrong with it, each with its line."""

import pytest

from volt.manifest.networks import read_definition
from volt.model.networks import Definition

PATH = "/etc/volt/networks/lan.toml"


def read(text):
    return read_definition("lan", "vn-lan", PATH, text.encode())


def test_what_is_left_out_is_as_by_default():
    found = read('subnet = "10.203.0.0/24"\n')
    assert found.definition == Definition("lan", "10.203.0.0/24", "vn-lan", "", 1500, internal=False)
    assert found.findings == ()


def test_everything_can_be_said():
    text = 'subnet = "10.9.0.0/16"\nsubnet6 = "fd12:3:4::/64"\nmtu = 9000\ninternal = true\nbridge = "br7"\n'
    assert read(text).definition == Definition("lan", "10.9.0.0/16", "br7", "fd12:3:4::/64", 9000, internal=True)


def test_all_problems_are_told_at_once_each_with_its_line():
    found = read(
        'mtu = 12\nsubnet = "10.9.0.1/16"\nsubent6 = "x"\ninternal = "yes"\nbridge = "volt-1"\nsubnet6 = "::/4"\n'
    )
    assert found.definition is None
    told = {(one.place.line, one.place.column): (one.code, one.key) for one in found.findings}
    assert told == {
        (1, 7): ("bad-network", "mtu"),
        (2, 10): ("bad-network", "subnet"),
        (3, 11): ("unknown-key", "subent6"),
        (4, 12): ("wrong-type", "internal"),
        (5, 10): ("bad-network", "bridge"),
        (6, 11): ("bad-network", "subnet6"),
    }
    assert all(one.place.file == PATH and one.hint and one.source for one in found.findings)
    assert "did you mean 'subnet6'?" in [one.hint for one in found.findings]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "missing-key"),
        ("subnet =", "bad-toml"),
        ('subnet = ["10.9.0.0/24"]', "wrong-type"),
        ("[subnet]", "wrong-type"),
        ('subnet = "10.9.0.0/30"', "bad-network"),
        ('subnet = "fd12::/64"', "bad-network"),
        ('subnet = ""', "bad-network"),
        ('subnet = "10.9.0.0/24"\nmtu = true', "wrong-type"),
        ('subnet = "10.9.0.0/24"\nbridge = "Br"', "bad-network"),
    ],
)
def test_what_is_no_definition(text, code):
    assert [one.code for one in read(text).findings] == [code]
