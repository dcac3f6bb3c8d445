"""An OCI or Docker seccomp.json, taken over exactly as it is or not at all.

Its form is that of the runtime specification's linux.seccomp, with what Docker and podman add to it: names, archMap,
includes, excludes, and errors by name.
"""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any, NoReturn

from volt.model.findings import quote
from volt.model.steps import CAPABILITIES
from volt.model.values import Value
from volt.plan.seccomp_profile import ProfileError
from volt.plan.seccomp_rules import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    KILL_THREAD,
    LAST_ERRNO,
    LOG,
    TRACE,
    TRAP,
    WHOLE,
    Comparison,
    Operator,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_KILL": KILL_THREAD,  # libseccomp's SCMP_ACT_KILL
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
}
NOTIFY = "SCMP_ACT_NOTIFY"
OPERATORS: Mapping[str, Operator] = {
    "SCMP_CMP_EQ": "EQ",
    "SCMP_CMP_NE": "NE",
    "SCMP_CMP_LT": "LT",
    "SCMP_CMP_LE": "LE",
    "SCMP_CMP_GT": "GT",
    "SCMP_CMP_GE": "GE",
}
MASKED = "SCMP_CMP_MASKED_EQ"
ARCHITECTURES = {
    f"SCMP_ARCH_{name}"
    for name in (
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE "
        "S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
    ).split()
}
# What `arches` says: Docker's names, which are libseccomp's; some write Go's.
MACHINES = set(
    "386 x86 amd64 x32 arm arm64 mips mipsle mips64 mips64le mips64n32 mips64p32 mips64p32le mipsel mipsel64 "
    "mipsel64n32 mips3l64n32 ppc ppc64 ppc64le s390 s390x parisc parisc64 riscv64 loong64 loongarch64".split()
)
_TOP = {
    *("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "syscalls", "flags"),
    *("listenerPath", "listenerMetadata", "comment"),
}
_RULE = {"names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"}
_ARGUMENT = {"index", "value", "valueTwo", "op"}
_TERMS = {"caps", "arches", "minKernel"}
_NO_EFFECT = "SECCOMP_FILTER_FLAG_TSYNC"  # other threads too: a payload has none when its filter is installed
_MOST_DATA = 0xFFFF  # seccomp(2): SECCOMP_RET_DATA


class Terms(Value):
    """For which workloads and machines a rule counts. `kernel` is (major, minor)."""

    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    kernel: tuple[int, int] | None = None


class OciRule(Value):
    """One element of `syscalls`, at `place`."""

    place: str
    calls: tuple[str, ...]
    answer: int
    where: tuple[Comparison, ...] = ()
    includes: Terms = Terms()
    excludes: Terms = Terms()

    def counts(self, capabilities: Collection[str], machine: str, kernel: tuple[int, int]) -> bool:
        """Whether the rule counts; `machine` is libseccomp's name."""
        out, needed = self.excludes, self.includes
        excluded = (
            machine in out.arches
            or any(cap in capabilities for cap in out.caps)
            or (out.kernel is not None and kernel >= out.kernel)
        )
        included = (
            (not needed.arches or machine in needed.arches)
            and all(cap in capabilities for cap in needed.caps)
            and (needed.kernel is None or kernel >= needed.kernel)
        )
        return included and not excluded


class OciProfile(Value):
    """A whole document. `kinds` are the architectures that its filter is for beside a native one, by native one:
    with `""` whatever that is."""

    default: int
    rules: tuple[OciRule, ...]
    kinds: Mapping[str, tuple[str, ...]]

    def beside(self, native: str) -> tuple[str, ...]:
        """The architectures whose calls go by the same rules, as SCMP_ARCH_ names."""
        return (*self.kinds.get("", ()), *self.kinds.get(native, ()))


def parse_oci(text: bytes) -> OciProfile:
    """The profile in a JSON text. Raises ProfileError with everything that is wrong with it."""
    reader = _Reader()
    try:
        document = json.loads(text, object_pairs_hook=reader.table, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProfileError([f"this is no JSON: {error}"]) from None
    profile = reader.profile(document)
    if reader.problems or reader.foreign:
        raise ProfileError(reader.problems, reader.foreign)
    return profile


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


class _Reader:
    """Turns JSON values into rules; collects what is wrong and goes on."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.foreign: list[str] = []

    def table(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        self.problems.extend(f"the key {quote(key)} is written twice" for key in {*keys} if keys.count(key) > 1)
        return dict(pairs)

    def profile(self, document: object) -> OciProfile:
        top = self._table("the profile", document, _TOP)
        default = self._answer("", top, "defaultAction", ("defaultErrnoRet", "defaultErrno"))
        rules = tuple(self._rules(top))
        for number, flag in enumerate(self._list("flags", top.get("flags"))):
            if flag != _NO_EFFECT:
                self.foreign.append(f"flags[{number}]: filters are installed without {quote(flag)}")
        for key in ("listenerPath", "listenerMetadata"):
            if top.get(key):
                self.foreign.append(f"{key}: no agent is asked about calls")
        return OciProfile(default, rules, self._kinds(top))

    # ── rules

    def _rules(self, top: dict[str, Any]) -> Iterator[OciRule]:
        for number, element in enumerate(self._list("syscalls", top.get("syscalls"))):
            place = f"syscalls[{number}]"
            rule = self._table(place, element, _RULE)
            yield OciRule(
                place=place,
                calls=self._calls(place, rule),
                answer=self._answer(f"{place}.", rule, "action", ("errnoRet", "errno")),
                where=tuple(self._comparisons(place, rule)),
                includes=self._terms(f"{place}.includes", rule.get("includes")),
                excludes=self._terms(f"{place}.excludes", rule.get("excludes")),
            )

    def _calls(self, place: str, rule: dict[str, Any]) -> tuple[str, ...]:
        names = self._list(f"{place}.names", rule.get("names"))
        if rule.get("name"):
            if names:
                self.problems.append(f"{place}: names and name are both there")
            names = [rule["name"]]
        if not names or not all(isinstance(name, str) and name for name in names):
            self.problems.append(f"{place}: names is missing, empty or no list of names")
            return ()
        return tuple(dict.fromkeys(names))

    def _answer(self, place: str, table: dict[str, Any], key: str, data: tuple[str, str]) -> int:
        """An action with its errno, which is EPERM where none is given."""
        action = table.get(key)
        number = self._errno(place, table, *data)
        if action == NOTIFY:
            self.foreign.append(f"{place}{key}: {NOTIFY} asks an agent, and there is none")
        elif not isinstance(action, str) or action not in ACTIONS:
            known = ", ".join(ACTIONS)
            self.problems.append(f"{place}{key}: {quote(action)} is none of {known}")
        elif ACTIONS[action] not in (ERRNO, TRACE):
            if number is not None:
                self.problems.append(f"{place}{key}: {action} answers no errno, and {data[0]} gives one")
            return ACTIONS[action]
        else:
            code = errno.EPERM if number is None else number
            if code > LAST_ERRNO and action == "SCMP_ACT_ERRNO":
                self.problems.append(f"{place}{data[0]}: {code} is no errno: the highest is {LAST_ERRNO}")
            return ACTIONS[action] | code & _MOST_DATA
        return KILL_PROCESS

    def _errno(self, place: str, table: dict[str, Any], number_key: str, name_key: str) -> int | None:
        """The errno by number, by name (podman), or both ways; None where neither is there."""
        number, name = table.get(number_key), table.get(name_key) or None
        if number is not None and not _is_number(number, _MOST_DATA):
            self.problems.append(f"{place}{number_key}: {quote(number)} is no errno")
            number = None
        if name is None:
            return number
        named = getattr(errno, name, None) if isinstance(name, str) else None
        if not isinstance(named, int):
            self.problems.append(f"{place}{name_key}: {quote(name)} is the name of no errno")
        elif number not in (None, named):
            self.problems.append(f"{place}{name_key}: {name} is {named}, and {number_key} says {number}")
        return named

    # ── arguments

    def _comparisons(self, place: str, rule: dict[str, Any]) -> Iterator[Comparison]:
        seen: set[int] = set()
        for number, element in enumerate(self._list(f"{place}.args", rule.get("args"))):
            at = f"{place}.args[{number}]"
            found = self._comparison(at, self._table(at, element, _ARGUMENT))
            if found is None:
                continue
            if found.argument in seen:
                twice = f"argument {found.argument} is compared twice, which runtimes read as either-or"
                self.foreign.append(f"{at}: {twice}: write two rules")
                continue
            seen.add(found.argument)
            yield found

    def _comparison(self, at: str, table: dict[str, Any]) -> Comparison | None:
        index, value, second, op = (table.get(key, 0) for key in ("index", "value", "valueTwo", "op"))
        if not _is_number(index, 5):
            self.problems.append(f"{at}.index: {quote(index)} is not a number from 0 to 5")
        elif not _is_number(value, WHOLE) or not _is_number(second, WHOLE):
            self.problems.append(f"{at}: value and valueTwo are whole numbers of up to 64 bits")
        elif op == MASKED and second & ~value:
            self.problems.append(f"{at}: valueTwo has bits that the mask in value takes away: it never holds")
        elif op == MASKED:
            return Comparison(index, "EQ", second, value)
        elif isinstance(op, str) and op in OPERATORS:
            return Comparison(index, OPERATORS[op], value)
        else:
            self.problems.append(f"{at}.op: {quote(op)} is none of {', '.join((*OPERATORS, MASKED))}")
        return None

    # ── for whom, and for which machines

    def _terms(self, place: str, value: object) -> Terms:
        table = self._table(place, value or {}, _TERMS)
        caps = self._list(f"{place}.caps", table.get("caps"))
        known = {f"CAP_{name}": name for name in CAPABILITIES}
        self.problems.extend(f"{place}.caps: {quote(cap)} is no capability" for cap in caps if _key(cap) not in known)
        arches = self._list(f"{place}.arches", table.get("arches"))
        self.problems.extend(
            f"{place}.arches: {quote(arch)} is no architecture" for arch in arches if _key(arch) not in MACHINES
        )
        return Terms(
            caps=tuple(known[cap] for cap in caps if _key(cap) in known),
            arches=tuple(arch for arch in arches if _key(arch) in MACHINES),
            kernel=self._kernel(f"{place}.minKernel", table.get("minKernel")),
        )

    def _kernel(self, place: str, value: object) -> tuple[int, int] | None:
        if value in (None, ""):
            return None
        parts = value.split(".") if isinstance(value, str) else []
        if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 4 for part in parts):
            self.problems.append(f"{place}: {quote(value)} is no version of a kernel, as 4.8")
            return None
        return int(parts[0]), int(parts[1])

    def _kinds(self, top: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        if top.get("architectures") and top.get("archMap"):
            self.problems.append("architectures and archMap are both there")
        kinds = {"": self._names("architectures", top.get("architectures"))}
        for number, element in enumerate(self._list("archMap", top.get("archMap"))):
            place = f"archMap[{number}]"
            table = self._table(place, element, {"architecture", "subArchitectures"})
            (native,) = self._names(f"{place}.architecture", [table.get("architecture")]) or ("?",)
            # As Docker: the first one that names an architecture counts.
            kinds.setdefault(native, self._names(f"{place}.subArchitectures", table.get("subArchitectures")))
        return kinds

    def _names(self, place: str, value: object) -> tuple[str, ...]:
        names = self._list(place, value)
        foreign = [name for name in names if _key(name) not in ARCHITECTURES]
        self.problems.extend(f"{place}: {quote(name)} is no architecture, as SCMP_ARCH_X86_64" for name in foreign)
        return tuple(name for name in names if _key(name) in ARCHITECTURES)

    # ── forms

    def _table(self, place: str, value: object, known: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.problems.append(f"{place} is no object")
            return {}
        self.problems.extend(f"{place}: {quote(key)} is not a key here" for key in value if key not in known)
        return value

    def _list(self, place: str, value: object) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.problems.append(f"{place} is no list")
            return []
        return value


def _key(value: object) -> str:
    """A name as a key; what is none is found nowhere."""
    return value if isinstance(value, str) else ""


def _is_number(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
