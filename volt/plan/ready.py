"""What shows that a payload is ready: the sign that is waited for, and who is told. sd_notify(3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from volt.errors import HostUnfit
from volt.model.facts import Call
from volt.model.steps import (
    AwaitFile,
    AwaitLine,
    AwaitNotice,
    AwaitPort,
    OfferSocket,
    ShowNetwork,
    ShowRoot,
    Step,
    TellReady,
)
from volt.model.text import Text, text
from volt.model.workload import Ready, Workload
from volt.plan.landlock import NFTABLES, Applied

TIMEOUT = 60_000  # milliseconds, where service.ready_timeout says nothing
# A folder of its own, in memory, so that nothing of the image lies in the way. The socket's name is show.c's.
NOTICES = "/run/volt-notify"
SOCKET = f"{NOTICES}/socket"


def awaited(workload: Workload, call: Call) -> Ready | None:
    """The sign that this run is watched for. What a payload writes is seen in a log alone: without one, no line is."""
    sign = workload.service.ready
    return None if sign and sign.kind == "log" and not call.detach else sign


def check_reached(workload: Workload, call: Call, landlock: Applied) -> None:
    """Landlock holds the payload alone; rules of its network hold who watches it there too. Raises HostUnfit."""
    sign = awaited(workload, call)
    ruled = [one.right for one in landlock.held if one.wall == NFTABLES]
    opened = {(port, right) for port, right, _ in landlock.ports}
    for right in ("bind_tcp", "connect_tcp") if sign and sign.port else ():
        if right in ruled and sign and (sign.port, right) not in opened:
            message = f"service.ready = {sign} cannot be seen: {NFTABLES} hold {right} here, for whoever looks too"
            raise HostUnfit(message, hint=f"allow {right} on this port in the policy, or choose notify, file: or log:")


def await_steps(workload: Workload, call: Call, folder: Text) -> tuple[Step, ...]:
    """The supervisor's steps; `folder` is the run's own. For a run in the foreground nobody waits, and no time ends
    it, but where that is a unit's, which waits."""
    steps: tuple[Step, ...] = ()
    if sign := awaited(workload, call):
        given = workload.service.ready_timeout
        limit = (given.milliseconds if given else TIMEOUT) if call.detach or call.unit else 0
        steps = (AWAITED[sign.kind](sign, folder, limit),)
    if call.notified and not call.detach:
        steps += (TellReady(note="the caller's NOTIFY_SOCKET"),)
    return steps


def shown_steps(workload: Workload, call: Call) -> tuple[Step, ...]:
    """The init's steps, which show the supervisor where to look; before the init enters Landlock, to mount."""
    sign = awaited(workload, call)
    return SHOWN[sign.kind](sign) if sign else ()


def variables(workload: Workload) -> Mapping[str, str]:
    """What the payload finds in its environment, whatever else is given there."""
    sign, watchdog = workload.service.ready, workload.service.watchdog
    if not sign or sign.kind != "notify":
        return {}
    within = {"WATCHDOG_USEC": str(watchdog.milliseconds * 1000)} if watchdog else {}  # sd_watchdog_enabled(3)
    return {"NOTIFY_SOCKET": SOCKET, **within}


def ready_notes(workload: Workload, call: Call) -> tuple[str, ...]:
    if workload.service.ready == awaited(workload, call):
        return ()
    return ("service.ready: a line is looked for in the log of a detached run: here nothing shows that it is ready",)


def _note(sign: Ready) -> str:
    return f"service.ready = {sign}"


def _line(sign: Ready, folder: Text, limit: int) -> Step:
    return AwaitLine(folder=folder, milliseconds=limit, line=text(sign.text), note=_note(sign))


def _notice(sign: Ready, folder: Text, limit: int) -> Step:
    return AwaitNotice(folder=folder, milliseconds=limit, note=_note(sign))


def _file(sign: Ready, folder: Text, limit: int) -> Step:
    return AwaitFile(folder=folder, milliseconds=limit, path=text(sign.text), note=_note(sign))


def _port(sign: Ready, folder: Text, limit: int) -> Step:
    request = text(_request(sign))
    return AwaitPort(folder=folder, milliseconds=limit, port=sign.port, request=request, note=_note(sign))


def _request(sign: Ready) -> str:
    """RFC 9112; a server that keeps connections open is asked not to."""
    if sign.kind != "http":
        return ""
    head = (f"Host: localhost:{sign.port}", "User-Agent: volt", "Accept: */*", "Connection: close")
    return "\r\n".join((f"GET {sign.text} HTTP/1.1", *head, "", ""))


def _network(sign: Ready) -> tuple[Step, ...]:
    return (ShowNetwork(note=_note(sign)),)


AWAITED: Mapping[str, Callable[[Ready, Text, int], Step]] = {
    "log": _line,
    "notify": _notice,
    "file": _file,
    "tcp": _port,
    "http": _port,
}
SHOWN: Mapping[str, Callable[[Ready], tuple[Step, ...]]] = {
    "log": lambda _sign: (),
    "notify": lambda sign: (OfferSocket(path=text(NOTICES), note=_note(sign)),),
    "file": lambda sign: (ShowRoot(path=text(sign.text), note=_note(sign)),),
    "tcp": _network,
    "http": _network,
}
