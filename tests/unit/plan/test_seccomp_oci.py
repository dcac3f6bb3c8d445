"""An OCI document, translated, answers every call as the document says; and as other runtimes' filters do."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import sys

import pyseccomp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.bpf import run
from tests.oci import compared, rule, table
from volt.plan.seccomp import compile_filter, unknown_calls
from volt.plan.seccomp_bound import bound_rules, conflicts, read_profile, remarks
from volt.plan.seccomp_oci import parse_oci

ALLOW, LOG, TRACE, ERRNO, TRAP = 0x7FFF0000, 0x7FFC0000, 0x7FF00000, 0x00050000, 0x00030000
KILL_PROCESS, KILL_THREAD = 0x80000000, 0
# machine, ABI, bits of an argument, Docker's name of the machine, other architecture's name in the document
ABIS = [
    ("x86_64", "X86_64", 64, "amd64", "SCMP_ARCH_X86"),
    ("x86_64", "X86", 32, "amd64", "SCMP_ARCH_X86"),
    ("aarch64", "AARCH64", 64, "arm64", "SCMP_ARCH_ARM"),
    ("aarch64", "ARM", 32, "arm64", "SCMP_ARCH_ARM"),
]
CALLS = ["read", "ioctl", "personality", "clone", "mount", "kexec_load", "getpid"]
OPERATORS = ["EQ", "NE", "LT", "LE", "GT", "GE"]
VALUES = st.sampled_from([0, 1, 2, 15, 16, 17, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**32 + 16, 2**63, 2**64 - 1])
ACTIONS = ["ALLOW", "LOG", "TRACE", "ERRNO", "TRAP", "KILL", "KILL_THREAD", "KILL_PROCESS"]
CAPS = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]


@st.composite
def answers(draw, key="action", number="errnoRet"):
    action = f"SCMP_ACT_{draw(st.sampled_from(ACTIONS))}"
    answers_a_number = action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    code = draw(st.none() | st.sampled_from([0, 1, 38, 4093])) if answers_a_number else None
    return {key: action} | ({} if code is None else {number: code})


@st.composite
def comparisons(draw, index):
    if draw(st.booleans()):
        value = draw(VALUES)
        return {"index": index, "value": value, "valueTwo": draw(VALUES) & value, "op": "SCMP_CMP_MASKED_EQ"}
    return {"index": index, "value": draw(VALUES), "op": f"SCMP_CMP_{draw(st.sampled_from(OPERATORS))}"}


@st.composite
def terms(draw):
    found = {}
    if draw(st.booleans()):
        found["caps"] = draw(st.lists(st.sampled_from(CAPS), unique=True))
    if draw(st.booleans()):
        found["arches"] = draw(st.lists(st.sampled_from(["amd64", "arm64", "s390x"]), unique=True))
    if draw(st.booleans()):
        found["minKernel"] = draw(st.sampled_from(["4.8", "6.1", "6.12"]))
    return found


@st.composite
def rules(draw):
    indexes = draw(st.lists(st.integers(0, 5), max_size=2, unique=True))
    rule = {
        "names": draw(st.lists(st.sampled_from(CALLS), min_size=1, max_size=3, unique=True)),
        "args": [draw(comparisons(index)) for index in indexes],
        **draw(answers()),
    }
    if draw(st.integers(0, 3)) == 0:
        rule[draw(st.sampled_from(["includes", "excludes"]))] = draw(terms())
    return rule


@st.composite
def documents(draw):
    beside = draw(st.sampled_from([[], ["SCMP_ARCH_X86"], ["SCMP_ARCH_ARM", "SCMP_ARCH_X32"]]))
    found = {**draw(answers("defaultAction", "defaultErrnoRet")), "syscalls": draw(st.lists(rules(), max_size=6))}
    return found | ({"architectures": ["SCMP_ARCH_X86_64", *beside]} if beside else {})


QUESTIONS = st.lists(st.tuples(st.sampled_from(CALLS), st.tuples(*[VALUES] * 6)), min_size=5, max_size=20)
WORKLOADS = st.tuples(st.lists(st.sampled_from(CAPS), unique=True), st.sampled_from([(4, 4), (6, 1), (6, 12)]))


# ── what a document says, read without any of volt's own code


def answer(entry, action, number):
    """The number that seccomp(2) answers."""
    code = entry.get(number, 1)
    kinds = {
        "ALLOW": ALLOW,
        "LOG": LOG,
        "TRACE": TRACE | code,
        "ERRNO": ERRNO | code,
        "TRAP": TRAP,
        "KILL": KILL_THREAD,
        "KILL_THREAD": KILL_THREAD,
        "KILL_PROCESS": KILL_PROCESS,
    }
    return kinds[entry[action].removeprefix("SCMP_ACT_")]


def counts(rule, capabilities, machine, kernel):
    def reached(terms):
        return "minKernel" in terms and kernel >= tuple(map(int, terms["minKernel"].split(".")))

    wanted, unwanted = rule.get("includes", {}), rule.get("excludes", {})
    if machine in unwanted.get("arches", []) or set(unwanted.get("caps", [])) & set(capabilities) or reached(unwanted):
        return False
    arches = wanted.get("arches") or [machine]
    return machine in arches and set(wanted.get("caps", [])) <= set(capabilities) and (
        reached(wanted) or "minKernel" not in wanted
    )  # fmt: skip


def holds(one, arguments):
    given, value = arguments[one["index"]], one["value"]
    return {
        "SCMP_CMP_EQ": given == value,
        "SCMP_CMP_NE": given != value,
        "SCMP_CMP_LT": given < value,
        "SCMP_CMP_LE": given <= value,
        "SCMP_CMP_GT": given > value,
        "SCMP_CMP_GE": given >= value,
        "SCMP_CMP_MASKED_EQ": given & value == one.get("valueTwo", 0),
    }[one["op"]]


def said(document, call, arguments, applies):
    """The first rule that matches, else the default."""
    for each in document["syscalls"]:
        if applies(each) and call in each["names"] and all(holds(one, arguments) for one in each["args"]):
            return answer(each, "action", "errnoRet")
    return answer(document, "defaultAction", "defaultErrnoRet")


def translated(document, capabilities, machine, kernel):
    profile = parse_oci(json.dumps(document).encode())
    bare = [cap.removeprefix("CAP_") for cap in capabilities]
    return compile_filter(profile, capabilities=bare, architecture=machine, kernel=kernel)


ENDLESS = """
from volt.plan.seccomp import compile_filter
from volt.plan.seccomp_oci import parse_oci
print(len(compile_filter(parse_oci(open(0, "rb").read()), capabilities=[], architecture="x86_64")))
"""


def test_rules_over_two_arguments_that_keep_libseccomp_busy_for_ever_are_compiled():
    where = [
        [{"index": 3, "value": 17, "op": "SCMP_CMP_GE"}, {"index": 5, "value": n, "op": "SCMP_CMP_EQ"}]
        for n in (0, 2**32)
    ]
    rules = [{"names": ["ioctl"], "action": "SCMP_ACT_TRAP", "args": args} for args in where]
    document = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": rules}
    asked = [sys.executable, "-c", ENDLESS]
    done = subprocess.run(asked, input=json.dumps(document).encode(), capture_output=True, timeout=30, check=True)
    assert int(done.stdout) > 0
    program, number = (
        translated(document, (), "x86_64", (6, 1)),
        pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, "ioctl"),
    )
    for last, wanted in ((0, TRAP), (2**32, TRAP), (1, KILL_PROCESS)):
        assert run(program, pyseccomp.Arch.X86_64, number, (0, 0, 0, 17, 0, last)) == wanted


def test_a_rule_over_two_arguments_leaves_those_over_one_as_they_are():
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_NE"}, {"index": 5, "value": 0, "op": "SCMP_CMP_EQ"}]
    rules = [
        {"names": ["ioctl"], "action": "SCMP_ACT_LOG", "args": args}
        for args in ([{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}], both)
    ]
    program = translated({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, (), "x86_64", (6, 1))
    token = pyseccomp.Arch.X86_64
    for arguments, wanted in {(0, 1): LOG, (0, 0): LOG, (2, 0): LOG, (1, 0): ALLOW, (2, 1): ALLOW}.items():
        given_ = (arguments[0], 0, 0, 0, 0, arguments[1])
        assert run(program, token, pyseccomp.resolve_syscall(token, "ioctl"), given_) == wanted, arguments


@settings(max_examples=150)
@given(documents(), QUESTIONS, WORKLOADS, st.sampled_from(ABIS))
def test_a_call_gets_what_the_document_says(document, questions, workload, kind):
    (machine, abi, bits, docker, other), (capabilities, kernel) = kind, workload
    program = translated(document, capabilities, machine, kernel)
    token = getattr(pyseccomp.Arch, abi)
    for call, wide in questions:
        arguments = tuple(value % 2**bits for value in wide)
        got = run(program, token, pyseccomp.resolve_syscall(token, call), arguments)
        if bits == 32 and other not in document.get("architectures", []):
            assert got == KILL_PROCESS
        else:
            wanted = said(document, call, arguments, lambda rule: counts(rule, capabilities, docker, kernel))
            assert got == wanted, (call, arguments)


# ── what other runtimes make of it


def handed_over(document, rules):
    """The filter of runc and crun: each rule to libseccomp as it comes, but for those that answer as the default."""
    default = answer(document, "defaultAction", "defaultErrnoRet")
    made = pyseccomp.SyscallFilter(default)
    for each in rules:
        action = answer(each, "action", "errnoRet")
        if action == default:
            continue
        arguments = [
            pyseccomp.Arg(
                one["index"],
                getattr(pyseccomp, one["op"].removeprefix("SCMP_CMP_")),
                one["value"],
                one.get("valueTwo", 0),
            )
            for one in each["args"]
        ]
        for name in each["names"]:
            made.add_rule(action, name, *arguments)
    with os.fdopen(os.memfd_create("filter"), "r+b") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


class Runtime:
    """Another process that hands over: of some documents libseccomp makes no filter within minutes."""

    PATIENCE = 20.0  # seconds

    def __init__(self):
        self._pool = None

    def filter_of(self, document, rules):
        """None where it takes too long."""
        self._pool = self._pool or multiprocessing.get_context("spawn").Pool(1)
        try:
            return self._pool.apply_async(handed_over, (document, rules)).get(self.PATIENCE)
        except multiprocessing.TimeoutError:
            self.end()
            return None

    def end(self):
        if self._pool:
            self._pool.terminate()
            self._pool.join()
        self._pool = None


@pytest.fixture(scope="module")
def runtime():
    one = Runtime()
    yield one
    one.end()


NATIVE = next((each for each in ABIS if getattr(pyseccomp.Arch, each[1]) == pyseccomp.system_arch()), None)


@pytest.mark.skipif(NATIVE is None, reason="x86-64 and arm64 have names in these documents")
@settings(max_examples=150)
@given(documents(), QUESTIONS, WORKLOADS)
def test_a_document_that_is_taken_means_to_other_runtimes_what_it_means_here(runtime, document, questions, workload):
    (machine, abi, _, docker, _), (capabilities, kernel) = NATIVE, workload
    profile = parse_oci(json.dumps(document).encode())
    bare = [cap.removeprefix("CAP_") for cap in capabilities]
    assume(not conflicts(profile, bare, machine, kernel))
    ours = translated(document, capabilities, machine, kernel)
    rules = [rule for rule in document["syscalls"] if counts(rule, capabilities, docker, kernel)]
    theirs = runtime.filter_of(document, rules)
    assume(theirs is not None)
    token = getattr(pyseccomp.Arch, abi)
    for call, arguments in questions:
        number = pyseccomp.resolve_syscall(token, call)
        assert run(ours, token, number, arguments) == run(theirs, token, number, arguments), (call, arguments)


# ── what is not left to chance


def ask(document, call, *arguments, machine="x86_64", abi="X86_64", capabilities=(), kernel=(6, 1)):
    token = getattr(pyseccomp.Arch, abi)
    number = call if isinstance(call, int) else pyseccomp.resolve_syscall(token, call)
    return run(translated(document, capabilities, machine, kernel), token, number, arguments)


def test_the_default_errno_is_eperm_and_may_be_named():
    assert ask(table(), "read") == ERRNO | errno.EPERM
    assert ask(table(defaultErrnoRet=38), "read") == ERRNO | errno.ENOSYS
    assert ask(table(defaultErrno="ENOSYS"), "read") == ERRNO | errno.ENOSYS
    named = rule("read", action="SCMP_ACT_ERRNO", errno="EBADF", errnoRet=errno.EBADF)
    assert ask(table(syscalls=[named]), "read") == ERRNO | errno.EBADF


@pytest.mark.parametrize("abi", ["X86_64", "X86"])
def test_x32_and_foreign_calls_kill_even_where_the_document_lists_them(abi):
    document = table(defaultAction="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert ask(document, "read", abi=abi) == ALLOW
    assert ask(document, 0x4000_0000) == KILL_PROCESS
    assert ask(document, "read", abi="RISCV64") == KILL_PROCESS


def test_the_first_entry_of_an_arch_map_for_this_machine_counts():
    entries = [("X86_64", ["X86"]), ("X86_64", []), ("AARCH64", None)]
    arch_map = [
        {"architecture": f"SCMP_ARCH_{native}", "subArchitectures": beside and [f"SCMP_ARCH_{one}" for one in beside]}
        for native, beside in entries
    ]
    document = table(defaultAction="SCMP_ACT_ALLOW", archMap=arch_map)
    assert ask(document, "read", abi="X86") == ALLOW
    assert ask(document, "read", machine="aarch64", abi="ARM") == KILL_PROCESS


def test_a_comparison_beyond_32_bits_never_holds_for_a_32_bit_call_or_always():
    """libseccomp alone cuts the value to 32 bits, and then it holds for another argument."""
    for op, holding in {"EQ": False, "GT": False, "GE": False, "NE": True, "LT": True, "LE": True}.items():
        document = table(
            syscalls=[rule("read", args=compared(op, 2**32 + 1))], architectures=["SCMP_ARCH_X86", "SCMP_ARCH_ARM"]
        )
        for argument in (0, 1, 2, 2**32 - 1):
            wanted = ALLOW if holding else ERRNO | 1
            assert ask(document, "read", argument, abi="X86") == wanted, op
            assert ask(document, "read", argument, machine="aarch64", abi="ARM") == wanted, op


def test_a_multiplexer_opens_only_for_what_is_permitted_whatever_its_arguments():
    """Docker's own list: all families of sockets but two. Through socketcall no filter sees which one it is."""
    families = [rule("socket", args=compared("LT", 38)), rule("socket", args=compared("GT", 40))]
    document = table(syscalls=[*families, rule("bind")], architectures=["SCMP_ARCH_X86"])
    assert ask(document, 359, 2, abi="X86") == ALLOW
    assert ask(document, 359, 38, abi="X86") == ERRNO | 1
    assert [number for number in range(22) if ask(document, "socketcall", number, abi="X86") == ALLOW] == [2]
    opened = table(syscalls=[rule("socketcall"), *families], architectures=["SCMP_ARCH_X86"])
    assert ask(opened, "socketcall", 1, abi="X86") == ALLOW


