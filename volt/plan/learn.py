"""From what a command was seen to do to the rules that may be needed for it, and from rules to policies in TOML."""

from __future__ import annotations

import posixpath
import textwrap
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from volt.model.landlock import FILES, KERNELS, PORTS, SCOPES, abi_of
from volt.model.values import Value
from volt.plan.seccomp_profile import KILL, PERMIT, Condition, Profile, Rule
from volt.plan.traced import EXECUTED, Traced

# Programs that the kernel opens by itself, for programs of these C libraries; one that is not there gives nothing.
LOADERS = (
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
)
WIDTH = 110  # characters of a line of names
OLDEST = 2  # the ABI of the oldest kernel that volt runs on
_HEADER = """\
# Written by volt learn: what one command needed, and nothing else. Read it before you use it: another input may need
# more, and a right that is here may be one that you do not want to give.

"""
_WHY = {
    "execute": "What is run",
    "write_file": "What is written",
    **{right: "Where something is made, moved or removed" for right in FILES if right.startswith(("make_", "remove_"))},
    "read_file": "What is read",
    "read_dir": "Folders that are listed",
}


class Access(Value):
    """One rule of a Landlock policy: a right beneath a path, or to a port."""

    place: str | int
    right: str


class Answer(Value):
    """One rule of a seccomp profile: a call that is permitted, or refused with `answer`, where its arguments are so."""

    call: str
    answer: str = ""
    where: tuple[Condition, ...] = ()


def accesses(traced: Traced, programs: Iterable[str], abi: int, whole: Collection[str]) -> tuple[Access, ...]:
    """Every rule that may be needed on a kernel with this ABI, what is likely not to be first, then what gives much.

    `programs` are interpreters and loaders of what was executed; what lies beneath a folder of `whole` is one place.
    """
    known = {right for right in (*FILES, *PORTS) if abi_of(right) <= abi}
    extra = {(path, right) for path in (*programs, *LOADERS) for right in EXECUTED}
    first = {_place(path, whole, right) for path, right in traced.unlikely}
    likely = {_place(path, whole, right) for path, right in traced.paths | extra}
    paths: list[tuple[str | int, str]] = [*sorted(first - likely, key=_order), *sorted(likely, key=_order)]
    ordered = [*paths, *sorted(traced.ports)]
    return tuple(Access(place, right) for place, right in ordered if right in known)


def everything(abi: int) -> tuple[Access, ...]:
    """For what could not be seen in full: all rights beneath the root."""
    return tuple(Access("/", right) for right in FILES if abi_of(right) <= abi)


def _place(path: str, whole: Collection[str], right: str) -> tuple[str, str]:
    above = [folder for folder in whole if path == folder or path.startswith(folder.rstrip("/") + "/")]
    return min(above, key=len, default=path), right


def _order(rule: tuple[str, str]) -> tuple[int, str, int]:
    path, right = rule
    return (0 if path == "/" else path.count("/")), path, FILES.index(right)


def answers(traced: Traced, base: Profile, capabilities: Collection[str]) -> tuple[Answer, ...]:
    """What the profile in force says about each call that was seen, as rules that can be gone without one by one."""
    found: dict[Answer, None] = {}
    for call in sorted(traced.calls):
        said = [Answer(call, "", rule.where) for rule in _about(call, base.permits, capabilities)]
        plain = [one for one in said if not one.where]
        said = plain[:1] or said
        if not plain:
            refused = [rule for rule in _about(call, base.refusals, capabilities) if not rule.where]
            said += [Answer(call, rule.answer) for rule in refused[:1]]
        if not said and base.unlisted != KILL:
            said = [Answer(call, "" if base.unlisted == PERMIT else base.unlisted)]
        found |= dict.fromkeys(said)
    return tuple(found)


def _about(call: str, rules: Iterable[Rule], capabilities: Collection[str]) -> Iterator[Rule]:
    return (rule for rule in rules if call in rule.calls and rule.counts(capabilities))


def policy_text(rules: Collection[Access], abi: int, *, scoped: Collection[str]) -> str:
    """The Landlock policy that gives these rules and withholds all else that a kernel with this ABI can."""
    known = [right for right in (*FILES, *PORTS, *scoped) if abi_of(right) <= abi]
    document: dict[str, Any] = {
        "description": "What one command needed, and nothing else",
        "abi": min(abi, max(KERNELS)),
        "ruleset": [_ruleset(known, oldest=True), *_newer(known)],
    }
    paths = _by_rights((str(rule.place), rule.right) for rule in rules if rule.right in FILES)
    ports = _by_rights((str(rule.place), rule.right) for rule in rules if rule.right in PORTS)
    if paths:
        document["path_beneath"] = [
            {"reason": _why(rights), "enforce": "use", "parent": places, "allowed_access": list(rights)}
            for rights, places in paths
        ]
    if ports:
        document["net_port"] = [
            {
                "reason": "Ports of TCP",
                "enforce": "use",
                "port": [int(place) for place in places],
                "allowed_access": [*rights],
            }
            for rights, places in ports
        ]
    return _written(document)


