"""What is sent to systemd over D-Bus to have a scope made: encoded here, filled in and sent by the static program."""

from __future__ import annotations

from collections.abc import Mapping

from jeepney import DBusAddress, message_bus, new_method_call

from volt.model.values import Value

SYSTEMD = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
# D-Bus Specification, "Authentication Protocol": EXTERNAL as uid 0, whose decimal text is 30 in hex.
LOGIN = b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n"
JOBS = (
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
)
# What the launch alone knows, as it stands in the request until then.
RUN = "............"
PID = 0x2E2E2E2E


class Request(Value):
    """The bytes to send; at `run_at` the run's id goes in, 12 bytes, at `pid_at` a process number, u32."""

    data: bytes
    run_at: int
    pid_at: int


def scope_request(description: str, properties: Mapping[str, int], beginning: str = "volt-") -> Request:
    """Log in, ask to be told of finished jobs, and have the scope volt-ID.scope made in volt.slice, or one whose name
    begins otherwise.

    org.freedesktop.systemd1(5), StartTransientUnit; systemd.scope(5); `properties` are of type t. The messages
    are numbered from 1 on: the last is the one that matters.
    """
    settings = [
        ("Description", ("s", description)),
        ("Slice", ("s", "volt.slice")),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),
        *((name, ("t", value)) for name, value in properties.items()),
        ("PIDs", ("au", [PID])),
    ]
    start = new_method_call(
        SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", (f"{beginning}{RUN}.scope", "fail", settings, [])
    )
    messages = (message_bus.Hello(), message_bus.AddMatch(JOBS), start)
    data = LOGIN + b"".join(message.serialise(serial=number) for number, message in enumerate(messages, 1))
    return Request(data, data.index(RUN.encode()), data.rindex(PID.to_bytes(4, "little")))
