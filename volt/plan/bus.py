"""What is sent over D-Bus, to systemd to have a scope made and to systemd-machined to have a run known there: encoded
here, filled in and sent by the static program."""

from __future__ import annotations

from collections.abc import Mapping

from jeepney import DBusAddress, Message, MessageFlag, message_bus, new_method_call

from volt.model.values import Value

SYSTEMD = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
MACHINED = DBusAddress("/org/freedesktop/machine1", "org.freedesktop.machine1", "org.freedesktop.machine1.Manager")
# D-Bus Specification, "Authentication Protocol": EXTERNAL as uid 0, whose decimal text is 30 in hex.
LOGIN = b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n"
JOBS = (
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
)
# What the launch alone knows, as it stands in the request until then.
RUN = "............"
PID = 0x2E2E2E2E
LINK = 0x2F2F2F2F  # of a slash: no name has one


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
    data = _conversation(message_bus.Hello(), message_bus.AddMatch(JOBS), start)
    return Request(data, data.index(RUN.encode()), data.rindex(PID.to_bytes(4, "little")))


class Registration(Value):
    """The bytes to send; at `leader_at` a process number goes in, u32, at `link_at` the index of a link, i32, 0 for
    none. `farewell` is what takes it back, and `stale` asks for the machine of the sender's own unit."""

    data: bytes
    leader_at: int
    link_at: int
    farewell: bytes
    stale: bytes


def registration(name: str, *, linked: bool) -> Registration:
    """Log in, and have systemd-machined know the machine `name`, with a link on this machine or without.

    org.freedesktop.machine1(5). It has neither an id nor a folder: both are the workload's own affair. Nobody is woken
    up to be told that it is gone.
    """
    links = [LINK] if linked else []
    body = (name, b"", "volt", "container", PID, "", links)
    register = new_method_call(MACHINED, "RegisterMachineWithNetwork", "sayssusai", body)
    forget = new_method_call(MACHINED, "UnregisterMachine", "s", (name,))
    forget.header.flags |= MessageFlag.no_auto_start
    data = _conversation(message_bus.Hello(), register)
    return Registration(
        data,
        leader_at=data.rindex(PID.to_bytes(4, "little")),
        link_at=data.rindex(LINK.to_bytes(4, "little")) if linked else 0,
        farewell=_conversation(message_bus.Hello(), forget),
        stale=_conversation(message_bus.Hello(), new_method_call(MACHINED, "GetMachineByPID", "u", (0,))),
    )


def _conversation(*messages: Message) -> bytes:
    return LOGIN + b"".join(message.serialise(serial=number) for number, message in enumerate(messages, 1))
