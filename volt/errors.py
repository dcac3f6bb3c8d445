"""The whole exception tree: everything volt raises on purpose.

VoltError                what went wrong, and what to do next
├── ManifestError        the findings of every file that was read
├── HostUnfit            what the plan needs and this machine lacks
│   └── PolicyError      the machine's policy is not root's alone, or not understood: nothing is launched
├── LaunchError          a step of the launch failed; names the step and the cause
├── StateError           volt's own files are unreadable, foreign or from another version
│   └── NoSuchRun        no workload is called so, and no run
├── StoreError           the store cannot take, give or trust something: which, and why
│   └── NoSuchImage      no image of this machine is called so
├── RegistryError        a registry cannot be reached, refuses, or gives what it should not
│   ├── WrongContent     it gives other bytes than were asked for, or something that is of no kind known here
│   └── NoSuchManifest   it has no image, and no signatures, under this tag or digest
├── NetworkError         a network cannot be made, shown or taken away: why
│   └── NoSuchNetwork    no network of this machine is called so
└── SomeFailed           of several workloads that were named: what was done, and what failed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volt.model.findings import Finding
    from volt.model.run import Outcome
    from volt.model.values import Value


class VoltError(Exception):
    """A failure that volt explains: raised once, never logged, shown once by the command line."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _count(problems: int) -> str:
    return f"{problems} problem{'s' if problems != 1 else ''}"


class ManifestError(VoltError):
    """A manifest, or a chain of them, has problems: all of them, in file order."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{_count(sum(1 for finding in findings if finding.severity == 'error'))} found")
        self.findings = tuple(findings)


class HostUnfit(VoltError):
    """The plan needs something that this machine does not have."""


class PolicyError(HostUnfit):
    """The policy of this machine cannot be trusted or understood: all that is wrong with it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"the policy of this machine cannot be applied: {_count(len(findings))} found")
        self.findings = tuple(findings)


class LaunchError(VoltError):
    """A step of the launch failed; what came before it has been undone.

    `outcome` is the static program's own report: the step, its number, the error.
    """

    def __init__(self, message: str, *, hint: str = "", outcome: Outcome | None = None) -> None:
        super().__init__(message, hint=hint)
        self.outcome = outcome


class StateError(VoltError):
    """A file of volt's own state cannot be trusted or understood."""


class NoSuchRun(StateError):
    """Nothing that runs, or has run and was kept, is called so."""


class StoreError(VoltError):
    """The store cannot take, give or trust an object, a tree or an image."""


class RegistryError(VoltError):
    """A registry cannot be reached, refuses, or gives what it should not."""


class WrongContent(RegistryError):
    """A registry gives what is not what was asked for; it can be reached, and of others that says nothing."""


class NoSuchManifest(RegistryError):
    """A registry has nothing under a tag or a digest."""


class NoSuchImage(StoreError):
    """No image of this machine is called so, and no tree."""


class NetworkError(VoltError):
    """A network of this machine cannot be made, shown or taken away."""


class NoSuchNetwork(NetworkError):
    """No network of this machine is called so."""


class SomeFailed(VoltError):
    """Of several workloads that were named some failed: `done` are the others, `failed` each word with its error."""

    def __init__(self, done: Sequence[Value], failed: Sequence[tuple[str, VoltError]]) -> None:
        super().__init__("; ".join(f"{word}: {error.message}" for word, error in failed))
        self.done = tuple(done)
        self.failed = tuple(failed)
