"""What a plan refuses of a seccomp profile that the manifest names by its path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from volt.model.facts import Facts
from volt.model.findings import Finding
from volt.model.workload import Workload
from volt.plan.capabilities import payload_sets

KEY = "security.seccomp_profile"
MOST = 20  # findings of one profile


def check_profile(workload: Workload, facts: Facts) -> Iterator[Finding]:
    """Everything that is wrong with the profile's file, and every rule that cannot be kept as it is meant."""
    found, path = facts.seccomp, workload.security.seccomp_profile
    if found is None:
        return
    if found.problem:
        hint = "make it first, or correct the path"
        yield Finding("bad-seccomp-file", KEY, f"{path} {found.problem}", hint)
        return
    from volt.plan.seccomp_bound import ARCHITECTURES, conflicts, read_profile
    from volt.plan.seccomp_profile import ProfileError

    try:
        profile = read_profile(found.text.encode())
    except ProfileError as error:
        yield from _bad(error.problems, facts)
        yield from refused(error.foreign, facts)
        return
    if facts.architecture in ARCHITECTURES:
        capabilities = payload_sets(workload, 0).bounding
        yield from refused(conflicts(profile, capabilities, facts.architecture, facts.kernel), facts)


def _bad(problems: Sequence[str], facts: Facts) -> Iterator[Finding]:
    for message in _told(problems, facts):
        hint = "write a profile as profiles/seccomp/default.toml explains, or an OCI seccomp.json"
        yield Finding("bad-seccomp-file", KEY, message, hint)


def refused(problems: Sequence[str], facts: Facts) -> tuple[Finding, ...]:
    """Findings for rules that would not mean here what they mean elsewhere."""
    hint = "change the profile: nothing of it is left out or weakened in silence"
    return tuple(Finding("unkept-seccomp-rule", KEY, message, hint) for message in _told(problems, facts))


def _told(problems: Sequence[str], facts: Facts) -> Iterator[str]:
    """Messages with the file's name; of a file that sudo's user cannot read, no word of what is in it."""
    found = facts.seccomp
    path = found.path if found else "the profile"
    if problems and found and not found.quotable:
        yield f"{path}: what is wrong is not shown: the user who called sudo cannot read this file"
        return
    for problem in problems[:MOST]:
        yield f"{path}: {problem}"
    if len(problems) > MOST:
        yield f"{path}: and {len(problems) - MOST} more"
