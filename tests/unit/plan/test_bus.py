"""The request for a scope, as jeepney itself reads it back."""

import pytest
from jeepney.low_level import Parser

from volt.plan.bus import LOGIN, scope_request

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