def _newer(known: Collection[str]) -> list[dict[str, Any]]:
    table = _ruleset(known, oldest=False)
    return [table] if len(table) > 2 else []


def _ruleset(known: Collection[str], *, oldest: bool) -> dict[str, Any]:
    """What every kernel has is required; what newer ones have besides holds where they have it."""
    rights = [right for right in known if (abi_of(right) <= OLDEST) == oldest]
    reason = "What is not given below is withheld" if oldest else "The same, of what only newer kernels can withhold"
    table: dict[str, Any] = {"reason": reason, "enforce": "require" if oldest else "use"}
    kinds = {"handled_access_fs": FILES, "handled_access_net": PORTS, "scoped": SCOPES}
    return table | {key: found for key, kind in kinds.items() if (found := [one for one in kind if one in rights])}


def _by_rights(rules: Iterable[tuple[str, str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Places that have the same rights, in one table."""
    rights: dict[str, set[str]] = {}
    for place, right in rules:
        rights.setdefault(place, set()).add(right)
    tables: dict[tuple[str, ...], list[str]] = {}
    for place in sorted(rights, key=lambda one: (int(one), "") if one.isdecimal() else (0, one)):
        ordered = tuple(right for right in (*FILES, *PORTS) if right in rights[place])
        tables.setdefault(ordered, []).append(place)
    return sorted(tables.items(), key=lambda table: table[1])


def _why(rights: Collection[str]) -> str:
    return next((why for right, why in _WHY.items() if right in rights), "What is used")


def profile_text(rules: Collection[Answer], base: Profile, capabilities: Collection[str]) -> str:
    """The seccomp profile of these rules. Refusals by argument of the profile in force stay in it: nothing is permitted
    that was not; what no rule names ends the process."""
    calls = {rule.call for rule in rules}
    floor = [
        _rule(tuple(call for call in rule.calls if call in calls), rule.where, rule.answer, rule.reason)
        for rule in base.refusals
        if rule.where and rule.counts(capabilities) and calls & {*rule.calls}
    ]
    permits = [rule for rule in rules if not rule.answer]
    plain = tuple(rule.call for rule in permits if not rule.where)
    document: dict[str, Any] = {
        "format": 1,
        "name": "learned",
        "description": "What one command called; whatever else is called ends the process",
        "unlisted": KILL,
        "compat": KILL,
        "permit": [_rule(plain, (), "", "Calls that were made")] if plain else [],
    }
    document["permit"] += [_rule((one.call,), one.where, "", "Made, as it may be") for one in permits if one.where]
    refused = {rule.answer: [one.call for one in rules if one.answer == rule.answer] for rule in rules if rule.answer}
    document["refuse"] = floor + [
        _rule(tuple(named), (), answer, "Tried, and gone without") for answer, named in refused.items()
    ]
    return _written({key: value for key, value in document.items() if value})


def _rule(calls: tuple[str, ...], where: tuple[Condition, ...], answer: str, reason: str) -> dict[str, Any]:
    table: dict[str, Any] = {"reason": reason}
    if answer:
        table["answer"] = answer
    table["calls"] = f"{textwrap.fill(' '.join(calls), WIDTH)}\n" if len(calls) > 1 else calls[0]
    if where:
        table["where"] = [{"argument": one.argument, "mask": one.mask, "equals": [*one.equals]} for one in where]
    return table


def _written(document: dict[str, Any]) -> str:
    import tomli_w

    return _HEADER + tomli_w.dumps(document, multiline_strings=True)


def interpreters(heads: Iterable[bytes]) -> tuple[str, ...]:
    """What the kernel opens to run programs that begin so: the interpreter of a script, the loader of an ELF file."""
    found = (_interpreter(head) for head in heads)
    return tuple(dict.fromkeys(path for path in found if path.startswith("/") and path.isprintable()))


def _interpreter(head: bytes) -> str:
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n")[0].split()
        return words[0].decode(errors="replace") if words else ""
    if not head.startswith(b"\x7fELF\x02\x01"):  # 64 bits, little endian: the machines that volt runs on
        return ""

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], "little")

    start, size, count = number(32, 8), number(54, 2), number(56, 2)
    for at in range(start, min(start + size * count, len(head)), size or 1):
        if number(at, 4) == 3:  # PT_INTERP: elf(5)
            offset, length = number(at + 8, 8), number(at + 32, 8)
            return posixpath.normpath(head[offset : offset + max(0, length - 1)].decode(errors="replace"))
    return ""
