"""The payload's filter, run call by call on a small BPF machine: what each call of each architecture gets."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pyseccomp
import pytest

from tests.bpf import run
from volt.model.steps import CAPABILITIES
from volt.plan.capabilities import DEFAULT
from volt.plan.seccomp import (
    FilterError,
    LibraryMissingError,
    compile_filter,
    instructions,
    parse_profile,
    unknown_calls,
)
from volt.plan.seccomp_bound import FLOOR

if TYPE_CHECKING:
    from volt.plan.seccomp import Profile, Rule

PROFILES = Path(__file__).parents[3] / "profiles/seccomp"
ALLOW, KILL = 0x7FFF0000, 0x80000000
SHIPPED = ["default", "strict", "unconfined"]
EVERY_ABI = [("x86_64", "X86_64"), ("x86_64", "X86"), ("aarch64", "AARCH64"), ("aarch64", "ARM")]
X32 = 0x4000_0000
# linux/net.h: the numbers of the 32-bit x86 multiplexer.
SOCKETCALLS = (
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom "
    "shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
).split()


def refused(name: str) -> int:
    return 0x0005_0000 | getattr(errno, name)


class Filter:
    """A profile compiled for one architecture; called with a call's name and arguments."""

    def __init__(self, profile: Profile, machine="x86_64", abi="X86_64", capabilities=DEFAULT):
        self.program = compile_filter(profile, capabilities=capabilities, architecture=machine)
        self.abi = getattr(pyseccomp.Arch, abi)

    def number(self, call: str) -> int:
        if self.abi == pyseccomp.Arch.X86 and call == "socket":
            return 359  # libseccomp's own number for it is the multiplexer's
        return pyseccomp.resolve_syscall(self.abi, call)

    def __call__(self, call: str | int, *arguments: int) -> int:
        return run(self.program, self.abi, call if isinstance(call, int) else self.number(call), arguments)


@pytest.fixture(scope="module")
def default() -> Profile:
    return shipped("default")


@pytest.fixture(scope="module")
def strict() -> Profile:
    return shipped("strict")


@pytest.fixture(scope="module")
def unconfined() -> Profile:
    return shipped("unconfined")


def shipped(name) -> Profile:
    return parse_profile((PROFILES / f"{name}.toml").read_bytes())


@pytest.fixture(scope="module")
def payload(default) -> Filter:
    """The default filter of an ordinary payload."""
    return Filter(default)


def small(rules: str, unlisted="ENOSYS", compat="filter") -> Profile:
    head = f'format = 1\nname = "t"\ndescription = "t"\nunlisted = "{unlisted}"\ncompat = "{compat}"\n'
    return parse_profile((head + rules).encode())


def known(abi: int) -> dict[int, str]:
    """The calls of an ABI that libseccomp knows, by number."""
    calls = {}
    for number in range(1024):
        with contextlib.suppress(ValueError):
            calls[number] = pyseccomp.resolve_syscall(abi, number).decode()
    return calls


def expected(profile: Profile, call: str, arguments: tuple[int, ...], capabilities) -> int:
    """The profile's own words for one call, without libseccomp."""

    def matches(rule: Rule) -> bool:
        return (
            call in rule.calls
            and set(rule.having) <= set(capabilities)
            and not set(rule.lacking) & set(capabilities)
            and all(arguments[c.argument] & c.mask in c.equals for c in rule.where)
        )

    def answer(word: str) -> int:
        return {"kill": KILL, "permit": ALLOW}.get(word) or refused(word)

    for rule in profile.refusals:
        if rule.where and matches(rule):
            return answer(rule.answer)
    if any(matches(rule) for rule in profile.permits):
        return ALLOW
    for rule in profile.refusals:
        if not rule.where and matches(rule):
            return answer(rule.answer)
    return answer(profile.unlisted)


# ── the shipped profile says what it does ───────────────────────────────────────────────────────


@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
@pytest.mark.parametrize("capabilities", [DEFAULT, (), tuple(CAPABILITIES)], ids=["default", "none", "all"])
def test_every_call_of_every_abi_gets_what_the_profile_says(default, machine, abi, capabilities):
    answers_as_it_says(default, machine, abi, capabilities)


@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
@pytest.mark.parametrize("name", ["strict", "unconfined"])
def test_so_do_the_other_profiles(name, machine, abi):
    answers_as_it_says(shipped(name), machine, abi, DEFAULT)


