"""Frames are of the version that a run's init speaks; one that speaks another gets none."""

import socket

import pytest

from tests.unit.runs.test_record import WHOLE
from volt.errors import StateError
from volt.model.protocol import OLDEST, SESSION_COMMAND, VERSION, Frame
from volt.runs.record import Record
from volt.runs.session import frame_of, open_session, receive, send_number, unspoken

FIELDS = {name: value for name, value in WHOLE.items() if name != "version"}


def record(protocol):
    return Record(**{**FIELDS, "protocol": protocol})


@pytest.mark.parametrize("version", range(OLDEST, VERSION + 1))
def test_what_is_known_is_spoken(version):
    assert unspoken(record(version)) == ""


@pytest.mark.parametrize("version", [OLDEST - 1, VERSION + 1])
def test_what_is_not_is_told_by_its_number_and_never_asked(version):
    assert f"its supervisor speaks protocol {version}, this one knows" in unspoken(record(version))
    for ask in (lambda one: send_number(one, Frame.SIGNAL, 15), lambda one: open_session(one, SESSION_COMMAND)):
        with pytest.raises(StateError, match=f"speaks protocol {version}"):  # no such process has been looked for
            ask(record(version))


def test_a_record_that_does_not_say_is_not_guessed_at():
    assert "does not say which protocol" in unspoken(Record(**FIELDS))


def test_a_frame_of_another_version_is_none():
    own, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, far:
        for _ in range(2):
            far.send(frame_of(Frame.STARTED, b"", VERSION + 1))
        assert receive(own, VERSION + 1) == (Frame.STARTED, b"")
        with pytest.raises(StateError, match="damaged"):
            receive(own, VERSION)
