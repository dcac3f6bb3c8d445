"""A profile for one workload on one machine: its rules in the order in which they count."""

from __future__ import annotations

import errno
from itertools import product
from typing import TYPE_CHECKING

from volt.plan.seccomp_oci import OciProfile, OciRule, parse_oci
from volt.plan.seccomp_profile import KILL, PERMIT, Profile, Rule, parse_profile
from volt.plan.seccomp_rules import ALLOW, ERRNO, KILL_PROCESS, Comparison, Entry, Rules, layered, overlap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

# uname(2)'s machine → libseccomp's names for it and for the 32-bit calls of the same kernel; Docker's name for it.
ARCHITECTURES: Mapping[str, tuple[str, str]] = {"x86_64": ("X86_64", "X86"), "aarch64": ("AARCH64", "ARM")}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_X32 = "SCMP_ARCH_X32"

# What reaches past every wall: `unconfined` refuses it whatever the capabilities.
FLOOR = (
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "reboot"),
    *("swapon", "swapoff", "open_by_handle_at"),
)


def read_profile(text: bytes) -> Profile | OciProfile:
    """The profile in a text of either form: JSON begins with a brace, and TOML cannot. Raises ProfileError."""
    own = text.removeprefix(b"\xef\xbb\xbf")
    return parse_oci(own) if own.lstrip().startswith(b"{") else parse_profile(own)


def bound_rules(
    profile: Profile | OciProfile, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> Rules:
    """The rules for a payload with `capabilities` (names without CAP_); `architecture` is one of ARCHITECTURES."""
    if isinstance(profile, Profile):
        return _own(profile, capabilities)
    native, compat = (f"SCMP_ARCH_{name}" for name in ARCHITECTURES[architecture])
    entries = [
        Entry(call, rule.answer, rule.where)
        for rule in _counting(profile, capabilities, architecture, kernel)
        for call in rule.calls
    ]
    return Rules(layered(entries, profile.default), profile.default, compat in profile.beside(native))


def conflicts(
    profile: Profile | OciProfile, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> list[str]:
    """Rules of an OCI document that answer some arguments in two ways, where what counts is not their order alone.

    The runtimes hand them to libseccomp one by one, without those that answer as the default does; and there a rule
    without arguments takes the place of those with arguments before it. Read in order the document says another thing.
    """
    if isinstance(profile, Profile):
        return []
    found: dict[tuple[str, str], list[str]] = {}
    seen: dict[str, list[OciRule]] = {}
    for rule in _counting(profile, capabilities, architecture, kernel):
        for call in rule.calls:
            for before in seen.setdefault(call, []):
                if _differ(before, rule, profile.default):
                    found.setdefault((before.place, rule.place), []).append(call)
            seen[call].append(rule)
    return [
        f"{one} and {other} answer {', '.join(calls)} in two ways, and runtimes do not go by their order"
        for (one, other), calls in found.items()
    ]


def _differ(before: OciRule, rule: OciRule, default: int) -> bool:
    if rule.answer in (before.answer, default):
        return False
    first_stays = not before.where and before.answer != default
    return not first_stays and overlap(before.where, rule.where)


def remarks(profile: Profile | OciProfile, rules: Rules, architecture: str) -> Iterator[str]:
    """What is worth knowing of a profile here, and forbids nothing."""
    native = f"SCMP_ARCH_{ARCHITECTURES[architecture][0]}"
    if isinstance(profile, OciProfile) and _X32 in profile.beside(native):
        yield f"x32 calls end the process, though the profile lists {_X32}"
    if through := [call for call in FLOOR if rules.permits(call)]:
        yield f"permits {', '.join(through)}, which even unconfined refuses"


def _counting(
    profile: OciProfile, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> list[OciRule]:
    return [rule for rule in profile.rules if rule.counts(capabilities, _MACHINES[architecture], kernel)]


def _own(profile: Profile, capabilities: Collection[str]) -> Rules:
    """Three layers: refusals by argument, permits, the other refusals."""
    refusals = tuple(_entries(profile.refusals, capabilities))
    layers = (
        tuple(entry for entry in refusals if entry.where),
        tuple(_entries(profile.permits, capabilities)),
        tuple(entry for entry in refusals if not entry.where),
    )
    return Rules(layers, _answer(profile.unlisted), profile.compat)


def _answer(answer: str) -> int:
    """The SECCOMP_RET_ value of a rule's answer; empty for a permit."""
    if answer in ("", PERMIT):
        return ALLOW
    if answer == KILL:
        return KILL_PROCESS
    return ERRNO | int(getattr(errno, answer))


def _entries(rules: Iterable[Rule], capabilities: Collection[str]) -> Iterator[Entry]:
    for rule in rules:
        if rule.counts(capabilities):
            answer, choices = _answer(rule.answer), tuple(_choices(rule))
            yield from (Entry(call, answer, where) for call in rule.calls for where in choices)


def _choices(rule: Rule) -> Iterator[tuple[Comparison, ...]]:
    """Every way in which a rule's conditions can hold."""
    for values in product(*(condition.equals for condition in rule.where)):
        yield tuple(
            Comparison(condition.argument, "EQ", value, condition.mask)
            for condition, value in zip(rule.where, values, strict=True)
        )
