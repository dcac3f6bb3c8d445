"""Seccomp profiles as data: what one says about each system call, and reading it from its TOML text."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeGuard

import tomli

from volt.model.steps import CAPABILITIES
from volt.model.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

FORMAT = 1

# A refusal answers the name of an errno, or ends the process. What no list names may also be permitted.
KILL = "kill"
PERMIT = "permit"

_LOW_HALF = 0xFFFF_FFFF
_WHOLE = 2**64 - 1
_LAST_ARGUMENT = 5
_PROFILE_KEYS = {"format", "name", "description", "unlisted", "compat", "permit", "refuse", "withhold"}
_RULE_KEYS = {"reason", "calls", "with", "without", "where"}
_WITHHELD_KEYS = {"reason", "calls", "answer"}
_CONDITION_KEYS = {"argument", "mask", "equals"}


class ProfileError(ValueError):
    """A profile's text is no profile; `problems` has one sentence for each mistake, in the text's order. `foreign`
    are those that another runtime could perform, and volt cannot with the same meaning."""

    def __init__(self, problems: Collection[str], foreign: Collection[str] = ()) -> None:
        super().__init__("; ".join((*problems, *foreign)))
        self.problems = tuple(problems)
        self.foreign = tuple(foreign)


class Condition(Value):
    """The call's argument number `argument` (0 to 5), cut to `mask`, is one of `equals`."""

    argument: int
    mask: int
    equals: tuple[int, ...]


class Rule(Value):
    """Calls that are permitted, or answered `answer`, if every condition of `where` holds, for a workload
    that has all capabilities of `having` and none of `lacking`."""

    calls: tuple[str, ...]
    reason: str
    answer: str = ""
    where: tuple[Condition, ...] = ()
    having: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def counts(self, capabilities: Collection[str]) -> bool:
        """Whether the rule counts for a workload with these capabilities."""
        return all(cap in capabilities for cap in self.having) and not any(cap in capabilities for cap in self.lacking)


class Profile(Value):
    """For each call: refusals by argument first, then permits, then the other refusals, else `unlisted`, which
    may also be `permit`.

    `compat`: the 32-bit calls of the same kernel go by the same rules; otherwise they end the process, as
    calls of every other architecture do.
    """

    name: str
    description: str
    unlisted: str
    compat: bool
    permits: tuple[Rule, ...]
    refusals: tuple[Rule, ...]


def parse_profile(text: bytes) -> Profile:
    """The profile in a TOML text, of the form that profiles/seccomp/default.toml explains.

    Raises ProfileError with everything that is wrong with it.
    """
    try:
        table = tomli.loads(text.decode())
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise ProfileError([str(error)]) from None
    reader = _Reader()
    profile = reader.profile(table)
    if reader.problems:
        raise ProfileError(reader.problems)
    return profile


