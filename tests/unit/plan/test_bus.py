"""The request for a scope, as jeepney itself reads it back."""

import pytest
from jeepney import MessageFlag
from jeepney.low_level import Parser

from volt.plan.bus import LOGIN, registration, scope_request

PROPERTIES = {"TasksMax": 2**64 - 1, "CPUWeight": 300}


def messages(data):
    parser = Parser()
    return list(parser.feed(data.removeprefix(LOGIN)))


def filled(request, run="0123456789ab", pid=4242):
    data = bytearray(request.data)
    data[request.run_at : request.run_at + 12] = run.encode()
    data[request.pid_at : request.pid_at + 4] = pid.to_bytes(4, "little")
    return bytes(data)


def test_it_logs_in_listens_and_asks():
    asked = messages(filled(scope_request("volt workload web", PROPERTIES)))
    assert [message.header.serial for message in asked] == [1, 2, 3]
    assert [str(message.header.fields[3]) for message in asked] == ["Hello", "AddMatch", "StartTransientUnit"]


@pytest.mark.parametrize("description", ["volt workload web", "volt workload a.............b", "x"])
def test_what_the_launch_knows_goes_where_it_belongs(description):
    unit, mode, properties, others = messages(filled(scope_request(description, PROPERTIES)))[-1].body
    assert (unit, mode, others) == ("volt-0123456789ab.scope", "fail", [])
    assert dict(properties) == {
        "Description": ("s", description),
        "Slice": ("s", "volt.slice"),
        "Delegate": ("b", True),
        "CollectMode": ("s", "inactive-or-failed"),
        "TasksMax": ("t", 2**64 - 1),
        "CPUWeight": ("t", 300),
        "PIDs": ("au", [4242]),
    }


def test_a_machine_is_registered_with_its_process_1_and_its_link():
    made = registration("a-b", linked=True)
    data = bytearray(made.data)
    data[made.leader_at : made.leader_at + 4] = (4242).to_bytes(4, "little")
    data[made.link_at : made.link_at + 4] = (17).to_bytes(4, "little")
    hello, register = messages(bytes(data))
    assert (hello.header.serial, register.header.serial) == (1, 2)
    name, number, *rest = register.body
    assert (name, bytes(number), *rest) == ("a-b", b"", "volt", "container", 4242, "", [17])
    assert register.header.fields[3] == "RegisterMachineWithNetwork"


def test_it_is_forgotten_by_its_name_and_nobody_is_started_for_it():
    hello, forget = messages(registration("web", linked=False).farewell)
    assert (hello.header.fields[3], forget.header.fields[3], forget.body) == ("Hello", "UnregisterMachine", ("web",))
    assert forget.header.serial == 2
    assert forget.header.flags & MessageFlag.no_auto_start


def test_the_machine_of_the_senders_own_unit_is_asked_for_by_the_sender():
    look = messages(registration("web", linked=False).stale)[1]
    assert (look.header.fields[3], look.body, look.header.serial) == ("GetMachineByPID", (0,), 2)
