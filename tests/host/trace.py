"""Reading strace's output: which calls each process of a launch made, by its role."""

import re
import subprocess
import sys
from dataclasses import dataclass

# One line: PID, call, arguments, result.
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += +(-?\d+|\?)(?: /\* (\d+) in strace's PID NS \*/)?.*$")
UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")

# Calls that can change something outside the process; openat and write do so in some cases.
CHANGING = (
    "mkdir mkdirat mknod mknodat link linkat symlink symlinkat unlink unlinkat rmdir rename renameat renameat2 "
    "chmod fchmod fchmodat fchmodat2 chown fchown fchownat lchown truncate ftruncate setxattr fsetxattr "
    "mount umount2 move_mount pivot_root sethostname setdomainname fork vfork clone clone3 "
    "execve execveat kill tkill tgkill pidfd_send_signal setns unshare ioctl bind connect open openat openat2 "
    "fsmount write"
).split()
INIT = '"/proc/self/fd/3", ["/proc/self/fd/3", "init"'
CONTROL = "4"  # the init's end of the control socket
# The same change under another name, as libc chooses.
SAME = {
    "open": "openat",
    "link": "linkat",
    "openat2": "openat",
    "rename": "renameat2",
    "mkdir": "mkdirat",
    "unlink": "unlinkat",
}
SAME |= {"rmdir": "unlinkat", "fork": "clone3", "clone": "clone3", "vfork": "clone3", "symlink": "symlinkat"}


@dataclass
class Call:
    pid: int
    name: str
    arguments: str
    result: str

    @property
    def kind(self):
        return SAME.get(self.name, self.name)

    @property
    def failed(self):
        return self.result.startswith("-")

    def changes(self):
        """Whether it changed something: an open that makes nothing and a write to a private file do not."""
        if self.name not in CHANGING or self.failed:
            return False
        if self.kind == "openat":
            return "O_CREAT" in self.arguments or "O_TMPFILE" in self.arguments
        if self.name == "ioctl":
            return any(request in self.arguments for request in ("TCSETS", "TIOCSWINSZ", "SIOCS"))
        return True


def read(path):
    """Every call of a trace, unfinished ones joined with their ends, in the order of their beginnings."""
    begun, calls = {}, []
    for number, text in enumerate(path.read_text(errors="replace").splitlines()):
        line, start = text, number
        if match := UNFINISHED.match(line):
            begun[match[1]] = (f"{match[1]} {match[2]}({match[3]}", number)
            continue
        if (match := RESUMED.match(line)) and match[1] in begun:
            first, start = begun.pop(match[1])
            line = first + match[3]
        if match := LINE.match(line):
            calls.append((start, Call(int(match[1]), match[2], match[3], match[5] or match[4])))
    return [call for _, call in sorted(calls, key=lambda pair: pair[0])]


def outward(calls):
    """The calls of one role without those on its own memory files, sockets and pipes, and its own start."""
    private, kept = {CONTROL} if calls and calls[0].arguments.startswith(INIT) else set(), []
    for call in calls:
        if call.name in ("memfd_create", "signalfd4") and not call.failed:
            private.add(call.result)
        elif call.name in ("socketpair", "pipe2") and not call.failed:
            private |= set(re.search(r"\[(\d+), (\d+)\]", call.arguments).groups())
        elif call.name in ("fcntl", "dup", "dup2") and call.arguments.split(",")[0] in private:
            private.add(call.result)
        elif call.kind == "openat" and not call.failed:
            private.discard(call.result)
        if call.arguments.startswith(INIT) or (
            call.name in ("write", "fchmod") and call.arguments.split(",")[0] in private
        ):
            continue
        kept.append(call)
    return kept


def roles(calls):
    """Role → the calls of the static program in that role: supervisor, guard, init, payload, and cover, who covers for
    the init what lies below its root.

    A process belongs to volt from its exec of the static program, or its fork from one, to its next exec.
    """
    role, found = {}, {"supervisor": [], "guard": [], "init": [], "payload": [], "cover": []}
    for call in calls:
        if call.name == "execve" and not call.failed:
            mine = role.pop(call.pid, None)
            if mine:
                found[mine].append(call)
            if '"perform"' in call.arguments:
                role[call.pid] = "supervisor"
            elif call.arguments.startswith(INIT):
                role[call.pid] = "init"
                found["init"].append(call)
            continue
        mine = role.get(call.pid)
        if mine is None:
            continue
        if "CLONE_VFORK" in call.arguments and not call.failed:
            role[int(call.result)] = "cover"
            continue
        found[mine].append(call)
        if call.kind == "clone3" and not call.failed:
            child = {"supervisor": "guard", "init": "payload"}.get(mine)
            if child and "CLONE_NEWUSER" not in call.arguments:
                role[int(call.result)] = child
    return found


def strace(volt, trace, *arguments, options=()):
    """`volt ARGUMENTS` under strace, all processes followed."""
    argv = [
        "strace",
        "-f",
        "-s",
        "4096",
        "--decode-pids=pidns",
        "-o",
        str(trace),
        *options,
        sys.executable,
        "-m",
        "volt",
        *map(str, arguments),
    ]
    return subprocess.run(argv, env=volt.environment, capture_output=True, timeout=120, check=False)
