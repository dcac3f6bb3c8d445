"""Which system calls a plan's filter performs and refuses: read from the filter itself, call by call."""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping

from volt.model.explanation import SECCOMP, CallClaim, Section, Statement
from volt.model.plan import LaunchPlan
from volt.model.steps import BoundCapabilities, FilterCalls
from volt.plan.explain_words import names
from volt.plan.seccomp import ARCHITECTURES, call_numbers
from volt.plan.seccomp_bound import read_profile
from volt.plan.seccomp_profile import Profile, Rule
from volt.plan.seccomp_rules import ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP

# linux/audit.h: AUDIT_ARCH_, of libseccomp's names.
AUDIT = {"X86_64": 0xC000_003E, "X86": 0x4000_0003, "AARCH64": 0xC000_00B7, "ARM": 0x4000_0028}
# A number that no call has, and getpid(2)'s of the 32-bit calls.
NO_CALL = 0x3FFF
GETPID_32 = 20

RUNS = "runs"
KILLS = "kill"
_INSTRUCTION = struct.Struct("<HBBI")
_ACTION = 0xFFFF_0000
_DATA = 0xFFFF
_WORDS = {
    ALLOW: RUNS, LOG: RUNS, TRACE: "traced", TRAP: "SIGSYS", KILL_PROCESS: KILLS, KILL_THREAD: KILLS,
}  # fmt: skip

# linux/bpf_common.h, as libseccomp uses it: struct seccomp_data has the number at 0 and the architecture at 4.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT = 0x05, 0x15, 0x25, 0x35, 0x45


def answers(program: bytes, audit: int, number: int) -> tuple[str, ...]:
    """Everything that the filter can answer to a call, whatever its arguments: "runs", "kill", names of errnos.

    Raises ValueError for an instruction that libseccomp does not write.
    """
    code = list(_INSTRUCTION.iter_unpack(program))
    known = {0: number, 4: audit}
    waiting: list[tuple[int, int | None]] = [(0, 0)]
    seen, found = set(waiting), set()
    while waiting:
        at, value = waiting.pop()
        kind, _, _, operand = code[at]
        if kind == _RETURN:
            found.add(operand)
            continue
        after = known.get(operand) if kind == _LOAD else value
        if kind == _AND and value is not None:
            after = value & operand
        reached = [(target, after) for target in _targets(code[at], at, value)]
        waiting += [each for each in reached if each not in seen]
        seen.update(reached)
    return tuple(sorted({_answer(value) for value in found}, key=lambda word: (word != RUNS, word)))


def _targets(instruction: tuple[int, ...], at: int, value: int | None) -> tuple[int, ...]:
    """Where it can go on: both ways where the value is an argument's."""
    kind, yes, no, operand = instruction
    if kind in (_LOAD, _AND):
        return (at + 1,)
    if kind == _JUMP:
        return (at + 1 + operand,)
    if kind not in (_EQUAL, _GREATER, _AT_LEAST, _ANY_BIT):
        raise ValueError(f"a filter with the instruction {kind:#x}")
    if value is None:
        return (at + 1 + yes, at + 1 + no)
    holds = {
        _EQUAL: value == operand,
        _GREATER: value > operand,
        _AT_LEAST: value >= operand,
        _ANY_BIT: bool(value & operand),
    }[kind]
    return (at + 1 + (yes if holds else no),)


def _answer(value: int) -> str:
    if value & _ACTION == ERRNO:
        return errno.errorcode.get(value & _DATA, f"errno {value & _DATA}")
    return _WORDS.get(value & _ACTION, f"{value:#x}")


def call_section(plan: LaunchPlan, profile: bytes, architecture: str) -> Section:
    """The filter of the plan, in groups that have a reason where `profile`, the text that it was made from, gives one.
    Which calls are in them and what they get is read from the filter."""
    title = "System calls"
    filters = [step for step in plan.payload if isinstance(step, FilterCalls)]
    if not filters:
        return Section("calls", title, (Statement("No system call is refused."),))
    program = filters[-1].filter
    native, compat = (AUDIT[name] for name in ARCHITECTURES[architecture])
    found = {call: answers(program, native, number) for call, number in call_numbers(architecture).items()}
    bounding = [one.caps for one in plan.payload if isinstance(one, BoundCapabilities)]
    read = read_profile(profile)
    refusals = read.refusals if isinstance(read, Profile) else ()
    rules = [one for one in refusals if one.counts(bounding[-1] if bounding else ())]
    return Section(
        "calls",
        title,
        (
            _summary(found),
            *_partly(found),
            *_refused({call: own for call, own in found.items() if RUNS not in own}, rules),
            _unknown(answers(program, native, NO_CALL)),
            _compat(answers(program, compat, GETPID_32)),
        ),
    )


def _summary(found: Mapping[str, tuple[str, ...]]) -> Statement:
    whole = tuple(sorted(call for call, own in found.items() if own == (RUNS,)))
    claims = (CallClaim(whole, (RUNS,)),)
    return Statement(f"Of the {len(found)} system calls that are known here {len(whole)} go through.", (), claims)


def _partly(found: Mapping[str, tuple[str, ...]]) -> Iterator[Statement]:
    some = {call: own for call, own in sorted(found.items()) if RUNS in own and len(own) > 1}
    if some:
        listed = names(
            [f"{call} (else {', '.join(own[1:]).replace(KILLS, 'the process ends')})" for call, own in some.items()]
        )
        claims = tuple(CallClaim((call,), own) for call, own in some.items())
        yield Statement(f"For some of their arguments alone: {listed}.", (SECCOMP,), claims)


def _refused(found: Mapping[str, tuple[str, ...]], rules: Iterable[Rule]) -> Iterator[Statement]:
    left = dict(found)
    for rule in rules:
        own = [call for call in rule.calls if call in left] if not rule.where else []
        yield from _groups({call: left.pop(call) for call in dict.fromkeys(own)}, _reason(rule))
    yield from _groups(left, "")


def _groups(found: Mapping[str, tuple[str, ...]], reason: str) -> Iterator[Statement]:
    """Calls with one reason, by what they get."""
    for own in dict.fromkeys(found.values()):
        calls = tuple(call for call in found if found[call] == own)
        yield Statement(_refusal(calls, own, reason), (SECCOMP,), (CallClaim(calls, own),))


def _refusal(calls: Collection[str], own: tuple[str, ...], reason: str) -> str:
    one = len(calls) == 1
    what = f"end{'s' * one} the process" if own == (KILLS,) else f"answer{'s' * one} {' or '.join(own)}"
    return f"{reason}: {names(list(calls))} {what}." if reason else f"{names(list(calls))} {what}."


def _reason(rule: Rule) -> str:
    """What a rule's reason begins with: the rest is for those who change it."""
    return re.split(r"\. |: |; ", " ".join(rule.reason.split()))[0]


def _unknown(own: tuple[str, ...]) -> Statement:
    words: Mapping[tuple[str, ...], str] = {(RUNS,): "goes through", (KILLS,): "ends the process"}
    what = words.get(own, f"answers {' or '.join(own)}")
    return Statement(f"A call that is not known here {what}.", () if own == (RUNS,) else (SECCOMP,))


def _compat(own: tuple[str, ...]) -> Statement:
    if own == (KILLS,):
        return Statement("A call of a 32-bit program ends it.", (SECCOMP,))
    return Statement("Calls of 32-bit programs go by the same lists.", (SECCOMP,))
