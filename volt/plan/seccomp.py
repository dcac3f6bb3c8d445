"""The payload's filter of system calls: a seccomp profile, for given capabilities, as a BPF program."""

from __future__ import annotations

import errno
import os
import struct
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from volt.errors import HostUnfit
from volt.plan.seccomp_profile import KILL, Condition, Profile, ProfileError, Rule, parse_profile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

__all__ = [
    "ARCHITECTURES",
    "Condition",
    "FilterError",
    "LibraryMissingError",
    "Profile",
    "ProfileError",
    "Rule",
    "compile_filter",
    "filter_of",
    "instructions",
    "parse_profile",
    "unknown_calls",
]

# uname(2)'s machine → libseccomp's names for it and for the 32-bit calls of the same kernel.
ARCHITECTURES: Mapping[str, tuple[str, str]] = {"x86_64": ("X86_64", "X86"), "aarch64": ("AARCH64", "ARM")}

# linux/bpf_common.h: BPF_MAXINSNS, struct sock_filter, BPF_RET | BPF_K, BPF_JMP | BPF_JA.
_LONGEST = 4096
_INSTRUCTION = struct.Struct("<HBBI")
_RETURN = 0x06
_JUMP = 0x05

# An errno that has no name, so that no profile can answer it: go on with the next list.
_NEXT_LIST = 4094
_RETURN_NEXT = 0x0005_0000 | _NEXT_LIST

# With fewer rules, a chain of comparisons is no longer than a binary tree.
_TREE_FROM = 32

# libseccomp's numbers: __NR_SCMP_ERROR; the negated ones of what socketcall(2) and ipc(2) do.
_UNKNOWN = -1
_MULTIPLEXED = range(100, 300)


class FilterError(ValueError):
    """No filter can be made of the profile."""


class LibraryMissingError(FilterError):
    """libseccomp, or its Python binding, is not on this machine."""


class _Entry(NamedTuple):
    """One call of one rule; `answer` is a SECCOMP_RET_ value of seccomp(2)."""

    call: str
    answer: int
    where: tuple[Condition, ...]


def compile_filter(profile: Profile, *, capabilities: Collection[str], architecture: str) -> bytes:
    """The profile for a payload with `capabilities` (names without CAP_), as an array of struct sock_filter.

    `architecture` is uname(2)'s machine and need not be this one's. Three programs in a row, each handing
    on what it does not decide: refusals by argument, permits, the other refusals. Calls that libseccomp
    does not know are left out and so answer `profile.unlisted`; `unknown_calls` has them.
    Raises FilterError, LibraryMissingError where there is no libseccomp.
    """
    library = _library()
    if architecture not in ARCHITECTURES:
        raise FilterError(f"no system calls are known of '{architecture}', only of {', '.join(ARCHITECTURES)}")
    native, compat = (getattr(library.Arch, name) for name in ARCHITECTURES[architecture])
    kinds = (native, compat) if profile.compat else (native,)
    refusals = _entries(library, profile.refusals, capabilities)
    permits = _entries(library, profile.permits, capabilities)
    last = [entry for entry in refusals if not entry.where]
    first = [entry for entry in refusals if entry.where]
    return _joined(
        [
            *(
                _program(library, entries, library.ERRNO(_NEXT_LIST), kinds)
                for entries in (first, _widest(permits))
                if entries
            ),
            _program(library, last, _answer(library, profile.unlisted), kinds),
        ]
    )


def filter_of(text: bytes, capabilities: Collection[str], architecture: str) -> bytes:
    """The filter that a profile's text makes. Raises ProfileError, FilterError, HostUnfit without libseccomp."""
    try:
        return compile_filter(parse_profile(text), capabilities=capabilities, architecture=architecture)
    except LibraryMissingError as error:
        raise HostUnfit(str(error), hint="apt install libseccomp2") from error


def unknown_calls(profile: Profile) -> tuple[str, ...]:
    """Calls that the profile names and libseccomp does not know here. Raises LibraryMissingError."""
    library = _library()
    named = {call for rule in (*profile.permits, *profile.refusals) for call in rule.calls}
    return tuple(call for call in sorted(named) if _number(library, call) == _UNKNOWN)


def instructions(program: bytes) -> int:
    """How many instructions a compiled filter has."""
    return len(program) // _INSTRUCTION.size


