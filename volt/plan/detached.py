"""A launch whose caller does not stay: who waits for its start, where its output goes, and what is kept of the run."""

from __future__ import annotations

from volt.model.facts import Call, Facts
from volt.model.part import Part
from volt.model.steps import Detach, MakeFolder, MakePipe, OpenLog, Step
from volt.model.text import RUN, Text, text
from volt.model.values import replace
from volt.model.workload import Workload

RATE = 10 << 20  # bytes a second, where log.rate says nothing
SIZE = 10 << 20  # bytes of a file, log.max_size
FILES = 3  # log.max_files

# The payload's standard descriptors, as pipes of the supervisor's.
STREAMS = ("input", "output", "errors")


def standard(call: Call) -> tuple[str, str, str]:
    """The names of the payload's standard descriptors in a detached run; "" for a terminal, or for /dev/null."""
    first = STREAMS[0] if call.interactive else ""
    return ("", "", "") if call.terminal else (first, *STREAMS[1:])


def apart(facts: Facts, call: Call) -> Facts:
    """The facts without the cgroup that systemd has delegated to the caller: that ends with the caller's unit, which a
    detached run outlives in a scope of its own. Without systemd nothing ends a cgroup."""
    if not call.detach or not facts.control.bus:
        return facts
    return replace(facts, control=replace(facts.control, delegated=None))


def detach_part(call: Call) -> Part:
    return Part(host=(Detach(),)) if call.detach else Part()


def log_folder(facts: Facts) -> Text:
    return text(f"{facts.folders.log}/", RUN)


def log_part(workload: Workload, facts: Facts, call: Call) -> Part:
    """The log, and the pipes that lead to it. On a terminal both streams are one, which the init opens."""
    if not call.detach:
        return Part()
    log, memory = workload.log, facts.memory
    folder = log_folder(facts)
    opened = OpenLog(
        folder=folder,
        rate=log.rate.of(memory) if log.rate else RATE,
        size=log.max_size.of(memory) if log.max_size else SIZE,
        files=log.max_files or FILES,
        note="what the payload writes",
    )
    shared = MakeFolder(path=text(facts.folders.log), mode=0o711, keep=True, shared=True)
    own = MakeFolder(path=folder, mode=0o700, keep=call.keep)
    pipes: tuple[Step, ...] = tuple(
        MakePipe(stream=number, to=name) for number, name in enumerate(standard(call)) if name
    )
    return Part(host=(shared, own, opened, *pipes))