def answers_as_it_says(profile, machine, abi, capabilities):
    compiled = Filter(profile, machine, abi, capabilities)
    calls = known(compiled.abi)
    assert len(calls) > 300
    killed = not profile.compat and abi in ("X86", "ARM")
    for number in range(1024):
        call = calls.get(number, "")
        if call == "socketcall":  # has a test of its own
            continue
        for value in (0, 1, 8, 9, 16, 0x20000, 0x5412, 0x10000000, 0xFFFF_FFFF):
            arguments = (value, value, value, 0, 0, 0)
            wanted = KILL if killed else expected(profile, call, arguments, capabilities)
            assert compiled(number, *arguments) == wanted, (call, value)


@pytest.mark.parametrize("abi", [abi for _, abi in EVERY_ABI])
def test_every_call_that_libseccomp_knows_stands_in_a_list_with_a_reason(default, abi):
    named = {call for rule in (*default.permits, *default.refusals) for call in rule.calls}
    assert set(known(getattr(pyseccomp.Arch, abi)).values()) <= named


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
def test_calls_of_other_architectures_kill(name, machine, abi):
    program = Filter(shipped(name), machine, abi).program
    read = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "read")
    own = {getattr(pyseccomp.Arch, name) for kind, name in EVERY_ABI if kind == machine}
    for name in ("X86_64", "X86", "AARCH64", "ARM", "RISCV64", "MIPS", "PPC64LE", "S390X"):
        other = getattr(pyseccomp.Arch, name)
        if other not in own:
            assert run(program, other, read) == KILL


@pytest.mark.parametrize("name", SHIPPED)
def test_x32_calls_kill_those_of_ordinary_programs_too(name):
    payload = Filter(shipped(name))
    for call in ("read", "write", "getpid", "mount"):
        assert payload(X32 | payload.number(call)) == KILL
    assert payload(X32) == KILL
    assert payload(X32 | 547) == KILL


def test_the_ends_of_the_numbers_are_refused(payload):
    assert payload(0x3FFF_FFFF) == refused("ENOSYS")
    assert payload(0xFFFF_FFFF) in (KILL, refused("ENOSYS"))


def test_terminals_cannot_be_typed_into_whatever_the_high_half_says(default):
    for machine, abi in EVERY_ABI:
        payload = Filter(default, machine, abi)
        for request in (0x5412, 0x541C, 0x5423):
            assert payload("ioctl", 0, request) == refused("EPERM")
            assert payload("ioctl", 0, 0xFFFF_FFFF_0000_0000 | request) == refused("EPERM")
        assert payload("ioctl", 0, 0x5401) == ALLOW
    assert Filter(default, capabilities=["NET_ADMIN"])("ioctl", 0, 0x5423) == ALLOW
    assert Filter(default, capabilities=CAPABILITIES)("ioctl", 0, 0x5412) == refused("EPERM")


@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_call_makes_a_namespace(default, payload, flag):
    assert payload("clone", 0x11) == ALLOW
    assert payload("clone", 0x003D0F00) == ALLOW
    assert payload("clone", flag | 0x11) == refused("EPERM")
    assert payload("clone", 0xFFFF_FFFF_0000_0000 | flag) == refused("EPERM")
    assert payload("unshare", 0x400) == ALLOW
    assert payload("unshare", flag | 0x400) == refused("EPERM")
    assert payload("unshare", 0x80) == refused("EPERM")
    assert payload("setns", 3, flag) == refused("EPERM")
    assert payload("clone3") == refused("ENOSYS")
    admin = Filter(default, capabilities=["SYS_ADMIN"])
    assert [admin(call, flag) for call in ("clone", "unshare", "setns", "clone3")] == [ALLOW] * 4


def test_only_ordinary_families_of_sockets(default, payload):
    allowed = [family for family in range(64) if payload("socket", family, 1, 0) == ALLOW]
    assert allowed == [1, 2, 10, 16]
    assert payload("socket", 38) == refused("EAFNOSUPPORT")
    assert payload("socket", 0xFFFF_FFFF_0000_0000 | 40) == refused("EAFNOSUPPORT")
    raw = Filter(default, capabilities=["NET_RAW"])
    assert [family for family in range(64) if raw("socket", family, 3, 0) == ALLOW] == [1, 2, 10, 16, 17, 44]
    assert [family for family in range(64) if payload("socketpair", family, 1, 0) == ALLOW] == [1]


def test_audit_looks_switched_off(default, payload):
    assert payload("socket", 16, 3, 9) == refused("EAFNOSUPPORT")
    assert payload("socket", 16, 3, 0xFFFF_FFFF_0000_0009) == refused("EAFNOSUPPORT")
    assert payload("socket", 16, 3, 0) == ALLOW
    assert payload("socket", 2, 3, 9) == ALLOW
    assert Filter(default, capabilities=["AUDIT_WRITE"])("socket", 16, 3, 9) == ALLOW


