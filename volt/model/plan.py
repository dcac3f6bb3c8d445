"""The launch plan: pure data, in the order in which the static program performs it."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.steps import Step, describe, render
from volt.model.values import Value

# Descriptors that the first two sections find open under these names.
STANDARD = ("stdin", "stdout", "stderr")


class LaunchPlan(Value):
    """Everything that a launch does, decided.

    Four sections, one per process that performs them: `host` (the supervisor), `guard` (its child in
    new pid and mount namespaces, which ends as systemd-nspawn), `init` (PID 1 of the container) and
    `payload` (its child, which ends as the command). `inherited` names the descriptors that the init
    finds open, from 3 up. `notes` are things worth knowing that forbid nothing.
    """

    name: str
    mode: str
    host: tuple[Step, ...]
    guard: tuple[Step, ...]
    init: tuple[Step, ...]
    payload: tuple[Step, ...]
    inherited: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def sections(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """(title, steps) in order."""
        yield "on the host, as the supervisor", self.host
        yield "in a pid and a mount namespace of its own", self.guard
        yield "inside, as the init", self.init
        yield "inside, as the payload", self.payload

    def steps(self) -> Iterator[Step]:
        """Every step in the order of its printed number."""
        for _, steps in self.sections():
            yield from steps

    def document(self) -> dict[str, object]:
        """The whole plan as JSON values: `volt plan --json`, version 1."""
        numbers = iter(range(1, 1 + sum(1 for _ in self.steps())))
        sections = [
            {"title": title, "steps": [{"number": next(numbers), **describe(step)} for step in steps]}
            for title, steps in self.sections()
        ]
        return {
            "version": 1,
            "name": self.name,
            "mode": self.mode,
            "sections": sections,
            "inherited": list(self.inherited),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.mode}"]
        number = 0
        for title, steps in self.sections():
            lines += ["", title]
            for step in steps:
                number += 1
                lines.append(f"{number:4} {render(step)}")
        lines += [""] * bool(self.notes) + [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"
