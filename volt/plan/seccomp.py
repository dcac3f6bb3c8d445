"""The payload's filter of system calls: a seccomp profile, for given capabilities, as a BPF program."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Any, cast

from volt.errors import HostUnfit, ManifestError
from volt.model.filter import Filter
from volt.plan.bpf_smaller import smaller
from volt.plan.init_calls import OWN, lenient
from volt.plan.seccomp_bound import ARCHITECTURES, bound_rules, read_profile, remarks
from volt.plan.seccomp_check import refused
from volt.plan.seccomp_profile import Condition, Profile, ProfileError, Rule, parse_profile
from volt.plan.seccomp_rules import (
    ERRNO,
    KILL_PROCESS,
    LAST_ERRNO,
    WHOLE,
    Comparison,
    Entry,
    Rules,
    apart,
    doors,
    narrowed,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from volt.model.facts import Facts
    from volt.plan.seccomp_oci import OciProfile

__all__ = [
    "ARCHITECTURES",
    "Condition",
    "FilterError",
    "LibraryMissingError",
    "Profile",
    "ProfileError",
    "Rule",
    "call_numbers",
    "compile_filter",
    "compile_rules",
    "filter_of",
    "init_filter",
    "instructions",
    "parse_profile",
    "unknown_calls",
]

# linux/bpf_common.h: BPF_MAXINSNS, struct sock_filter, BPF_RET | BPF_K, BPF_JMP | BPF_JA.
_LONGEST = 4096
_INSTRUCTION = struct.Struct("<HBBI")
_RETURN = 0x06
_JUMP = 0x05

# An errno that has no name, and that no profile can answer: go on with the next list.
_NEXT_LIST = ERRNO | LAST_ERRNO + 1

# With fewer rules, a chain of comparisons is no longer than a binary tree.
_TREE_FROM = 32

# libseccomp's numbers: __NR_SCMP_ERROR; the negated ones of what socketcall(2) and ipc(2) do.
_UNKNOWN = -1
_MULTIPLEXED = range(100, 300)
_DOORS = ("socketcall", "ipc")

# Above all numbers that Linux has given to calls so far.
_NUMBERS = 1024


class FilterError(ValueError):
    """No filter can be made of the profile."""


class LibraryMissingError(FilterError):
    """libseccomp, or its Python binding, is not on this machine."""


def compile_filter(
    profile: Profile | OciProfile,
    *,
    capabilities: Collection[str],
    architecture: str,
    kernel: tuple[int, int] = (0, 0),
) -> bytes:
    """The profile for a payload with `capabilities` (names without CAP_), as an array of struct sock_filter.

    `architecture` is uname(2)'s machine and need not be this one's; `kernel` counts for OCI profiles alone.
    Calls that libseccomp does not know are left out and so answer as unlisted ones; `unknown_calls` has them.
    Raises FilterError, LibraryMissingError where there is no libseccomp.
    """
    _require(architecture)
    return compile_rules(bound_rules(profile, capabilities, architecture, kernel), architecture)


def compile_rules(rules: Rules, architecture: str) -> bytes:
    """Rules as one program: a program for each layer in a row, each handing on what it does not decide.

    What passes through the multiplexers of 32-bit x86 is decided first: libseccomp opens these to a call that
    is permitted by its arguments, which nothing sees there. Raises FilterError.
    """
    library = _library()
    native, compat = (getattr(library.Arch, name) for name in ARCHITECTURES[architecture])
    kinds = (native, compat) if rules.compat else (native,)
    programs = []
    if library.Arch.X86 in kinds:
        closed = tuple(Entry(door, rules.default) for door in _DOORS)
        for layer in (*filter(None, doors(rules)), closed):
            own = {native: (), compat: layer}
            programs.append(_program(library, own, _NEXT_LIST))
    *before, last = [part for layer in rules.layers for part in apart(layer)] or [()]
    for layer, default in (*((each, _NEXT_LIST) for each in before), (last, rules.default)):
        behind = tuple(entry for entry in layer if entry.call not in _DOORS)
        programs.append(_program(library, dict.fromkeys(kinds, behind), default))
    return smaller(_joined(programs))


def init_filter(program: bytes, architecture: str) -> bytes:
    """The filter of the init whose payload has the filter `program`: its own calls, by native numbers alone, and
    whatever that one lets through. Raises FilterError."""
    _require(architecture)
    library = _library()
    native, compat = (getattr(library.Arch, name) for name in ARCHITECTURES[architecture])
    own = _program(library, {native: OWN, compat: ()}, _NEXT_LIST)
    return smaller(lenient(_joined((own, program))))


def filter_of(text: bytes, capabilities: Collection[str], facts: Facts) -> Filter:
    """The filter that a profile's text makes. Raises ManifestError where it cannot be kept as it is meant,
    ProfileError, HostUnfit without libseccomp."""
    profile = read_profile(text)
    try:
        _require(facts.architecture)
        rules = bound_rules(profile, capabilities, facts.architecture, facts.kernel)
        notes = [*_unknown_note(rules), *remarks(profile, rules, facts.architecture)]
        program = compile_filter(
            profile, capabilities=capabilities, architecture=facts.architecture, kernel=facts.kernel
        )
    except LibraryMissingError as error:
        raise HostUnfit(str(error), hint="apt install libseccomp2") from error
    except FilterError as error:
        raise ManifestError(refused([str(error)], facts)) from error
    return Filter(program, init_filter(program, facts.architecture), tuple(notes))


def unknown_calls(profile: Profile | OciProfile) -> tuple[str, ...]:
    """Calls that the profile names and libseccomp does not know here. Raises LibraryMissingError."""
    rules = (*profile.permits, *profile.refusals) if isinstance(profile, Profile) else profile.rules
    return _unknown({call for rule in rules for call in rule.calls})


def call_numbers(architecture: str) -> dict[str, int]:
    """Every system call of an architecture that libseccomp knows here. Raises LibraryMissingError."""
    library = _library()
    kind, found = getattr(library.Arch, ARCHITECTURES[architecture][0]), {}
    for number in range(_NUMBERS):
        try:
            found[library.resolve_syscall(kind, number).decode()] = number
        except ValueError:
            continue
    return found


def instructions(program: bytes) -> int:
    """How many instructions a compiled filter has."""
    return len(program) // _INSTRUCTION.size


def _unknown(calls: Collection[str]) -> tuple[str, ...]:
    library = _library()
    return tuple(call for call in sorted(calls) if _number(library, call) == _UNKNOWN)


def _unknown_note(rules: Rules) -> list[str]:
    """Says which calls go by the default. Raises FilterError where that would let through what is refused."""
    unknown = _unknown(rules.calls())
    layers = (entry for layer in rules.layers for entry in layer)
    if runs(rules.default) and (open_ := {e.call for e in layers if not runs(e.answer)} & {*unknown}):
        names = ", ".join(sorted(open_))
        raise FilterError(f"it refuses {names}, which libseccomp does not know here, and permits what it does not name")
    return [f"libseccomp does not know {', '.join(unknown)}: answered as what no list names"] if unknown else []


def _require(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise FilterError(f"no system calls are known of '{architecture}', only of {', '.join(ARCHITECTURES)}")


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


def _program(library: Any, entries: Mapping[int, Sequence[Entry]], default: int) -> bytes:
    """The entries of each architecture compiled; calls of other architectures, and x32's, end the process."""
    program, *others = (_of_one_kind(library, own, default, kind) for kind, own in entries.items())
    for other in others:
        program.merge(other)
    return _exported(program)


