"""What the plan of a workload on a bridge claims as its name, and whom it asks for others'."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import BRIDGE, FACTS, GOOD
from volt.model.facts import Control, Resolver
from volt.model.modes import NetworkMode
from volt.model.steps import ClaimHost, EnsureResolver
from volt.model.text import show
from volt.model.workload import Network
from volt.plan import names
from volt.plan.files import resolv_conf

FOLDER = "/run/volt/networks/1"
THERE = Resolver("/usr/sbin/dnsmasq", 999, 65534, "/etc/resolv.conf")


def facts(resolver=THERE, **changes):
    return replace(FACTS, bridge=replace(BRIDGE, resolver=resolver), upstream="nameserver 192.0.2.1\n", **changes)


def workload(name="web", *dns):
    return replace(GOOD, name=name, network=Network(mode=NetworkMode.BRIDGE, dns=dns))


def step_of(kind, work, known):
    part = names.claims(work, known, FOLDER) + names.resolver_part(work, known, FOLDER)
    return next((step for step in part.host if isinstance(step, kind)), None)


def test_a_claim_has_both_names_behind_who_holds_it():
    claim = step_of(ClaimHost, workload(), facts())
    assert (show(claim.folder), show(claim.label)) == (f"{FOLDER}/volt0.names", "web")
    assert show(claim.content).splitlines() == [
        '# {{"run":"{run}","pid":{pid}}}',
        "{address} web.volt web",
        "fd12:3456:789a::{groups} web.volt web",
    ]


def test_without_ipv6_there_is_no_such_line():
    known = replace(facts(), bridge=replace(BRIDGE, resolver=THERE, subnet6=""))
    assert len(show(step_of(ClaimHost, workload(), known).content).splitlines()) == 2


@pytest.mark.parametrize("name", names.RESERVED)
def test_a_name_that_means_something_else_is_claimed_and_answered_by_nobody(name):
    assert show(step_of(ClaimHost, workload(name), facts()).content) == '# {{"run":"{run}","pid":{pid}}}\n'
    (said,) = names.notes(workload(name), facts())
    assert f"no other workload finds {name} by its name" in said


def test_resolvers_of_its_own_are_asked_instead_and_others_find_it():
    work = workload("web", "192.0.2.9")
    assert step_of(EnsureResolver, work, facts()) is None
    assert step_of(ClaimHost, work, facts()) is not None
    assert resolv_conf(work, facts()) == "nameserver 192.0.2.9\n"


@pytest.mark.parametrize("resolver", [None, replace(THERE, problem="dnsmasq is not installed")])
def test_where_nothing_can_answer_there_are_the_hosts_resolvers_alone(resolver):
    known = facts(resolver)
    assert step_of(ClaimHost, workload(), known) is step_of(EnsureResolver, workload(), known) is None
    assert resolv_conf(workload(), known) == "nameserver 192.0.2.1\n"
    said = "network.mode: no names of workloads are answered on volt0: dnsmasq is not installed"
    assert [*names.notes(workload(), known)] == ([said] if resolver else [])


@pytest.mark.parametrize(
    ("upstream", "inside"),
    [
        ("", "search volt\nnameserver 10.189.0.1\n"),
        ("search a.test\nsearch b.test c.test\n", "search volt b.test c.test\nnameserver 10.189.0.1\n"),
        ("domain b.test\nnameserver 192.0.2.1\n", "search volt b.test\nnameserver 10.189.0.1\n"),
        ("search volt b.test\n", "search volt b.test\nnameserver 10.189.0.1\n"),
        ("# a comment\n\noptions edns0  ndots:2\n", "search volt\nnameserver 10.189.0.1\noptions edns0 ndots:2\n"),
        ("search\n", "search volt\nnameserver 10.189.0.1\n"),
    ],
)
def test_inside_the_bridge_is_asked_and_the_rest_is_as_on_the_host(upstream, inside):
    assert resolv_conf(workload(), replace(facts(), upstream=upstream)) == inside


def test_whatever_it_is_started_with_is_in_its_mark():
    marks = {
        show(step_of(EnsureResolver, workload(), known).mark)
        for known in (
            facts(),
            facts(replace(THERE, uid=65534)),
            facts(replace(THERE, file="/run/resolv.conf")),
            replace(facts(), bridge=replace(BRIDGE, label="other0", resolver=THERE)),
            replace(facts(), bridge=replace(BRIDGE, subnet="10.9.0.0/16", resolver=THERE)),
        )
    }
    assert len(marks) == 5
    assert {show(step_of(EnsureResolver, workload(name), facts()).mark) for name in ("a", "b")} <= marks


def test_under_systemd_it_is_in_a_scope_of_its_own():
    assert step_of(EnsureResolver, workload(), facts()).bus == ()
    known = facts(control=Control(manager="", bus="/run/dbus/system_bus_socket"))
    step = step_of(EnsureResolver, workload(), known)
    assert show(step.unit) == "volt-names-{run}.scope"
    assert step.request[step.run_at - len("volt-names-") : step.run_at] == b"volt-names-"
