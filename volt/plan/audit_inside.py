"""What only shows from inside: calls that a plan's filter and Landlock rules refuse, tried behind the running wall.

Every call has arguments with which it does nothing should the wall be missing: the kernel itself refuses them, or what
they do ends with the process that tries.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from volt.errors import StateError
from volt.model.attempts import Attempt, Invoked, Tried, Tries
from volt.model.audit import Beside, Point
from volt.model.plan import LaunchPlan
from volt.model.steps import AllowBeneath, AllowPorts, FilterCalls, MakeRuleset, Mask, ProtectInit
from volt.plan.audit_mounts import plain
from volt.plan.bpf import ACTION, ALLOW, DATA, ERRNO, KILLS, answer

NO_FD = 0xFFFF_FFFF
SIGSYS = 31  # signal(7), of every architecture that volt knows
TIOCSTI = 0x5412
AT_FDCWD = -100
# AUDIT_ARCH_ of linux/audit.h, and the numbers of system calls: asm/unistd.h of each architecture.
ABIS = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NUMBERS = {
    "x86_64": (
        "read=0 ioctl=16 socket=41 connect=42 bind=49 kill=62 ptrace=101 personality=135 mount=165 swapon=167 "
        "reboot=169 init_module=175 kexec_load=246 add_key=248 keyctl=250 openat=257 mknodat=259 unshare=272 "
        "perf_event_open=298 open_by_handle_at=304 setns=308 bpf=321 userfaultfd=323 io_uring_setup=425 fsopen=430 "
        "clone3=435 unknown=1000"
    ),
    "aarch64": (
        "read=63 ioctl=29 socket=198 connect=203 bind=200 kill=129 ptrace=117 personality=92 mount=40 swapon=224 "
        "reboot=142 init_module=105 kexec_load=104 add_key=217 keyctl=219 openat=56 mknodat=33 unshare=97 "
        "perf_event_open=241 open_by_handle_at=265 setns=268 bpf=280 userfaultfd=282 io_uring_setup=425 fsopen=430 "
        "clone3=435 unknown=1000"
    ),
}
# By class: modules and kernels, mounts, namespaces, other processes, key rings, terminals, sockets, large surfaces.
TRIED = {
    "init_module": (0, 0, 0),
    "kexec_load": (0, 0, 0, NO_FD),
    "reboot": (0, 0, 0, 0),
    "swapon": (0, 0),
    "mount": (0, 1, 1, 0, 0),
    "fsopen": (1, 0),
    "open_by_handle_at": (NO_FD, 0, 0),
    "unshare": (0x1000_0000,),
    "setns": (NO_FD, 0),
    "clone3": (1, 88),
    "ptrace": (NO_FD, NO_FD, 1, 1),
    "personality": (0x40000,),
    "add_key": (0, 0, 0, 0, 0),
    "keyctl": (NO_FD, 0),
    "ioctl": (NO_FD, TIOCSTI),
    "socket": (38, 5, 0),
    "bpf": (0xFFFF, 0, 0),
    "perf_event_open": (0, 0, NO_FD, NO_FD, 0),
    "userfaultfd": (NO_FD,),
    "io_uring_setup": (0, 0),
    "unknown": (),
}
CHARACTER = 0o020600
NULL_DEVICE = 0x103  # 1:3; newer kernels take 0:0, which is a whiteout, for a regular file
AF_UNIX, AF_INET, SOCK_STREAM, SOCK_DGRAM = 1, 2, 1, 2
ADDRESS = 16  # bytes of struct sockaddr_in
WRITE_ONLY = 0o1
# Files that everything has, opened for writing without changing anything.
WRITTEN = ("/proc/self/coredump_filter", "/etc/hostname", "/dev/shm")
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Machine:
    """The numbers of one architecture's calls, and what the plan's filter answers to them."""

    def __init__(self, plan: LaunchPlan, architecture: str) -> None:
        if architecture not in NUMBERS:
            raise StateError(f"there is no table of the system calls of {architecture}")
        pairs = (word.split("=") for word in NUMBERS[architecture].split())
        self.numbers = {name: int(number) for name, number in pairs}
        self.abi = ABIS[architecture]
        self.filter = next((step.filter for step in plan.payload if isinstance(step, FilterCalls)), b"")

    def answer(self, name: str, arguments: tuple[int, ...] = ()) -> int:
        return answer(self.filter, self.abi, self.numbers[name], arguments) if self.filter else ALLOW

    def call(self, name: str, *arguments: int, places: tuple[int, ...] = (), previous: tuple[int, ...] = ()) -> Invoked:
        return Invoked(self.numbers[name], arguments, places, previous)

    def reaches(self, *names: str) -> bool:
        """Whether the filter lets these through, with no argument that it looks at."""
        return all(self.answer(name, (AF_INET, SOCK_STREAM)) == ALLOW for name in names)


def scopes_of(plan: LaunchPlan) -> tuple[str, ...]:
    """The scopes that Landlock closes by the plan: to try them something has to stand outside."""
    return tuple(scope for step in plan.init if isinstance(step, MakeRuleset) for scope in step.scopes)


def attempts(plan: LaunchPlan, architecture: str, outside: Beside) -> tuple[Attempt, ...]:
    """What is to be tried, in order. Raises StateError for an architecture that is not known."""
    machine = Machine(plan, architecture)
    return (
        *_filtered(machine),
        *_files(plan, machine),
        *_ports(plan, machine),
        *_scopes(machine, outside),
        *_masks(plan, machine),
    )


def inside_points(plan: LaunchPlan, wanted: tuple[Attempt, ...], tries: Tries) -> Iterator[Point]:
    """A point of the init, and one of each attempt."""
    if any(isinstance(step, ProtectInit) for step in plan.init):
        found = "not dumpable" if tries.dumpable == 0 else "dumpable"
        yield Point("init.dumpable", "not dumpable", found, tries.dumpable == 0)
    for attempt, tried in zip(wanted, tries.tried, strict=True):
        yield Point(attempt.name, attempt.planned, _found(attempt, tried), _holds(attempt, tried))


def _holds(attempt: Attempt, tried: Tried) -> bool:
    if attempt.killed:
        return tried.status & 0x7F == SIGSYS
    return tried.status == 0 and (-tried.result in attempt.refusals or (attempt.empty and tried.result <= 0))


def _found(attempt: Attempt, tried: Tried) -> str:
    if tried.status & 0x7F:
        return f"killed by signal {tried.status & 0x7F}"
    if tried.status:
        return "the payload's steps could not be done again"
    if tried.result < 0:
        return errno.errorcode.get(-tried.result, str(-tried.result))
    return attempt.planned if attempt.empty and not tried.result else "it could be done"


def _names(refusals: tuple[int, ...]) -> str:
    return " or ".join(errno.errorcode[number] for number in refusals)


def _filtered(machine: Machine) -> Iterator[Attempt]:
    """A call of each class that the filter refuses; of one that it lets through, nothing can be said."""
    for name, arguments in TRIED.items():
        found = machine.answer(name, arguments)
        calls = (machine.call(name, *arguments),)
        if found & ACTION == ERRNO:
            refusals = (found & DATA,)
            yield Attempt(f"seccomp {name}", _names(refusals), calls, refusals=refusals)
        elif found & ACTION in KILLS:
            yield Attempt(f"seccomp {name}", f"killed by signal {SIGSYS}", calls, killed=True)


def _files(plan: LaunchPlan, machine: Machine) -> Iterator[Attempt]:
    handled = {right for step in plan.init if isinstance(step, MakeRuleset) for right in step.files}
    if "make_char" in handled and not _allowed(plan, "/dev/shm", "make_char") and machine.reaches("mknodat"):
        # Without Landlock the user namespace says EPERM.
        call = machine.call("mknodat", AT_FDCWD, 0, CHARACTER, NULL_DEVICE, places=(1,))
        node = b"/dev/shm/.volt-audit\0"
        yield Attempt("landlock make_char /dev/shm", "EACCES", (call,), node, (errno.EACCES,))
    for path in WRITTEN if "write_file" in handled and machine.reaches("openat") else ():
        if not _allowed(plan, path, "write_file"):
            call = machine.call("openat", AT_FDCWD, 0, WRITE_ONLY, 0, places=(1,))
            yield Attempt(f"landlock write_file {path}", _names(REFUSED), (call,), path.encode() + b"\0", REFUSED)


def _allowed(plan: LaunchPlan, path: str, right: str) -> bool:
    rules = (step for step in plan.init if isinstance(step, AllowBeneath) and right in step.access)
    return any(f"{path}/".startswith(plain(rule.path).rstrip("/") + "/") for rule in rules)


def _ports(plan: LaunchPlan, machine: Machine) -> Iterator[Attempt]:
    handled = {right for step in plan.init if isinstance(step, MakeRuleset) for right in step.ports}
    for right in ("bind_tcp", "connect_tcp"):
        name = right.partition("_")[0]
        if right not in handled or not machine.reaches("socket", name):
            continue
        rules = [step for step in plan.init if isinstance(step, AllowPorts) and right in step.access]
        port = next((n for n in range(61_001, 65_536) if not any(rule.first <= n <= rule.last for rule in rules)), 0)
        if not port:
            continue
        address = struct.pack("<H", AF_INET) + struct.pack(">H4s8x", port, bytes((127, 0, 0, 1)))
        calls = (
            machine.call("socket", AF_INET, SOCK_STREAM, 0),
            machine.call(name, 0, 0, ADDRESS, places=(1,), previous=(0,)),
        )
        yield Attempt(f"landlock {right} {port}", "EACCES", calls, address, (errno.EACCES,))


def _scopes(machine: Machine, outside: Beside) -> Iterator[Attempt]:
    """What is refused with the payload's own ids, and in its own namespaces, only Landlock refuses."""
    if outside.process and machine.reaches("kill"):
        call = machine.call("kill", outside.process, 0)
        yield Attempt("landlock signal", "EPERM", (call,), refusals=(errno.EPERM,))
    unix = machine.answer("socket", (AF_UNIX, SOCK_DGRAM)) == ALLOW
    if outside.abstract and unix and machine.reaches("connect"):
        address = struct.pack("<H", AF_UNIX) + outside.abstract
        calls = (
            machine.call("socket", AF_UNIX, SOCK_DGRAM, 0),
            machine.call("connect", 0, 0, len(address), places=(1,), previous=(0,)),
        )
        yield Attempt("landlock abstract_unix_socket", "EPERM", calls, address, (errno.EPERM,))


def _masks(plan: LaunchPlan, machine: Machine) -> Iterator[Attempt]:
    """Nothing is read where a file is masked; of a folder, or where nothing is, read(2) or open(2) is an error."""
    if not machine.reaches("openat", "read"):
        return
    for step in plan.init:
        if isinstance(step, Mask):
            path = plain(step.path).encode() + b"\0"
            calls = (
                machine.call("openat", AT_FDCWD, 0, 0, 0, places=(1,)),
                machine.call("read", 0, 0, 1, places=(1,), previous=(0,)),
            )
            yield Attempt(f"read {plain(step.path)}", "nothing to be read", calls, path, empty=True)