def _of_one_kind(library: Any, entries: Sequence[Entry], default: int, kind: int) -> Any:
    """One list for one architecture, without the calls that it does not have: where such a call comes first
    in its order, libseccomp (2.5.4) forgets to load the number, and the filter compares something else."""
    program = library.SyscallFilter(default)
    if kind != library.system_arch():
        program.add_arch(kind)
        program.remove_arch(library.Arch.NATIVE)
    program.set_attr(library.Attr.ACT_BADARCH, KILL_PROCESS)
    known = (entry for entry in entries if entry.answer != default and _exists(library, kind, entry.call))
    own = _widest(known if kind in (library.Arch.X86_64, library.Arch.AARCH64) else filter(None, map(narrowed, known)))
    if len(own) >= _TREE_FROM:
        _as_tree(library, program)
    for entry in own:
        _add(library, program, entry)
    return program


def _widest(entries: Any) -> list[Entry]:
    """Entries, each once, without those by argument for a call that has one whatever its arguments."""
    found = dict.fromkeys(entries)
    whole = {entry.call for entry in found if not entry.where}
    return [entry for entry in found if not entry.where or entry.call not in whole]


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


def _add(library: Any, program: Any, entry: Entry) -> None:
    try:
        program.add_rule(entry.answer, entry.call, *(_argument(library, one) for one in entry.where))
    except OSError as error:
        raise FilterError(f"libseccomp refuses the rule for {entry.call}: {error.strerror}") from error


def _argument(library: Any, one: Comparison) -> Any:
    if one.mask != WHOLE:
        return library.Arg(one.argument, library.MASKED_EQ, one.mask, one.value)
    return library.Arg(one.argument, getattr(library, one.operator), one.value)


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
            if number < len(programs) and (code, value) == (_RETURN, _NEXT_LIST):
                joined += _INSTRUCTION.pack(_JUMP, 0, 0, length - index - 1)
            else:
                joined += _INSTRUCTION.pack(code, yes, no, value)
    length = instructions(bytes(joined))
    if length > _LONGEST:
        raise FilterError(f"the filter has {length} instructions; the kernel takes {_LONGEST}")
    return bytes(joined)
