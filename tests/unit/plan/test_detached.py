"""A detached run is no part of its caller: where its cgroup lies, and where its output goes."""

from tests.unit.plan.test_check import FACTS
from volt.model.facts import Call, Cgroup
from volt.model.values import replace
from volt.plan.detached import apart, standard

OWN = Cgroup("/caller", ("memory",), ("memory",), free=True)


def under(bus):
    return replace(FACTS, control=replace(FACTS.control, delegated=OWN, bus=bus))


def test_under_systemd_it_leaves_the_cgroup_that_ends_with_its_callers_unit():
    assert apart(under("/run/bus"), Call(detach=True)).control.delegated is None
    assert apart(under("/run/bus"), Call()).control.delegated == OWN


def test_elsewhere_nothing_ends_a_cgroup_and_it_stays():
    assert apart(under(""), Call(detach=True)).control.delegated == OWN


def test_its_output_goes_to_pipes_and_its_input_is_empty_unless_it_is_kept_open():
    assert standard(Call(detach=True)) == ("", "output", "errors")
    assert standard(Call(detach=True, interactive=True)) == ("input", "output", "errors")
    assert standard(Call(detach=True, interactive=True, terminal=0b111)) == ("", "", "")
