"""systemd-machined as a run meets it, played by a test: what it is asked, and what it may do without any effect."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from jeepney import DBusAddress, HeaderFields, new_error, new_method_return, new_signal
from jeepney.low_level import Parser

from tests.host.altered import perform, planned
from volt.model.steps import RegisterMachine, StartGuard
from volt.model.text import text
from volt.model.values import replace
from volt.plan.bus import LOGIN, registration

PATIENCE = 20  # seconds


class Bus:
    """Speaks with one connection after the other as `answer` does: it is given the connection and its calls."""

    def __init__(self, path, answer):
        self.answer, self.calls = answer, []
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection = self.listening.accept()[0]
            with connection:
                connection.settimeout(PATIENCE)
                calls = self.heard(connection)
                if not calls:
                    return
                self.calls += calls
                try:
                    self.answer(connection, calls)
                    while connection.recv(1):
                        pass
                except ConnectionError:  # it waits for no more
                    continue

    def heard(self, connection):
        data = connection.recv(1 << 16)
        return list(Parser().feed(data.removeprefix(LOGIN)))

    def close(self, path):
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(path)
        self.thread.join(PATIENCE)
        self.listening.close()


@contextmanager
def bus(path, answer):
    one = Bus(path, answer)
    try:
        yield one
    finally:
        one.close(path)


def reply(connection, *messages):
    connection.sendall(
        b"OK 0123456789abcdef\r\n" + b"".join(one.serialise(serial=n) for n, one in enumerate(messages, 1))
    )


def accept(connection, calls):
    reply(connection, new_method_return(calls[0], "s", (":1.7",)), new_method_return(calls[1], "o", ("/machine",)))


def a_byte_at_a_time(connection, calls):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pieces = []
    accept(type("Kept", (), {"sendall": pieces.append}), calls)
    for byte in b"".join(pieces):
        connection.sendall(bytes([byte]))


def refuse(connection, calls):
    error = new_error(calls[1], "org.freedesktop.machine1.MachineExists", "s", ("It\nexists",))
    reply(connection, new_method_return(calls[0], "s", (":1.7",)), error)


def registered(volt, monkeypatch, path, *command, unit=False, **sections):
    """A plan with the registration of its run at the bus at `path`, as a unit's where that is asked for; and its
    facts."""
    plan, facts = planned(volt, monkeypatch, *command, **sections)
    made = registration("web", linked=False)
    step = RegisterMachine(
        bus=text(str(path)),
        request=made.data,
        leader_at=made.leader_at,
        link_at=made.link_at,
        farewell=made.farewell,
        stale=made.stale if unit else b"",
    )
    host = [part for one in plan.host for part in ((step, one) if isinstance(one, StartGuard) else (one,))]
    return replace(plan, host=tuple(host)), facts


def unit_has_one(connection, calls):
    """Of an earlier run: it has the name until it is forgotten."""
    had = unit_has_one.left and names(calls)[1].startswith("Register")
    unit_has_one.left &= names(calls)[1] != "UnregisterMachine"
    (refuse if had else accept)(connection, calls)


def has_just_gone(connection, calls):
    """One of an earlier run had the name when it was asked for first, and is not there when it is looked for."""
    has_just_gone.asked += names(calls)[1].startswith("Register")
    known = has_just_gone.asked > 1 or names(calls)[1] == "UnregisterMachine"
    (accept if known else refuse)(connection, calls)


def names(calls):
    return [one.header.fields[HeaderFields.member] for one in calls]


ALL = ["Hello", "RegisterMachineWithNetwork", "Hello", "UnregisterMachine"]


def others_signal(connection, calls):
    """Anybody may: one that is too long for us, and one that is no signal of its name."""
    there = DBusAddress("/x", interface="x.y")
    signals = (new_signal(there, "Long", "ay", (bytes(5000),)), new_signal(there, "JobRemoved", "u", (1,)))
    hello = new_method_return(calls[0], "s", (":1.7",))
    reply(connection, signals[0], hello, *signals, new_method_return(calls[1], "o", ("/machine",)), signals[0])


@pytest.mark.parametrize("answer", [accept, a_byte_at_a_time, others_signal])
def test_process_1_inside_is_registered_and_forgotten_again(volt, monkeypatch, tmp_path, answer):
    path, seen = str(tmp_path / "bus"), {}

    def look(connection, calls):
        leader = calls[1].body[4] if names(calls)[1].startswith("Register") else None
        if leader:
            seen["leader"] = re.findall(r"NSpid:(.*)", Path(f"/proc/{leader}/status").read_text())[0].split()
        answer(connection, calls)

    with bus(path, look) as machined:
        plan = registered(volt, monkeypatch, path, "sh", "-c", "sleep 1; exit 7")
        assert perform(*plan) == ("", 7)
    assert names(machined.calls) == ALL
    name, number, *rest = machined.calls[1].body
    assert (name, bytes(number), rest[0], rest[1], rest[3:]) == ("web", b"", "volt", "container", ["", []])
    assert seen["leader"][-1] == "1", "not process 1 of its namespace"
    assert len(seen["leader"]) >= 3, "and not the guard"
    assert machined.calls[3].body == ("web",)


def close(connection, _calls):
    connection.shutdown(socket.SHUT_RDWR)


def say_nothing(_connection, _calls):
    pass


def rejected(connection, _calls):
    connection.sendall(b"REJECTED EXTERNAL\r\n")


def nonsense(connection, _calls):
    connection.sendall(b"OK \r\n" + b"\xff" * 4096)


def too_long(connection, calls):
    reply(connection, new_method_return(calls[0], "s", ("x" * 9000,)))


@pytest.mark.parametrize("answer", [refuse, close, say_nothing, rejected, nonsense, too_long])
def test_whatever_else_comes_changes_nothing_of_the_run_and_takes_nothing_back(volt, monkeypatch, tmp_path, answer):
    path = str(tmp_path / "bus")
    with bus(path, answer) as machined:
        plan = registered(volt, monkeypatch, path, "sh", "-c", "echo done; exit 7")
        begun = time.monotonic()
        assert perform(*plan) == ("done\n", 7)
        assert time.monotonic() - begun < PATIENCE / 2
    assert names(machined.calls) == ALL[:2]


def test_nor_does_a_bus_that_is_not_there(volt, monkeypatch, tmp_path):
    assert perform(*registered(volt, monkeypatch, tmp_path / "none", "sh", "-c", "exit 7")) == ("", 7)


def test_nor_one_that_accepts_nobody(volt, monkeypatch, tmp_path):
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(path)
        listening.listen(0)
        waiting.connect(path)
        assert perform(*registered(volt, monkeypatch, path, "sh", "-c", "exit 7")) == ("", 7)


def test_a_payload_that_fails_to_start_is_not_registered(volt, monkeypatch, tmp_path):
    path = str(tmp_path / "bus")
    with bus(path, accept) as machined:
        assert perform(*registered(volt, monkeypatch, path, "/none"))[1] == 127
    assert machined.calls == []


def test_an_earlier_machine_of_the_same_unit_is_replaced(volt, monkeypatch, tmp_path):
    path, unit_has_one.left = str(tmp_path / "bus"), True
    with bus(path, unit_has_one) as machined:
        assert perform(*registered(volt, monkeypatch, path, "sh", "-c", "sleep 1; exit 7", unit=True)) == ("", 7)
    register, forget = ALL[:2], ALL[2:]
    assert names(machined.calls) == [*register, "Hello", "GetMachineByPID", *forget, *register, *forget]
    assert machined.calls[1].body == machined.calls[7].body
    assert machined.calls[3].body == (0,), "whose unit is the sender's"


def test_nor_does_one_that_has_just_gone_keep_its_name(volt, monkeypatch, tmp_path):
    path, has_just_gone.asked = str(tmp_path / "bus"), 0
    with bus(path, has_just_gone) as machined:
        assert perform(*registered(volt, monkeypatch, path, "sh", "-c", "sleep 1; exit 7", unit=True)) == ("", 7)
    register, forget = ALL[:2], ALL[2:]
    assert names(machined.calls) == [*register, "Hello", "GetMachineByPID", *register, *forget]


def test_another_machine_of_its_name_is_not(volt, monkeypatch, tmp_path):
    path = str(tmp_path / "bus")
    with bus(path, refuse) as machined:
        assert perform(*registered(volt, monkeypatch, path, "sh", "-c", "sleep 1; exit 7", unit=True)) == ("", 7)
    assert names(machined.calls) == [*ALL[:2], "Hello", "GetMachineByPID", *ALL[:2]], "it may have gone meanwhile"