def test_the_32_bit_multiplexer_makes_no_sockets_and_uses_them(default):
    compat = Filter(default, "x86_64", "X86")
    answers = {name: compat("socketcall", number, 0xDEAD) for number, name in enumerate(SOCKETCALLS, 1)}
    assert {name for name, answer in answers.items() if answer != ALLOW} == {"socket", "socketpair"}
    assert answers["socket"] == answers["socketpair"] == refused("EAFNOSUPPORT")
    assert compat("socketcall", 0) == compat("socketcall", 21) == refused("ENOSYS")
    assert compat("socket", 2, 1, 0) == ALLOW
    assert compat("socket", 38, 5, 0) == refused("EAFNOSUPPORT")


def test_personalities_that_weaken_memory_are_refused(payload):
    for persona in (0, 8, 0x20000, 0x20008, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF):
        assert payload("personality", persona) == ALLOW
    for persona in (0x40000, 0x100000, 0x400000, 0x5, 0x20001):
        assert payload("personality", persona) == refused("EPERM")


CAPABILITY_CALLS = [
    ("SYS_CHROOT", "chroot"),
    ("SYS_ADMIN", "mount"),
    ("SYS_ADMIN", "umount2"),
    ("SYS_ADMIN", "sethostname"),
    ("SYS_ADMIN", "bpf"),
    ("BPF", "bpf"),
    ("SYS_ADMIN", "perf_event_open"),
    ("PERFMON", "perf_event_open"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_PTRACE", "kcmp"),
    ("SYS_NICE", "move_pages"),
    ("SYS_TIME", "clock_settime"),
    ("SYSLOG", "syslog"),
    ("SYS_BOOT", "reboot"),
    ("SYS_MODULE", "finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_RAWIO", "iopl"),
]


@pytest.mark.parametrize(("capability", "call"), CAPABILITY_CALLS)
def test_a_call_comes_with_its_capability_and_not_without(default, capability, call):
    others = [name for name in CAPABILITIES if (name, call) not in CAPABILITY_CALLS]
    assert Filter(default, capabilities=[capability])(call) == ALLOW
    assert Filter(default, capabilities=others)(call) == refused("EPERM")


@pytest.mark.parametrize("call", ["kexec_load", "kexec_file_load", "swapon", "swapoff", "userfaultfd"])
def test_no_capability_brings_what_would_end_the_wall(default, call):
    assert Filter(default, capabilities=CAPABILITIES)(call) == refused("EPERM")


@pytest.mark.parametrize("call", ["io_uring_setup", "io_uring_enter", "add_key", "keyctl", "request_key"])
def test_missing_parts_of_the_kernel_look_missing(default, call):
    assert Filter(default, capabilities=CAPABILITIES)(call) == refused("ENOSYS")


def test_programs_can_confine_themselves_and_debug_their_own(payload):
    for call in (
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
        "prctl",
    ):
        assert payload(call) == ALLOW
    assert payload("ptrace") == payload("process_vm_readv") == ALLOW


def test_strict_permits_nothing_that_default_does_not(strict, default):
    ours, theirs = Filter(strict), Filter(default)
    calls = [call for call in known(ours.abi).values() if call != "socketcall"]
    for call in calls:
        for value in (0, 1, 2, 10, 16, 0x5401, 0x5412, 0x541B, 0x20000, 0x10000000, 0xFFFF_FFFF):
            if ours(call, value, value) == ALLOW:
                assert theirs(call, value, value) == ALLOW, (call, value)


def test_strict_kills_what_a_server_never_calls(strict, payload):
    for call in ("ptrace", "mknod", "shmget", "personality", "memfd_create", "execveat", "mount", "unshare", "bpf"):
        assert Filter(strict)(call) == KILL
    assert payload("ptrace") == payload("mknod") == ALLOW


def test_strict_answers_what_programs_try(strict):
    compiled = Filter(strict)
    assert compiled("clone3") == compiled("io_uring_setup") == compiled("inotify_init1") == refused("ENOSYS")
    assert compiled("socket", 16) == refused("EAFNOSUPPORT")
    assert compiled("ioctl", 0, 0x5412) == refused("ENOTTY")
    assert compiled("ioctl", 0, 0x5401) == ALLOW
    assert compiled("clone", 0x003D0F00) == ALLOW
    assert compiled("clone", 0x10000000) == KILL


@pytest.mark.parametrize("capabilities", [(), DEFAULT, tuple(CAPABILITIES)], ids=["none", "default", "all"])
@pytest.mark.parametrize(("machine", "abi"), EVERY_ABI)
def test_unconfined_keeps_its_floor_whatever_the_capabilities(unconfined, machine, abi, capabilities):
    compiled = Filter(unconfined, machine, abi, capabilities)
    answers = {call: compiled(call) for call in FLOOR if compiled.number(call) >= 0}
    assert len(answers) >= len(FLOOR) - 1  # i386 has no kexec_file_load
    assert set(answers.values()) == {refused("EPERM")}
    assert compiled("syslog") == refused("EPERM")
    assert compiled("ioctl", 0, 0x5412) == compiled("ioctl", 0, 0x541C) == refused("EPERM")


def test_unconfined_permits_all_the_rest(unconfined):
    compiled = Filter(unconfined)
    refusals = {call for call in known(compiled.abi).values() if compiled(call, 0, 0x5412) != ALLOW}
    older = {"create_module", "query_module", "get_kernel_syms"}
    assert refusals - older == {*FLOOR, "syslog", "ioctl", "mount", "fsopen"}
    assert compiled("clone3") == compiled("io_uring_setup") == compiled(1000) == ALLOW
    assert compiled("socket", 38) == compiled("ioctl", 0, 0x5423) == ALLOW


NEW, REMOUNT, BIND, MOVE, PRIVATE, RECURSIVE, MAGIC = 0, 0x20, 0x1000, 0x2000, 1 << 18, 0x4000, 0xC0ED_0000


@pytest.mark.parametrize("abi", ["X86_64", "X86"])
def test_under_unconfined_no_file_system_is_mounted_anew(unconfined, abi):
    """Where the payload could not take the masks off either."""
    compiled = Filter(unconfined, "x86_64", abi)
    for flags in (NEW, RECURSIVE, 0xF, MAGIC, MAGIC | RECURSIVE, *([] if abi == "X86" else [1 << 32])):
        assert compiled("mount", 0, 0, 0, flags) == refused("EPERM"), hex(flags)
    for flags in (REMOUNT, BIND, MOVE, PRIVATE, MAGIC | REMOUNT, MAGIC | BIND, BIND | RECURSIVE, REMOUNT | BIND):
        assert compiled("mount", 0, 0, 0, flags) == ALLOW, hex(flags)
    assert compiled("fsopen") == refused("EPERM")
    admin = Filter(unconfined, "x86_64", abi, ["SYS_ADMIN"])
    assert admin("mount") == admin("fsopen") == ALLOW


def test_unconfined_opens_the_32_bit_multiplexers_too(unconfined):
    compat = Filter(unconfined, "x86_64", "X86")
    assert {compat("socketcall", number) for number in range(22)} == {ALLOW}
    assert {compat("ipc", number) for number in range(25)} == {ALLOW}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_entry_has_a_reason_of_its_own(name):
    profile = shipped(name)
    assert len({rule.reason for rule in (*profile.permits, *profile.refusals)}) > 1
    assert unknown_calls(profile) == tuple(sorted(unknown_calls(profile)))


def test_the_filter_fits_the_kernel_with_room(default):
    sizes = {
        machine: instructions(compile_filter(default, capabilities=DEFAULT, architecture=machine))
        for machine in ("x86_64", "aarch64")
    }
    assert all(200 < size < 400 for size in sizes.values()), sizes


def test_the_same_profile_gives_the_same_bytes(default):
    made = {compile_filter(default, capabilities=DEFAULT, architecture="x86_64") for _ in range(3)}
    assert len(made) == 1


def test_calls_that_libseccomp_does_not_know_are_listed_and_refused():
    profile = small('[[permit]]\nreason = "r"\ncalls = "read brand_new_call"')
    assert unknown_calls(profile) == ("brand_new_call",)
    compiled = Filter(profile)
    assert [number for number in range(1024) if compiled(number) == ALLOW] == [0]


# ── the form of a profile ───────────────────────────────────────────────────────────────────────


def test_a_profile_without_compat_kills_the_32_bit_calls():
    profile = small('[[permit]]\nreason = "r"\ncalls = "read"', compat="kill")
    assert Filter(profile)("read") == ALLOW
    assert Filter(profile, "x86_64", "X86")("read") == KILL
    assert Filter(profile, "aarch64", "ARM")("read") == KILL


def test_a_profile_can_kill_for_listed_and_unlisted_calls():
    permit = '[[permit]]\nreason = "r"\ncalls = "read"\n'
    rules = permit + '[[refuse]]\nreason = "r"\nanswer = "EPERM"\ncalls = "mount"'
    strict = Filter(small(rules, unlisted="kill"))
    assert (strict("read"), strict("mount"), strict("getpid")) == (ALLOW, refused("EPERM"), KILL)
    killing = Filter(small(rules.replace("EPERM", "kill")))
    assert (killing("read"), killing("mount"), killing("getpid")) == (ALLOW, KILL, refused("ENOSYS"))


def test_conditions_compare_under_their_mask_and_all_must_hold():
    where = "[{ argument = 0, mask = 0xFF00000000, equals = 0x500000000 }, { argument = 2, equals = [1, 2] }]"
    compiled = Filter(small(f'[[permit]]\nreason = "r"\ncalls = "read"\nwhere = {where}'))
    assert compiled("read", 0x5_1234_5678, 0, 2) == ALLOW
    assert compiled("read", 0x5_1234_5678, 0, 0xFFFF_FFFF_0000_0001) == ALLOW
    assert compiled("read", 0x6_1234_5678, 0, 2) == refused("ENOSYS")
    assert compiled("read", 0x5_1234_5678, 0, 3) == refused("ENOSYS")


def test_a_refusal_by_argument_wins_over_a_permit_in_any_order():
    permit = '[[permit]]\nreason = "r"\ncalls = "read"\n'
    refuse = '[[refuse]]\nreason = "r"\nanswer = "EBADF"\ncalls = "read"\nwhere = [{ argument = 0, equals = 7 }]\n'
    for rules in (permit + refuse, refuse + permit):
        compiled = Filter(small(rules))
        assert (compiled("read", 7), compiled("read", 8)) == (refused("EBADF"), ALLOW)


SOCKETS = """
[[permit]]
reason = "r"
calls = "socket"
where = [{ argument = 0, equals = 2 }]
"""


def test_a_permit_by_argument_does_not_open_the_32_bit_multiplexer():
    """libseccomp alone opens it to any family: the argument lies in memory there."""
    compat = Filter(small(SOCKETS), "x86_64", "X86")
    assert (compat("socket", 2), compat("socket", 38)) == (ALLOW, refused("ENOSYS"))
    assert {compat("socketcall", number) for number in range(22)} == {refused("ENOSYS")}
    whole = Filter(small(SOCKETS + '[[permit]]\nreason = "r"\ncalls = "socketcall bind"'), "x86_64", "X86")
    assert whole("socketcall", 1) == whole("socketcall", 2) == ALLOW


def test_a_permit_without_arguments_opens_its_own_part_of_a_multiplexer():
    compat = Filter(small('[[permit]]\nreason = "r"\ncalls = "bind semop"'), "x86_64", "X86")
    assert [number for number in range(22) if compat("socketcall", number) == ALLOW] == [2]
    assert [number for number in range(25) if compat("ipc", number) == ALLOW] == [1]


def test_a_refusal_by_argument_closes_its_part_of_a_multiplexer():
    """And of ipc(2) whatever stands above the 16 bits that the kernel reads."""
    head = '[[refuse]]\nreason = "r"\nanswer = "EPERM"\n'
    rules = f'{head}calls = "socket semop"\nwhere = [{{ argument = 0, equals = 38 }}]'
    compat = Filter(small(rules, unlisted="permit"), "x86_64", "X86")
    assert [number for number in range(22) if compat("socketcall", number) != ALLOW] == [1]
    assert compat("ipc", 1) == compat("ipc", 0x1_0001) == refused("EPERM")
    assert compat("ipc", 2) == ALLOW


def test_32_bit_arguments_have_no_high_half():
    where = "where = [{ argument = 0, mask = 0xFF_0000_0000, equals = 0x5_0000_0000 }]"
    profile = small(f'[[permit]]\nreason = "r"\ncalls = "read"\n{where}')
    assert Filter(profile)("read", 0x5_0000_0000) == ALLOW
    assert Filter(profile, "x86_64", "X86")("read", 0) == refused("ENOSYS")


def test_an_empty_profile_refuses_everything():
    compiled = Filter(small(""))
    assert {compiled(number) for number in range(1024)} == {refused("ENOSYS")}


def test_a_machine_without_known_calls_is_named(default):
    with pytest.raises(FilterError, match="'riscv64'"):
        compile_filter(default, capabilities=(), architecture="riscv64")


def test_without_libseccomp_the_error_says_so(default, tmp_path, monkeypatch):
    """The binding's own failure: it looks for the library while it is imported."""
    import sys

    monkeypatch.delitem(sys.modules, "pyseccomp")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libc.so.6" if name == "c" else None)
    with pytest.raises(LibraryMissingError, match="libseccomp is not installed"):
        compile_filter(default, capabilities=(), architecture="x86_64")