def test_a_refusal_by_argument_is_not_got_round_through_a_multiplexer():
    refusal = rule("socket", action="SCMP_ACT_ERRNO", args=compared("EQ", 38))
    document = table(defaultAction="SCMP_ACT_ALLOW", syscalls=[refusal], architectures=["SCMP_ARCH_X86"])
    assert ask(document, 359, 38, abi="X86") == ask(document, "socketcall", 1, abi="X86") == ERRNO | 1
    assert ask(document, 359, 2, abi="X86") == ask(document, "socketcall", 2, abi="X86") == ALLOW


def test_unknown_names_and_calls_of_the_floor_are_told():
    document = json.dumps(table(syscalls=[rule("reboot", "brand_new_call")], architectures=["SCMP_ARCH_X32"])).encode()
    profile = read_profile(b"\xef\xbb\xbf\n " + document)
    assert unknown_calls(profile) == ("brand_new_call",)
    rules = bound_rules(profile, (), "x86_64", (6, 1))
    assert list(remarks(profile, rules, "x86_64")) == [
        "x32 calls end the process, though the profile lists SCMP_ARCH_X32",
        "permits reboot, which even unconfined refuses",
    ]


EQUAL = compared("EQ", 1)
BOTH = "syscalls[0] and syscalls[1] answer read in two ways, and runtimes do not go by their order"
KILLS = "SCMP_ACT_KILL_PROCESS"
PAIRS = {
    "a rule without arguments takes the place of one with some": (
        rule("read", args=EQUAL), rule("read", action=KILLS), [BOTH],
    ),
    "the first without arguments stays": (rule("read"), rule("read", action=KILLS), []),
    "one that answers as the default does is left out": (rule("read", action="SCMP_ACT_ERRNO"), rule("read"), [BOTH]),
    "the default behind a permit changes nothing": (
        rule("read", args=EQUAL), rule("read", action="SCMP_ACT_ERRNO"), [],
    ),
    "arguments that never meet": (
        rule("read", args=compared("LT", 4)), rule("read", action=KILLS, args=compared("GE", 4)), [],
    ),
    "arguments that meet": (
        rule("read", args=compared("LE", 4)), rule("read", action=KILLS, args=compared("GE", 4)), [BOTH],
    ),
    "masks that cannot both hold": (
        rule("read", args=compared("MASKED_EQ", 3, valueTwo=1)),
        rule("read", action=KILLS, args=compared("MASKED_EQ", 6, valueTwo=2)),
        [],
    ),
    "masks that can": (
        rule("read", args=compared("MASKED_EQ", 3, valueTwo=1)),
        rule("read", action=KILLS, args=compared("MASKED_EQ", 12, valueTwo=4)),
        [BOTH],
    ),
    "other arguments": (rule("read", args=EQUAL), rule("read", action=KILLS, args=compared("EQ", 1, index=1)), [BOTH]),
    "the same answer": (rule("read", args=EQUAL), rule("read"), []),
    "other calls": (rule("read", args=EQUAL), rule("write", action=KILLS), []),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other", "told"), PAIRS.values(), ids=PAIRS)
def test_two_answers_for_one_call_are_told_where_runtimes_and_the_order_differ(one, other, told):
    profile = parse_oci(json.dumps(table(syscalls=[one, other])).encode())
    assert conflicts(profile, (), "x86_64", (6, 1)) == told


def test_rules_that_never_count_together_are_no_conflict():
    one, other = rule("read", args=EQUAL), rule("read", action=KILLS)
    one["includes"], other["excludes"] = {"caps": ["CAP_BPF"]}, {"caps": ["CAP_BPF"]}
    profile = parse_oci(json.dumps(table(syscalls=[one, other])).encode())
    assert conflicts(profile, ("BPF",), "x86_64", (6, 1)) == conflicts(profile, (), "x86_64", (6, 1)) == []
