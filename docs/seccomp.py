"""Writes docs/reference/seccomp.md: Docker's default profile and volt's, call by call. By hand, with Docker's file:

    .venv/bin/python docs/seccomp.py default.json "seccomp/v0.2.3 of github.com/moby/profiles"

Of that file the page keeps a fact for each call, and nothing else; a test says when volt's side of it is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from volt.plan.seccomp_oci import OciProfile, OciRule, parse_oci
from volt.plan.seccomp_profile import Profile, Rule, parse_profile
from volt.plan.seccomp_rules import ALLOW, MULTIPLEXED

PROFILES = Path(__file__).parents[1] / "profiles/seccomp"
PAGE = Path(__file__).parent / "reference/seccomp.md"
KERNEL = (9, 99)  # newer than every minKernel
MACHINES = ("amd64", "arm64")  # those that volt runs on; x86 and arm are their 32-bit calls
ALLOWED, REFUSED, CONDITIONAL = "allowed", "refused", "conditional"

HEAD = """\
# System calls

<!-- Written by docs/seccomp.py from profiles/seccomp and Docker's default profile. -->

What Docker's default profile says of each call, and what volt's do. *allowed*: whatever the arguments and capabilities.
*conditional*: for some arguments, or with one of the capabilities that are named; equal conditions need not be equal
arguments. *refused* has the answer, where a profile of volt's names the call; `–` stands in no list, and so is answered
with ENOSYS by `default`, and ends the process under `strict`. `unconfined` refuses a floor alone:
[its file](../../profiles/seccomp/unconfined.toml) names it with its reasons. Why volt's default decides as it does:
[the filter of system calls](../explanation/seccomp.md).

Docker's side: {source}.
"""
COLUMNS = "| call | Docker | volt default | strict |"


def main() -> int:
    """Write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("profile", type=Path, help="Docker's default.json")
    options.add_argument("source", help="where that file is from, in words")
    given = options.parse_args()
    PAGE.write_text(page(docker_states(parse_oci(given.profile.read_bytes())), given.source))
    return 0


def page(docker: Mapping[str, str], source: str) -> str:
    """The whole page, from Docker's side of it."""
    default, strict = (parse_profile((PROFILES / f"{name}.toml").read_bytes()) for name in ("default", "strict"))
    calls = sorted({*docker, *named(default)})
    differ, same = [], []
    for call in calls:
        theirs, ours = docker.get(call, REFUSED), state(default, call)
        cells = f"| `{call}` | {theirs} | {ours} | {state(strict, call)} |"
        if kind(theirs) == kind(ours):
            same.append(cells)
        else:
            differ.append(f"{cells} {cell(reason(default, call))} |")
    lines = [HEAD.format(source=source), "## Where the two defaults differ", ""]
    lines += [f"{COLUMNS} why |", "| --- | --- | --- | --- | --- |", *differ, ""]
    lines += ["## Where they are the same", "", COLUMNS, "| --- | --- | --- | --- |", *same]
    return "\n".join(lines) + "\n"


def docker_side(text: str) -> tuple[dict[str, str], str]:
    """Docker's side of a page that was written, and where it is from."""
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    source = text.partition("Docker's side: ")[2].partition(".\n")[0]
    return {row[0].strip("|` "): row[1] for row in rows}, source


def kind(words: str) -> str:
    """A state without what tells refusals apart."""
    return REFUSED if words == "–" or words.startswith(REFUSED) else words


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return text.replace("|", "\\|")


def named(profile: Profile) -> set[str]:
    """Every call that a profile of volt's names."""
    return {call for rule in (*profile.permits, *profile.refusals) for call in rule.calls}


# ── what a profile says of a call


def docker_states(profile: OciProfile) -> dict[str, str]:
    """A state for each call that the profile names for these machines."""
    rules = [rule for rule in profile.rules if any(_for(rule, machine) for machine in MACHINES)]
    calls = {call for rule in rules for call in rule.calls}
    return {call: _docker_state([rule for rule in rules if call in rule.calls]) for call in calls}


def _for(rule: OciRule, machine: str) -> bool:
    return rule.counts(rule.includes.caps, machine, KERNEL)


def _docker_state(rules: Iterable[OciRule]) -> str:
    return _words((rule.includes.caps, bool(rule.where)) for rule in rules if rule.answer == ALLOW)


def state(profile: Profile, call: str) -> str:
    """What a profile of volt's says of a call."""
    refusals = [rule for rule in profile.refusals if call in rule.calls]
    narrowed = any(rule.where for rule in refusals)
    words = _words((rule.having, bool(rule.where) or narrowed) for rule in profile.permits if call in rule.calls)
    if words != REFUSED:
        return words
    if profile.compat and any(state(profile, inner) == ALLOWED for inner in _passing(call)):
        return f"{CONDITIONAL}: arguments"
    return f"{REFUSED}: {refusals[0].answer}" if refusals else "–"


def _passing(call: str) -> list[str]:
    """What goes through a multiplexer."""
    return [inner for inner, (door, _) in MULTIPLEXED.items() if door == call]


def _words(permits: Iterable[tuple[tuple[str, ...], bool]]) -> str:
    """The state that permits come to: each with the capabilities that it takes, and whether it looks at arguments."""
    found = list(permits)
    if any(not caps and not looks for caps, looks in found):
        return ALLOWED
    conditions = ["arguments"] if any(looks for _, looks in found) else []
    conditions += sorted({" and ".join(caps) for caps, _ in found if caps})
    return f"{CONDITIONAL}: {', '.join(conditions)}" if conditions else REFUSED


def reason(profile: Profile, call: str) -> str:
    """Why volt's default decides as it does: its own words for what it refuses, else for what it permits."""
    found = "; ".join(dict.fromkeys(rule.reason for rule in _reasons(profile, call)))
    return found or "No call of these machines"


def _reasons(profile: Profile, call: str) -> Iterator[Rule]:
    refusals = [rule for rule in profile.refusals if call in rule.calls]
    yield from refusals or (rule for rule in profile.permits if call in rule.calls)


if __name__ == "__main__":
    sys.exit(main())
