"""What the bridge of a network is called on the host."""

from itertools import islice

from volt.model.networks import bridge_name, bridges_of


def test_a_bridge_is_called_after_its_network():
    assert next(bridges_of("web")) == "vn-web"
    assert next(bridges_of("twelve-chars")) == "vn-twelve-chars"


def test_a_longer_name_is_told_by_its_beginning_and_digits_of_its_own():
    one, other = (next(bridges_of(f"thirteen-char{end}")) for end in "sz")
    assert one[:9] == other[:9] == "vn-thirt-"
    assert len(one) == len(other) == 15
    assert one != other


def test_where_another_has_that_name_there_are_more_and_each_can_be_a_bridge_s():
    for name in ("web", "7", "a" * 63, "volt", "a--b", "bcd-e"):
        found = [*islice(bridges_of(name), 8)]
        assert len({*found}) == 8
        assert [bridge_name(one) for one in found] == found
        assert not any(one.startswith("volt-") for one in found), "those are links of workloads"
