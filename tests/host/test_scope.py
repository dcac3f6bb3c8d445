"""systemd as a launch meets it that asks for a scope, played by a test, and what anybody else on the bus may say."""

import pytest
from jeepney import DBusAddress, new_error, new_method_return, new_signal

from tests.host.altered import perform, planned
from tests.host.test_machined import bus, names, reply
from volt.model.steps import MakeCgroup, StartScope
from volt.model.text import RUN, text
from volt.model.values import replace
from volt.plan.bus import scope_request

MANAGER = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")
# Signals that anybody may send to anybody: longer than any that is read, of another body than its name says, another's.
OTHERS = {
    "none": [],
    "too long": [new_signal(MANAGER, "Long", "ay", (bytes(1 << 17),))],
    "not what its name says": [new_signal(MANAGER, "JobRemoved", "u", (1,))],
    "of another unit": [new_signal(MANAGER, "JobRemoved", "uoss", (1, "/job", "other.scope", "failed"))],
}


def scoped(volt, monkeypatch, path):
    """A plan that asks the bus at `path` for a scope before it makes a cgroup; and its facts."""
    plan, facts = planned(volt, monkeypatch, "sh", "-c", "exit 7")
    made = scope_request("a test", {})
    step = StartScope(
        bus=text(path), unit=text("volt-", RUN, ".scope"), request=made.data, run_at=made.run_at, pid_at=made.pid_at
    )
    host = [part for one in plan.host for part in ((step, one) if isinstance(one, MakeCgroup) else (one,))]
    assert step in host
    return replace(plan, host=tuple(host)), facts


def done(calls):
    return new_signal(MANAGER, "JobRemoved", "uoss", (2, "/job", calls[2].body[0], "done"))


def returns(calls):
    bodies = ("s", (":1.7",)), (None, ()), ("o", ("/job",))
    return [new_method_return(call, *body) for call, body in zip(calls, bodies, strict=True)]


@pytest.mark.parametrize("said", OTHERS)
def test_what_others_say_on_the_bus_ends_no_launch(volt, monkeypatch, tmp_path, said):
    path = str(tmp_path / "bus")

    def answer(connection, calls):
        reply(connection, *OTHERS[said], *returns(calls), *OTHERS[said], done(calls))

    with bus(path, answer) as systemd:
        assert perform(*scoped(volt, monkeypatch, path)) == ("", 7)
    assert names(systemd.calls) == ["Hello", "AddMatch", "StartTransientUnit"]


@pytest.mark.parametrize(("kind", "told"), [("refused", ".scope: it may not"), ("too long", "the bus: Protocol error")])
def test_what_answers_the_launch_itself_is_taken_at_its_word(volt, monkeypatch, tmp_path, kind, told):
    path = str(tmp_path / "bus")

    def answer(connection, calls):
        last = new_method_return(calls[2], "ay", (bytes(1 << 17),))
        if kind == "refused":
            last = new_error(calls[2], "org.freedesktop.DBus.Error.AccessDenied", "s", ("it may not",))
        reply(connection, *returns(calls)[:2], last)

    with bus(path, answer):
        said, status = perform(*scoped(volt, monkeypatch, path))
    assert status == 125
    assert told in said
