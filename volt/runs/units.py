"""Asking systemd to stop or restart the unit that owns a workload: over D-Bus, org.freedesktop.systemd1(5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from jeepney import DBusAddress, HeaderFields, MatchRule, message_bus, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse, unwrap_msg

from volt.errors import StateError, VoltError

if TYPE_CHECKING:
    from jeepney import Message

MANAGER = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
ANSWERS = 10.0  # seconds that systemd may take to answer
DONE, REMOVED = "done", "JobRemoved"


class UnitJob:
    """A job of systemd's, from its beginning to its end; a context manager."""

    def __init__(self, verb: str, unit: str) -> None:
        """`verb` is StopUnit or RestartUnit. Raises VoltError."""
        self._unit = unit
        try:
            self._bus = open_dbus_connection(bus="SYSTEM")
        except OSError as error:
            raise VoltError(f"systemd cannot be reached: {error}", hint="systemctl status dbus") from error
        try:
            self._ask(message_bus.AddMatch(MatchRule(type="signal", interface=MANAGER.interface, member=REMOVED)))
            self._ask(new_method_call(MANAGER, "Subscribe"))
            (self._job,) = self._ask(new_method_call(MANAGER, verb, "ss", (unit, "replace")))
        except BaseException:
            self._bus.close()
            raise

    def _ask(self, message: Message) -> tuple[str, ...]:
        try:
            answer: tuple[str, ...] = unwrap_msg(self._bus.send_and_get_reply(message, timeout=ANSWERS))
        except DBusErrorResponse as error:
            raise VoltError(f"systemd refuses it for {self._unit}: {error}") from error
        except (OSError, TimeoutError) as error:
            raise VoltError(f"systemd does not answer: {error}", hint="systemctl status dbus") from error
        return answer

    def wait(self) -> None:
        """Until it is done: when it is late is for systemd to say, by the limits of the unit. Raises StateError where
        it failed."""
        result = ""
        while not result:
            try:
                result = self._result(self._bus.receive())
            except OSError as error:
                raise StateError(f"{self._unit} is waited for in vain: {error}", hint=self._hint) from error
        if result != DONE:
            raise StateError(f"{self._unit}: systemd says '{result}'", hint=self._hint)

    @property
    def _hint(self) -> str:
        return f"systemctl status {self._unit}"

    def _result(self, message: Message) -> str:
        """Of JobRemoved for this job, whose body is number, job, unit and result; "" for any other message."""
        is_signal = message.header.fields.get(HeaderFields.member) == REMOVED
        return str(message.body[3]) if is_signal and message.body[1] == self._job else ""

    def close(self) -> None:
        self._bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
