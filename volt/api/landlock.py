"""The Landlock policy of a workload: read for its plan, and the lines of what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.model.facts import ProfileText
from volt.model.modes import LandlockProfile

if TYPE_CHECKING:
    from volt.host.watch import Watch
    from volt.model.findings import Finding
    from volt.model.workload import Workload


def policy_of(workload: Workload, watch: Watch | None) -> ProfileText | None:
    """The policy that the workload names or has by default, None for a custom one that is not named."""
    security = workload.security
    name = security.landlock_profile or LandlockProfile.DEFAULT
    if name == LandlockProfile.CUSTOM:
        return _named(security.landlock_policy, watch) if security.landlock_policy else None
    return _named(name, watch) if "/" in name else _shipped(name, watch)


def _named(path: str, watch: Watch | None) -> ProfileText:
    from volt.api.keeping import stored
    from volt.host.profiles import read_profile

    return read_profile(path, watch, stored)


def _shipped(name: str, watch: Watch | None) -> ProfileText:
    from volt.host.profiles import profile_path, shipped_profile

    if watch:
        watch.file(profile_path("landlock", name))
    return ProfileText(f"landlock/{name}", shipped_profile("landlock", name).decode())


def located(findings: tuple[Finding, ...], policy: ProfileText) -> tuple[Finding, ...]:
    """The findings, those of the policy's file with line and column."""
    from volt.manifest import locate_in

    return locate_in(findings, policy.path, policy.text.encode(), quotable=policy.quotable)
