"""What shows that a workload is ready, and who waits for it, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.explanation import Section, Statement
from volt.model.plan import LaunchPlan
from volt.model.steps import AwaitFile, AwaitLine, AwaitNotice, AwaitPort, OfferSocket, Step, TellReady
from volt.plan.explain_words import plain


def ready_section(plan: LaunchPlan) -> Section:
    """The sign that is waited for, if there is one."""
    offered = next((plain(one.path) for one in plan.init if isinstance(one, OfferSocket)), "")
    found = [statement for step in plan.host for statement in _said(step, offered)]
    return Section("ready", "When it is ready", tuple(found))


def _said(step: Step, offered: str) -> Iterator[Statement]:
    if isinstance(step, TellReady):
        yield Statement(
            "When it is ready, or without a sign of that when it has started, its caller's service manager is told."
        )
    if isinstance(step, AwaitLine):
        yield Statement(f"It is ready when a line of what it writes has {_quoted(plain(step.line))} in it.")
    elif isinstance(step, AwaitNotice):
        yield Statement(f"It is ready when it says READY=1 to the socket in {offered}, as sd_notify(3) does.")
    elif isinstance(step, AwaitFile):
        yield Statement(f"It is ready when it has made the file {plain(step.path)}, or written it anew.")
    elif isinstance(step, AwaitPort):
        asked = plain(step.request).split(" ")
        how = f"answers GET {asked[1]} with a status from 200 to 399" if len(asked) > 1 else "takes connections"
        yield Statement(f"It is ready when its port {step.port} {how}.")
    if isinstance(step, AwaitLine | AwaitNotice | AwaitFile | AwaitPort) and step.milliseconds:
        limit = f"{step.milliseconds / 1000:g} seconds"
        yield Statement(f"Who starts it waits for that; if it takes longer than {limit}, it is ended.")


def _quoted(text: str) -> str:
    return f'"{text}"'
