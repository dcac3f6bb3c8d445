"""The calls of the init: what it makes itself once it is set up, besides all that its payload's filter lets through.

A filter is inherited, and the strictest answer counts: the payload runs behind this one too, and so does every session,
which does the payload's steps again. So it is never tighter than theirs. Where theirs ends the process, this one
answers EPERM: theirs still ends the payload, and a call of the init that nobody foresaw must not end the workload.
"""

from __future__ import annotations

import errno
import struct

from volt.plan.seccomp_rules import ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, TRAP, Comparison, Entry

# Why → which. Those that an architecture does not have are no loss: its C library takes the other of the two.
_WHOLE = {
    "the supervisor's word and its answer, and what children do": (
        "read write recvmsg poll ppoll restart_syscall wait4 kill"
    ),
    "memory, which is given back before it waits": "mmap munmap madvise",
    "descriptors: what is handed on goes to its places, and all else is closed": "close close_range fcntl dup2 dup3",
    "an exec's report, and when its children end": "pipe2 signalfd4 rt_sigaction rt_sigprocmask setitimer",
    "what a session reads: the plan, the command, env files, the children of one that ends": (
        "pread64 fstat open openat"
    ),
    "the payload's steps, which a session does too": (
        "setsid fchown umask prlimit64 setgroups setresgid setresuid capset openat2 fchdir seccomp"
    ),
    "a session's own number; its end": "getpid exit_group",
}
_LOW_HALF = 0xFFFF_FFFF
_NAMESPACES = 0x7E02_0000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_AF_UNIX = 1
_TIOCSCTTY = 0x540E
# linux/prctl.h: PR_SET_PDEATHSIG, GET_DUMPABLE, SET_KEEPCAPS, CAPBSET_READ, CAPBSET_DROP, SET_CHILD_SUBREAPER,
# SET_NO_NEW_PRIVS, CAP_AMBIENT.
_CONTROLS = (1, 3, 8, 23, 24, 36, 38, 47)


def _of(call: str, argument: int, value: int, mask: int = _LOW_HALF) -> Entry:
    return Entry(call, ALLOW, (Comparison(argument, "EQ", value, mask),))


OWN: tuple[Entry, ...] = (
    *(Entry(call, ALLOW) for calls in _WHOLE.values() for call in calls.split()),
    _of("clone", 0, 0, _NAMESPACES),
    _of("socketpair", 0, _AF_UNIX),
    _of("ioctl", 1, _TIOCSCTTY),
    *(_of("prctl", 0, control) for control in _CONTROLS),
)

# linux/bpf_common.h: struct sock_filter, BPF_RET | BPF_K.
_INSTRUCTION = struct.Struct("<HBBI")
_RETURN = 0x06
_ACTION = 0xFFFF_0000
_ENDS = (KILL_PROCESS, KILL_THREAD, TRAP)


def lenient(program: bytes) -> bytes:
    """The filter with EPERM for every answer that ends the process."""
    lenient = bytearray()
    for code, yes, no, value in _INSTRUCTION.iter_unpack(program):
        ends = code == _RETURN and value & _ACTION in _ENDS
        lenient += _INSTRUCTION.pack(code, yes, no, ERRNO | errno.EPERM if ends else value)
    return bytes(lenient)
