"""What an explanation claims against what a probe inside finds: attempts, their outcomes, and where the two differ."""

from __future__ import annotations

import json

from volt.model.explanation import (
    MOUNTS,
    CallClaim,
    CapabilityClaim,
    HiddenClaim,
    IdentityClaim,
    LimitClaim,
    PathClaim,
    PortClaim,
    ReachClaim,
)
from volt.model.steps import mask_of
from volt.plan.explain_places import within

# Prints for each "ACT WHAT" of a JSON list the name of an errno, or "done"; then facts of its own process.
PROBE = """
import ctypes, errno, json, os, resource, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def tcp(act, port):
    with socket.socket() as one:
        getattr(one, act)(("127.0.0.1", int(port)))
def connect(port):
    with socket.socket() as server:
        try:
            server.bind(("127.0.0.1", int(port)))
            server.listen()
            listening = True
        except OSError:
            listening = False  # then a refusal is that nobody is there
        try:
            tcp("connect", port)
        except ConnectionRefusedError as refused:
            raise OSError(errno.EPERM, "") if listening else refused
def abstract(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(chr(0) + name)
def opened(path, flags, mode=0):
    descriptor = os.open(path, flags, mode)
    os.close(descriptor)
def run(path):
    os.waitpid(os.posix_spawn(path, [path], {}), 0)
def script(folder):
    path = folder + "/volt-tool"
    with open(path, "w") as file:
        file.write("#!/bin/sh" + chr(10))
    os.chmod(path, 0o755)
    run(path)
def noexec(path):
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise OSError(errno.EACCES, "")
def call(number):
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        minus = [ctypes.c_long(-1)] * 6
        failed = libc.syscall(ctypes.c_long(int(number)), *minus) == -1
        os._exit(ctypes.get_errno() if failed else 0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status if status > 0 else errno.ENOTRECOVERABLE, "")
def reach(what):
    if what.isdigit():
        os.stat("/proc/" + what)
    elif os.readlink("/proc/self/ns/net") != what:
        raise OSError(errno.ENETUNREACH, "")
def hidden(path):
    found = os.listdir(path) if os.path.isdir(path) else open(path).read()
    if found:
        raise OSError(errno.ENOTEMPTY, "")
ACTS = {
    "read": lambda path: open(path, "rb").read(1), "list": os.listdir,
    "write": lambda path: opened(path, os.O_WRONLY), "truncate": lambda path: os.truncate(path, 0),
    "make": lambda path: opened(path + "/volt-made", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
    "remove": os.unlink, "execute": run, "script": script, "hidden": hidden, "abstract": abstract,
    "bind": lambda port: tcp("bind", port), "connect": connect, "call": call, "reach": reach,
    "noexec": noexec,
}
def outcome(word):
    act, _, what = word.partition(" ")
    try:
        ACTS[act](what)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
found = {word: outcome(word) for word in json.loads(sys.argv[1])}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
own = {key: int(status[key], 16) for key in ("CapEff", "CapBnd", "CapAmb")}
own |= {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "NoNewPrivs": int(status["NoNewPrivs"])}
own["nofile"] = ":".join(map(str, resource.getrlimit(resource.RLIMIT_NOFILE)))
print(json.dumps({"found": found, "own": own}))
"""
KILLED = "ENOTRECOVERABLE"  # how the probe says that a call ended its child

FILES = """
read /etc/passwd
read /etc/hosts
read /usr/bin/env
read /proc/self/status
read /dev/zero
read /sys/kernel/uevent_seqnum
read /data/file
read /assets/file
list /mnt
list /sys/class
write /etc/passwd
write /etc/hosts
write /usr/bin/env
write /proc/self/comm
write /proc/sys/kernel/domainname
write /dev/null
write /data/file
write /assets/file
truncate /etc/group
truncate /data/file
truncate /assets/file
make /srv
make /etc
make /usr
remove /etc/nsswitch.conf
remove /dev/full
remove /data/old
remove /assets/old
execute /usr/bin/true
execute /data/tool
execute /assets/tool
script /tmp
script /run
script /srv
script /opt
script /cache
script /dev/shm
script /data
""".strip().splitlines()
# Where everybody may write, whatever the user.
EVERYBODYS = ("/tmp", "/cache", "/dev/shm", "/dev/mqueue", "/dev/null", "/dev/zero", "/proc/self")

# Called with -1 in the place of each argument, which does nothing. In the second list are those that the kernel itself
# refuses to a workload, so that it proves nothing where they are permitted.
CALLS = """
setns clone3 vmsplice process_madvise kcmp io_uring_enter io_uring_setup add_key request_key open_tree userfaultfd
read write lseek pread64 readv fsync flock getdents64 recvfrom sendto listen accept epoll_wait splice getpid
inotify_add_watch inotify_init1 mq_unlink shmget semget ptrace fsetxattr
""".split()
PRIVILEGED = """
umount2 pivot_root fsopen move_mount chroot open_by_handle_at kexec_load delete_module swapoff settimeofday acct
sethostname bpf perf_event_open fanotify_init move_pages keyctl userfaultfd
""".split()
NOT_RUN = ("EPERM", "ENOSYS", KILLED)
REFUSED = ("EACCES", "EPERM", "EROFS")
NOT_THERE = ("ENOENT", "ENOTDIR")