class _Reader:
    """Turns tables into rules; collects what is wrong and goes on."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def profile(self, table: dict[str, Any]) -> Profile:
        if table.get("format") != FORMAT:
            self.problems.append(f"format is {table.get('format')!r}; this volt reads format {FORMAT}")
        self._keys("the profile", table, _PROFILE_KEYS)
        compat = table.get("compat", "filter")
        if compat not in ("filter", KILL):
            self.problems.append(f"compat is {compat!r}; write 'filter' or '{KILL}'")
        permits = tuple(self._rules(table, "permit", _RULE_KEYS))
        refusals = tuple(self._rules(table, "refuse", {*_RULE_KEYS, "answer"}))
        self._contradictions(permits, refusals)
        withheld = tuple(self._rules(table, "withhold", _WITHHELD_KEYS))
        self._contradictions((), withheld)
        permits, refusals = _without(permits, withheld), (*_without(refusals, withheld), *withheld)
        return Profile(
            name=self._string("the profile", table, "name"),
            description=self._string("the profile", table, "description"),
            unlisted=PERMIT if table.get("unlisted") == PERMIT else self._answer("the profile", table, "unlisted"),
            compat=compat == "filter",
            permits=permits,
            refusals=refusals,
        )

    def _rules(self, table: dict[str, Any], kind: str, keys: set[str]) -> Iterator[Rule]:
        entries = table.get(kind, [])
        if not isinstance(entries, list):
            self.problems.append(f"{kind} is not a list: write [[{kind}]]")
            return
        for number, entry in enumerate(entries, 1):
            place = f"[[{kind}]] number {number}"
            if not isinstance(entry, dict):
                self.problems.append(f"{place} is not a table")
                continue
            self._keys(place, entry, keys)
            yield Rule(
                calls=self._calls(place, entry),
                reason=self._string(place, entry, "reason"),
                answer=self._answer(place, entry, "answer") if "answer" in keys else "",
                where=tuple(self._conditions(place, entry)),
                having=self._capabilities(place, entry, "with"),
                lacking=self._capabilities(place, entry, "without"),
            )

    def _keys(self, place: str, table: dict[str, Any], known: set[str]) -> None:
        self.problems.extend(f"{place}: '{key}' is not a key here" for key in table if key not in known)

    def _string(self, place: str, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
        self.problems.append(f"{place}: {key} is missing, empty or not text")
        return ""

    def _calls(self, place: str, entry: dict[str, Any]) -> tuple[str, ...]:
        calls = self._string(place, entry, "calls").split()
        twice = sorted({call for call in calls if calls.count(call) > 1})
        self.problems.extend(f"{place}: {call} is named twice" for call in twice)
        return tuple(calls)

    def _answer(self, place: str, table: dict[str, Any], key: str) -> str:
        answer = self._string(place, table, key)
        if answer and answer != KILL and not hasattr(errno, answer):
            self.problems.append(f"{place}: {key} {answer!r} is neither the name of an errno nor '{KILL}'")
        return answer

    def _capabilities(self, place: str, entry: dict[str, Any], key: str) -> tuple[str, ...]:
        names = entry.get(key, [])
        if not isinstance(names, list) or (key in entry and not names):
            self.problems.append(f"{place}: {key} is not a list of capabilities")
            return ()
        foreign = [name for name in names if name not in CAPABILITIES]
        self.problems.extend(f"{place}: {key} names {name!r}, which is no capability" for name in foreign)
        return tuple(name for name in names if name in CAPABILITIES)

    def _conditions(self, place: str, entry: dict[str, Any]) -> Iterator[Condition]:
        entries = entry.get("where", [])
        if not isinstance(entries, list) or ("where" in entry and not entries):
            self.problems.append(f"{place}: where is not a list of conditions")
            return
        seen: set[int] = set()
        for item in entries:
            condition = self._condition(place, item)
            if condition is None:
                continue
            if condition.argument in seen:
                self.problems.append(f"{place}: argument {condition.argument} has two conditions")
                continue
            seen.add(condition.argument)
            yield condition

    def _condition(self, place: str, item: object) -> Condition | None:
        if not isinstance(item, dict):
            self.problems.append(f"{place}: a condition is not a table")
            return None
        self._keys(f"{place}, where", item, _CONDITION_KEYS)
        argument, mask = item.get("argument"), item.get("mask", _LOW_HALF)
        equals = item.get("equals")
        values: list[Any] = equals if isinstance(equals, list) else [equals]
        if not _is_number(argument, _LAST_ARGUMENT):
            self.problems.append(f"{place}: argument {argument!r} is not a number from 0 to {_LAST_ARGUMENT}")
        elif not _is_number(mask, _WHOLE) or not mask:
            self.problems.append(f"{place}: mask {mask!r} is not a number of up to 64 bits")
        elif not values or not all(_is_number(value, mask) and not value & ~mask for value in values):
            self.problems.append(f"{place}: equals {equals!r} has bits that the mask takes away, or no number")
        else:
            return Condition(argument, mask, tuple(dict.fromkeys(values)))
        return None

    def _contradictions(self, permits: tuple[Rule, ...], refusals: tuple[Rule, ...]) -> None:
        """A call that is always permitted cannot be refused, nor refused in two ways."""
        always = {call for rule in permits if not (rule.where or rule.having or rule.lacking) for call in rule.calls}
        seen: set[str] = set()
        for rule in refusals:
            for call in () if rule.where else rule.calls:
                if call in always:
                    self.problems.append(f"{call} is permitted without condition, and refused: {rule.reason}")
                if call in seen:
                    self.problems.append(f"{call} is refused twice; the second time: {rule.reason}")
                seen.add(call)


def _without(rules: tuple[Rule, ...], withheld: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules without the calls that others withhold, whatever these rules say of them."""
    gone = {call for rule in withheld for call in rule.calls}
    left = (replace(rule, calls=tuple(call for call in rule.calls if call not in gone)) for rule in rules)
    return tuple(rule for rule in left if rule.calls)


def _is_number(value: object, most: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= most
