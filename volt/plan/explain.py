"""What a launch plan gives its workload, in plain words: each sentence follows from steps of the plan, or its notes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from volt.model.explanation import Explanation, Section, Statement
from volt.model.plan import LaunchPlan
from volt.model.steps import FilterCalls
from volt.plan.explain_calls import call_section
from volt.plan.explain_files import file_sections
from volt.plan.explain_limits import limits_section, shared_section
from volt.plan.explain_network import network_sections
from volt.plan.explain_places import view
from volt.plan.explain_powers import power_sections
from volt.plan.explain_ready import ready_section
from volt.plan.explain_words import joined, sentence

# Landlock's rights in words.
RIGHTS = {
    "ioctl_dev": "commands to devices",
    "bind_tcp": "binding TCP ports",
    "connect_tcp": "connecting to TCP ports",
    "abstract_unix_socket": "reaching abstract Unix sockets",
    "signal": "signalling processes outside",
    "refer": "moving files from folder to folder",
    "truncate": "cutting files short",
    "make_char": "making character devices",
    "make_block": "making block devices",
}
_LEFT = re.compile(r"security\.landlock_profile: (without|not enforced, as allowed:) (.*)")
_WAIVED = re.compile(r"(resources\.\w+): not enforced, as allowed: (.*)")
_BY_OTHERS = re.compile(r"security\.landlock_profile: (.* by .*)")
_GROUP = re.compile(r"(.*) \((Linux [\d.]+)\)")


def explain(plan: LaunchPlan, profile: bytes, architecture: str) -> Explanation:
    """`profile` is the text that the plan's filter was made from: it gives refusals their reasons, and nothing else.
    `architecture` is uname(2)'s machine. Raises LibraryMissingError where nothing knows the calls' numbers."""
    files = view(plan)
    sections = (
        *file_sections(files),
        *network_sections(plan),
        call_section(plan, profile, architecture),
        *power_sections(plan),
        shared_section(plan, files),
        limits_section(plan, files),
        ready_section(plan),
        left_section(plan),
    )
    return Explanation(plan.name, plan.mode, tuple(one for one in sections if one.statements))


def profile_of(plan: LaunchPlan) -> str:
    """The name or path of the profile that the plan's filter was made from."""
    notes = [step.note for step in plan.payload if isinstance(step, FilterCalls)]
    return notes[-1].partition(" = ")[2] if notes and " = " in notes[-1] else "default"


def left_section(plan: LaunchPlan) -> Section:
    """What does not hold here, what was waived, and whatever else the plan notes."""
    said = [statement for note in plan.notes for statement in _said(note)]
    return Section("unenforced", "What is not enforced, and notes", tuple(said))


def _said(note: str) -> Iterator[Statement]:
    if found := _LEFT.fullmatch(note):
        waived = found[1] != "without"
        for group in found[2].split("; "):
            known = _GROUP.fullmatch(group)
            yield Statement(_not_held(known[1], known[2], waived=waived) if known else sentence(group))
    elif found := _WAIVED.fullmatch(note):
        yield Statement(f"{found[1]} is not held, as the caller allowed: {found[2]}.")
    elif found := _BY_OTHERS.fullmatch(note):
        for group in found[1].split("; "):
            rights, _, wall = group.partition(" by ")
            verb = "withhold" if wall.startswith(("read-only mounts", "mounts", "nftables rules")) else "withholds"
            yield Statement(sentence(f"in Landlock's place {wall} {verb} {_rights(rights)}"))
    else:
        yield Statement(f"{note}.")


def _not_held(rights: str, kernel: str, *, waived: bool) -> str:
    why = "The profile requires it; the caller allowed to go without." if waived else "The profile can do without."
    return f"Nothing here withholds {_rights(rights)}; {kernel} would. {why}"


def _rights(listed: str) -> str:
    return joined([RIGHTS.get(right, right) for right in listed.split(", ")])
