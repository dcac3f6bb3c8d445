"""What the plan waits for: the steps of each sign, on both sides, and whom a run in the foreground has to tell."""

from dataclasses import replace

import pytest

from tests.unit.plan.test_check import FACTS, GOOD, codes
from tests.unit.plan.test_explain import planned, section
from volt.errors import HostUnfit
from volt.model.facts import Call
from volt.model.sizes import Duration
from volt.model.steps import (
    AwaitFile,
    AwaitLine,
    AwaitNotice,
    AwaitPort,
    Execute,
    OfferSocket,
    ProtectInit,
    RestrictSelf,
    ShowNetwork,
    ShowRoot,
    TellReady,
)
from volt.model.text import show
from volt.model.workload import Ready, Security, Service

DETACHED = Call(detach=True, keep=True)
SIGNS = {
    Ready("notify"): (AwaitNotice, OfferSocket),
    Ready("tcp", 8080): (AwaitPort, ShowNetwork),
    Ready("http", 8080, "/up"): (AwaitPort, ShowNetwork),
    Ready("file", text="/run/up"): (AwaitFile, ShowRoot),
    Ready("log", text="up"): (AwaitLine, None),
}
AWAITS = (AwaitFile, AwaitLine, AwaitNotice, AwaitPort)
SHOWS = (OfferSocket, ShowNetwork, ShowRoot)


def waiting(sign, **service):
    return replace(GOOD, service=Service(ready=sign, **service))


def found(steps, kinds):
    return [step for step in steps if isinstance(step, kinds)]


@pytest.mark.parametrize("sign", SIGNS, ids=str)
def test_each_sign_has_a_step_of_the_supervisor_and_one_of_the_init(sign):
    plan = planned(waiting(sign), call=DETACHED)
    awaits, shows = SIGNS[sign]
    (step,) = found(plan.host, AWAITS)
    assert isinstance(step, awaits)
    assert (show(step.folder), step.milliseconds) == ("/run/volt/runs/{run}", 60_000)
    assert [type(one) for one in found(plan.init, SHOWS)] == ([shows] if shows else [])
    # Before Landlock, which forbids mounts.
    entered = plan.init.index(found(plan.init, RestrictSelf)[0])
    assert all(plan.init.index(one) < entered for one in found(plan.init, (*SHOWS, ProtectInit)))


def test_without_a_sign_nothing_is_waited_for():
    plan = planned(call=DETACHED)
    assert found(plan.steps(), (*AWAITS, *SHOWS, TellReady)) == []


def test_the_time_is_the_manifests_and_a_run_in_the_foreground_has_none():
    workload = waiting(Ready("notify"), ready_timeout=Duration(1500))
    assert [one.milliseconds for one in found(planned(workload, call=DETACHED).host, AWAITS)] == [1500]
    assert [one.milliseconds for one in found(planned(workload).host, AWAITS)] == [0]


def test_a_time_for_nothing_is_a_finding():
    assert codes(replace(GOOD, service=Service(ready_timeout=Duration(1500)))) == [
        ("no-ready", "service.ready_timeout")
    ]


def test_http_is_asked_for_as_it_is_written_and_a_port_for_nothing():
    def request(sign):
        return show(found(planned(waiting(sign), call=DETACHED).host, AwaitPort)[0].request)

    assert request(Ready("tcp", 80)) == ""
    lines = request(Ready("http", 80, "/a?b={c}")).split("\r\n")
    assert lines[:2] == ["GET /a?b={{c}} HTTP/1.1", "Host: localhost:80"]
    assert lines[-2:] == ["", ""]


def test_only_a_notifying_payload_has_a_socket_in_its_environment_and_always_its_own():
    def environment(sign):
        call = replace(DETACHED, env=(("NOTIFY_SOCKET", "/run/other"),))
        (step,) = found(planned(waiting(sign), call=call).payload, Execute)
        return [show(line) for line in step.env if show(line).startswith("NOTIFY_SOCKET")]

    assert environment(Ready("notify")) == ["NOTIFY_SOCKET=/run/volt-notify/socket"]
    assert environment(Ready("tcp", 80)) == ["NOTIFY_SOCKET=/run/other"]


def test_a_service_manager_is_told_by_a_run_in_its_foreground_alone():
    assert found(planned(call=Call(notified=True)).host, TellReady)
    assert not found(planned(call=replace(DETACHED, notified=True)).host, TellReady)


def test_a_line_is_awaited_where_there_is_a_log_and_else_a_note_says_so():
    plan = planned(waiting(Ready("log", text="up")))
    assert found(plan.host, AWAITS) == []
    assert [note for note in plan.notes if note.startswith("service.ready: ")]


@pytest.mark.parametrize(
    ("sign", "sentence"),
    [
        (Ready("notify"), "It is ready when it says READY=1 to the socket in /run/volt-notify, as sd_notify(3) does."),
        (Ready("tcp", 80), "It is ready when its port 80 takes connections."),
        (Ready("http", 80, "/u"), "It is ready when its port 80 answers GET /u with a status from 200 to 399."),
        (Ready("file", text="/run/u"), "It is ready when it has made the file /run/u, or written it anew."),
        (Ready("log", text='"u"'), 'It is ready when a line of what it writes has ""u"" in it.'),
    ],
    ids=str,
)
def test_it_is_explained(sign, sentence):
    limit = "Who starts it waits for that; if it takes longer than 60 seconds, it is ended."
    assert [*section("ready", waiting(sign), call=DETACHED)] == [sentence, limit]


@pytest.mark.parametrize("sign", SIGNS, ids=str)
def test_a_port_that_rules_of_the_network_close_to_everybody_is_refused_with_a_reason(sign):
    """Before Linux 6.7 nftables hold what strict says of ports."""
    workload = replace(waiting(sign), security=Security(landlock_profile="strict"))
    facts = replace(FACTS, landlock_abi=2, nftables=True)
    if not sign.port:
        assert found(planned(workload, facts, DETACHED).host, AWAITS)
        return
    with pytest.raises(HostUnfit, match=r"cannot be seen: nftables rules .* hold bind_tcp here"):
        planned(workload, facts, DETACHED)
    assert found(planned(workload, replace(facts, landlock_abi=7), DETACHED).host, AwaitPort)
