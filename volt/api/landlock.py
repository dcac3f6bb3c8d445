"""The Landlock policy of a workload: read for its plan, and the lines of what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.model.findings import Finding
from volt.model.landlock import LandlockText
from volt.model.modes import LandlockProfile

if TYPE_CHECKING:
    from volt.host.watch import Watch
    from volt.model.workload import Workload


class PolicyFile:
    """What was read, and whether whoever called sudo may be shown it."""

    def __init__(self, text: LandlockText, *, quotable: bool = True) -> None:
        self.text = text
        self.quotable = quotable

    def locate(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings, those of this file with line and column."""
        from volt.manifest import locate_in

        return locate_in(findings, self.text.name, self.text.text.encode(), quotable=self.quotable)


def policy_of(workload: Workload, watch: Watch | None) -> PolicyFile | None:
    """The policy that the workload names or has by default, None for a custom one that is not named."""
    security = workload.security
    name = security.landlock_profile or LandlockProfile.DEFAULT
    if name == LandlockProfile.CUSTOM:
        return _read(security.landlock_policy, watch) if security.landlock_policy else None
    return _read(name, watch) if "/" in name else _shipped(name, watch)


def _shipped(name: str, watch: Watch | None) -> PolicyFile:
    from volt.host.profiles import profile_path, shipped_profile

    if watch:
        watch.file(profile_path("landlock", name))
    return PolicyFile(LandlockText(f"landlock/{name}", shipped_profile("landlock", name).decode()))


def _read(path: str, watch: Watch | None) -> PolicyFile:
    from volt.host.files import MOST
    from volt.host.sources import FileSources

    sources = FileSources(watch)
    try:
        data = sources.read(path)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return PolicyFile(LandlockText(path, problem="it is not UTF-8"))
    except OSError as error:
        return PolicyFile(LandlockText(path, problem=error.strerror or str(error)))
    if len(data) > MOST:
        return PolicyFile(LandlockText(path, problem="it is longer than 1 MiB"))
    return PolicyFile(LandlockText(path, text), quotable=sources.quotable(path))