def attempts(said, numbers, ports, host):
    """What the probe tries: the same for everybody, and each path that a claim names."""
    words = list(FILES)
    statements = [one for section in said.sections for one in section.statements]
    by_mounts = [claim for one in statements if one.walls == (MOUNTS,) for claim in one.claims]
    for claim in said.claims():
        if isinstance(claim, PathClaim):
            rights = {*claim.allowed, *claim.refused}
            words += [f"{right} {claim.path}" for right in ("list", "make") if right in rights]
            if rights == {"write", "truncate"}:
                words.append(f"write {claim.path}")
            if "execute" in claim.refused and claim in by_mounts:
                words.append(f"noexec {claim.path}")
        elif isinstance(claim, HiddenClaim):
            words += [f"hidden {path}" for path in claim.paths]
    words += [f"{act} {port}" for act in ("bind", "connect") for port in ports]
    words += [f"call {numbers[name]}" for name in (*CALLS, *PRIVILEGED) if name in numbers]
    words += [f"abstract {host['abstract']}", f"reach {host['pid']}", f"reach {host['network']}"]
    return json.dumps(list(dict.fromkeys(words)))


class Compared:
    """The claims of one explanation beside the outcomes of one probe."""

    def __init__(self, said, found, own, numbers, host):
        self.claims = said.claims()
        self.found, self.own, self.numbers, self.host = found, own, numbers, host
        self.proven = set()

    def differences(self):
        """Each outcome that is not what is claimed, in words; `proven` has the claims that had an outcome."""
        self.proven = set()
        return [*self._paths(), *self._ports(), *self._reach(), *self._calls(), *self._process()]

    def _of(self, kind):
        return [claim for claim in self.claims if isinstance(claim, kind)]

    def path_claim(self, right, path):
        """The innermost claim on a right."""
        own = [c for c in self._of(PathClaim) if right in (*c.allowed, *c.refused) and within(path, c.path)]
        return max(own, key=lambda claim: len(claim.path), default=None)

    def _unreadable(self, path):
        claim = self.path_claim("read", path)
        return claim is None or "read" in claim.refused

    def _paths(self):
        for word, outcome in self.found.items():
            act, _, path = word.partition(" ")
            if act == "hidden":
                self.proven |= {claim for claim in self._of(HiddenClaim) if path in claim.paths}
                if outcome not in ("done", *NOT_THERE) and not (outcome == "EACCES" and self._unreadable(path)):
                    yield f"{word}: {outcome}"
            right = {"script": "execute", "noexec": "execute"}.get(act, act)
            claim = self.path_claim(right, path) if path.startswith("/") else None
            if claim is None or outcome in NOT_THERE:
                continue
            allowed = right in claim.allowed
            if act == "script" and "make" not in self.path_claim("make", path).allowed:
                continue  # it could not be written
            self.proven.add(claim)
            as_everybody = self.own["uid"] == 0 or any(within(path, place) for place in EVERYBODYS)
            if (allowed and as_everybody and outcome != "done") or (not allowed and outcome not in REFUSED):
                yield f"{word}: {outcome}, claimed {'possible' if allowed else 'refused'}"

    def _ports(self):
        for word, outcome in self.found.items():
            act, _, port = word.partition(" ")
            own = [c for c in self._of(PortClaim) if c.act == act and port.isdigit() and c.first <= int(port) <= c.last]
            claim = min(own, key=lambda claim: claim.last - claim.first, default=None)
            if claim is None or (outcome == "ECONNREFUSED" and not claim.allowed):
                continue  # nobody could listen there: that proves nothing of a wall
            self.proven.add(claim)
            if claim.allowed != (outcome not in REFUSED):
                yield f"{word}: {outcome}, claimed {'possible' if claim.allowed else 'refused'}"

    def _reach(self):
        words = {
            "network": f"reach {self.host['network']}",
            "processes": f"reach {self.host['pid']}",
            "abstract sockets": f"abstract {self.host['abstract']}",
        }
        for claim in self._of(ReachClaim):
            self.proven.add(claim)
            if claim.allowed != (self.found[words[claim.what]] == "done"):
                yield f"{claim.what}: {self.found[words[claim.what]]}"

    def _calls(self):
        for claim in self._of(CallClaim):
            for call in claim.calls:
                outcome = self.found.get(f"call {self.numbers[call]}")
                if outcome is None or len(claim.answers) > 1:
                    continue
                self.proven.add(claim)
                said = {"kill": KILLED}.get(claim.answers[0], claim.answers[0])
                runs = outcome not in NOT_RUN or (call in PRIVILEGED and outcome != KILLED)
                if not (runs if said == "runs" else outcome == said):
                    yield f"{call}: {outcome}, claimed {said}"

    def _process(self):
        sets = {"effective": "CapEff", "ambient": "CapAmb", "bounding": "CapBnd"}
        for claim in self._of(CapabilityClaim):
            self.proven.add(claim)
            if mask_of(claim.capabilities) != self.own[sets[claim.set]]:
                yield f"{claim.set} capabilities: {self.own[sets[claim.set]]:x}"
        for claim in self._of(IdentityClaim):
            self.proven.add(claim)
            own = tuple(self.own[key] for key in ("uid", "gid", "groups", "NoNewPrivs"))
            if own != (claim.uid, claim.gid, list(claim.groups), claim.no_new_privs):
                yield f"identity: {own}"
        for claim in self._of(LimitClaim):
            if claim.limit in self.own:
                self.proven.add(claim)
                if self.own[claim.limit] != claim.value:
                    yield f"{claim.limit}: {self.own[claim.limit]}"