def _library() -> Any:
    """The binding, which has no types; importing it finds and loads libseccomp."""
    try:
        import pyseccomp
    except ImportError as error:
        raise LibraryMissingError("the Python package pyseccomp is not installed") from error
    except (RuntimeError, OSError) as error:
        raise LibraryMissingError("libseccomp is not installed") from error
    return pyseccomp


def _number(library: Any, call: str) -> int:
    return cast("int", library.resolve_syscall(library.Arch.NATIVE, call))


def _answer(library: Any, answer: str) -> int:
    """The SECCOMP_RET_ value of a rule's answer; empty for a permit."""
    if not answer:
        return cast("int", library.ALLOW)
    if answer == KILL:
        return cast("int", library.KILL_PROCESS)
    return cast("int", library.ERRNO(getattr(errno, answer)))


def _entries(library: Any, rules: Iterable[Rule], capabilities: Collection[str]) -> list[_Entry]:
    return [
        _Entry(call, _answer(library, rule.answer), rule.where)
        for rule in rules
        if rule.counts(capabilities)
        for call in rule.calls
    ]


def _widest(permits: Sequence[_Entry]) -> list[_Entry]:
    """Permits, without those by argument for a call that is permitted whatever its arguments."""
    whole = {entry.call for entry in permits if not entry.where}
    return [entry for entry in permits if not entry.where or entry.call not in whole]


def _program(library: Any, entries: Sequence[_Entry], default: int, kinds: Sequence[int]) -> bytes:
    """One list compiled; calls of other architectures, and x32's, end the process."""
    program = _of_one_kind(library, entries, default, kinds[0])
    for kind in kinds[1:]:
        program.merge(_of_one_kind(library, entries, default, kind))
    return _exported(program)


def _of_one_kind(library: Any, entries: Sequence[_Entry], default: int, kind: int) -> Any:
    """One list for one architecture, without the calls that it does not have: where such a call comes first
    in its order, libseccomp (2.5.4) forgets to load the number, and the filter compares something else."""
    program = library.SyscallFilter(default)
    if kind != library.system_arch():
        program.add_arch(kind)
        program.remove_arch(library.Arch.NATIVE)
    program.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)
    own = [entry for entry in entries if entry.answer != default and _exists(library, kind, entry.call)]
    if len(own) >= _TREE_FROM:
        _as_tree(library, program)
    for entry in own:
        _add(library, program, entry)
    return program


def _exists(library: Any, kind: int, call: str) -> bool:
    """Whether an architecture has the call, by itself or in the 32-bit x86 multiplexers."""
    number = cast("int", library.resolve_syscall(kind, call))
    return number >= 0 or (kind == library.Arch.X86 and _MULTIPLEXED.start <= -number < _MULTIPLEXED.stop)


def _as_tree(library: Any, program: Any) -> None:
    """A binary tree over the calls' numbers, which libseccomp before 2.5 does not have."""
    try:
        program.set_attr(library.Attr.CTL_OPTIMIZE, 2)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EEXIST, errno.EOPNOTSUPP):
            raise


def _add(library: Any, program: Any, entry: _Entry) -> None:
    for values in product(*(condition.equals for condition in entry.where)):
        arguments = (
            library.Arg(condition.argument, library.MASKED_EQ, condition.mask, value)
            for condition, value in zip(entry.where, values, strict=True)
        )
        try:
            program.add_rule(entry.answer, entry.call, *arguments)
        except OSError as error:
            raise FilterError(f"libseccomp refuses the rule for {entry.call}: {error.strerror}") from error


def _exported(program: Any) -> bytes:
    descriptor = os.memfd_create("filter")
    with os.fdopen(descriptor, "r+b") as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def _joined(programs: Sequence[bytes]) -> bytes:
    """The programs one behind the other: where one says "next list", it jumps over its own rest.

    BPF jumps are relative and forwards, so that each program stays right wherever it stands.
    """
    joined = bytearray()
    for number, program in enumerate(programs, 1):
        length = instructions(program)
        for index, (code, yes, no, value) in enumerate(_INSTRUCTION.iter_unpack(program)):
            if number < len(programs) and (code, value) == (_RETURN, _RETURN_NEXT):
                joined += _INSTRUCTION.pack(_JUMP, 0, 0, length - index - 1)
            else:
                joined += _INSTRUCTION.pack(code, yes, no, value)
    length = instructions(bytes(joined))
    if length > _LONGEST:
        raise FilterError(f"the filter has {length} instructions; the kernel takes {_LONGEST}")
    return bytes(joined)
