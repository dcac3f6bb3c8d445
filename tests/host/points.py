"""The kill-test harness: one verb, one process, one system call; kill the process there, or let the call fail.

A Stage runs a verb under inject.c, which logs each call that changes something outside its process. Each line of
that log is a point. `kill` and `fail` run the verb again and hit that point; what they return is what was wrong.
Processes that wait make no calls: so each is killed too while one below it is at a point.

A later verb is one more line of VERBS. Its words are what follows `volt`; {work} and {host} in them are manifests
that Stage writes. `again` is the manifest of the next run of the same name, `finds` what that may find in its layer,
`before` brings about, before each point, what the verb finds when it starts.
"""

import errno
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.host.conftest import CGROUPS, UNSEEN, Volt, cgroups, in_memory, without_scopes
from tests.host.living import until
from tests.host.test_undo import tree
from volt import api
from volt.host import watch
from volt.host.kernel import version
from volt.host.tools import static_program
from volt.launch.cache import FILTER
from volt.model.facts import IMAGE_KERNEL as KERNEL
from volt.runs.claims import is_held

SOURCE = Path(__file__).with_name("inject.c")
NETWORKS = Path("/run/volt/networks")
SECONDS = 20  # that a run may take to end after the hit: the machine may be busy
TRIES = 5  # a claim of another volt of this machine that has died is one more call of ours, or one of ours less
ERRORS = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.EINTR)
STATIC_PROGRAM = static_program()
STATIC = ("supervisor", "guard", "coverer", "watcher", "init", "payload")  # the static program's roles
CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}
MARKS = ("mark", "srv/a/mark")  # what an earlier run left in the kept layer
WHOLE = b"kept\n" * len(MARKS)
PAYLOAD = 7  # its exit status

# They change nothing outside their process: killing there is killing at the next call. They can fail, though.
INWARD = {"memfd_create", "socketpair", "pipe", "pipe2", "fsopen", "fsconfig", "fsmount"}
# So do these, unless what the process becomes is the wall around the payload.
ABOUT_ITSELF = {"prctl", "seccomp", "prlimit64"}
ABOUT_ITSELF |= {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
# What a run on a bridge is about and no other.
CONNECTING = r"/run/volt/networks|/proc/sys/net|socket:|/ns/net"
# Killed before the payload has begun they take all below them along: a payload that would stay proves it.
STRICT = ("supervisor", "guard", "nspawn", "init")
STAYS, LEAVES = "STAY=60\n", "STAY=0\n"  # the env_file, which is read at each launch
# Who waits above a process of this role.
WAITING = {"guard": ("supervisor",), "nspawn": ("supervisor",), "nspawn-outer": ("supervisor", "nspawn")}
WAITING |= {"nspawn-inner": ("supervisor", "nspawn"), "init": ("supervisor", "nspawn")}
WAITING |= {"coverer": ("supervisor",), "watcher": ("supervisor",), "payload": ("supervisor", "nspawn", "init")}
WAITING |= {"supervisor": ("starter",)}  # of a detached run
CHILDREN = {"launcher": "helper", "starter": "supervisor", "init": "payload"}
CHILDREN |= {"nspawn": "nspawn-outer", "nspawn-outer": "nspawn-inner", "keeper": "keeper"}
STEP = re.compile(r"^volt: step \d+, [a-z-]+")


@dataclass(frozen=True)
class Point:
    """The `number`-th call of `process`, made in `role`; `begun`: the payload's command ran by then."""

    process: str
    number: int
    name: str
    about: str
    role: str
    begun: bool

    @property
    def kind(self):
        """What points of one kind share: whose call it is, which, and what it is about, by its folder."""
        about = re.sub(r"[0-9a-f]{8,}|\d+", "#", self.about)
        return self.role, self.name, about.rpartition("/")[0] or about

    @property
    def outward(self):
        """Whether it changes something that outlives its process."""
        if self.name in ABOUT_ITSELF:
            return self.role in ("init", "payload")
        return self.name not in INWARD and not self.about.startswith("/memfd:")

    def __str__(self):
        return f"{self.role} {self.process}:{self.number} {self.name} {self.about}".rstrip()


@dataclass(frozen=True)
class Kill:
    """`process`, in `role`, killed when `point` is reached: its own, or one of a process below it."""

    point: Point
    process: str
    role: str

    @property
    def kind(self):
        waits = self.process != self.point.process
        return (self.role, *self.point.kind[:2]) if waits else self.point.kind

    @property
    def strict(self):
        return self.role in STRICT and not self.point.begun

    def __str__(self):
        return f"{self.role} {self.process} killed at {self.point}"


@dataclass
class Log:
    """What inject.c wrote."""

    points: list[Point] = field(default_factory=list)
    hit: Point | None = None
    ended: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def status(self):
        return self.ended.get("1")

    @property
    def runs(self):
        """The ids of all runs that were made, or would have been."""
        names = [match[1] for point in self.points if (match := re.search(r"/([0-9a-f]{12})\.lock$", point.about))]
        return set(names)


def child_role(parent, call):
    """The role of a process that `parent` has just forked by `call`."""
    if parent == "supervisor":  # by its namespaces, CLONE_NEW…; the watcher has none, and a pidfd; who starts a keeper
        flags = int(call.about, 16)  # has nothing of either, nor our memory
        other = "watcher" if flags & 0x1000 else "coverer" if flags & 0x100 else "keeper"
        return {0x10000000: "mapper", 0x20000000: "guard"}.get(flags & 0x30000000, other)
    return CHILDREN.get(parent, "other")


def role_after_exec(role, program, *, detached):
    """The role of a process once it runs `program`."""
    name = program.rpartition("/")[2]
    if role in ("launcher", "helper"):
        return role if name != "volt" else "starter" if detached else "supervisor"
    if role in ("guard", "nspawn-inner"):
        return {"systemd-nspawn": "nspawn", "3": "init"}.get(name, role)
    return "command" if role == "payload" else role


def read_log(path, *, detached=False):
    log, role, last = Log(), {"1": "launcher"}, {}
    for line in path.read_text(errors="surrogateescape").splitlines():
        word, process, *rest = line.split(" ", 2)
        text = rest[0] if rest else ""
        if word == "call":
            number, name, about = text.split(" ", 2)
            begun = "command" in role.values()
            last[process] = Point(process, int(number), name, about, role[process], begun)
            log.points.append(last[process])
        elif word == "born" and "." in process:
            parent = process.rpartition(".")[0]
            role[process] = child_role(role[parent], last[parent])
        elif word == "born":
            role.setdefault(process, "other")
        elif word == "exec":
            role[process] = role_after_exec(role[process], text, detached=detached)
        elif word == "hit":
            log.hit = last[process]
        elif word == "ended":
            log.ended[process] = int(text)
        elif word == "left":
            log.left.append(f"{role[process]} {process}")
    return log


@dataclass(frozen=True)
class Verb:
    name: str
    words: tuple[str, ...]
    again: str = "again"
    finds: tuple[bytes, ...] = (WHOLE,)
    before: Callable | None = None  # of the stage
    roles: tuple[str, ...] = ()  # the only ones to look at; none: all
    about: str = ""  # only calls about what this expression finds
    briefly: str = ""  # … in an ordinary run
    program: tuple[str, ...] = ()  # what runs it: Python, which plans anew, unless said
    status: int = PAYLOAD  # how it ends
    detached: bool = False


def controllers(root):
    """Those of the cgroup v2 that is mounted there."""
    return (root / "cgroup.controllers").read_text().split()


def crash(stage):
    """Everything that a run can leave: its supervisor is killed before it has released anything."""
    stage.inject(FRESH, f"{stage.first_release()}:kill")


def unconnected(_stage):
    """A machine that no workload on a bridge has run on: the test's own, in its network namespace."""
    state = NETWORKS / str(os.stat("/proc/thread-self/ns/net").st_ino) / "volt0.resolver"
    if state.exists():
        state.write_text("")  # whoever answers for names makes way
        until(lambda: not is_held(str(state)), "its end")
    settings = ["ipv4.ip_forward=0", "ipv6.conf.all.forwarding=0", "ipv6.conf.default.accept_ra=1"]
    for words in (
        ["ip", "link", "del", "volt0"],
        ["nft", "flush", "ruleset"],
        ["sysctl", "-qw", *(f"net.{one}" for one in (*settings, "ipv6.conf.wan.accept_ra=1"))],
    ):
        subprocess.run(words, check=False, capture_output=True)


def forget(stage):
    """An empty plan cache, and files that are old enough to be remembered."""
    stage.age()
    for path in stage.plans(0o700).iterdir():
        path.unlink()


def kept_plans(folder):
    return [path for path in folder.iterdir() if path.name != "key" and not path.name.startswith(FILTER)]


def remember(stage):
    """A plan in the cache, for the command line that is going to be tried, of files that are old enough."""
    plans = stage.plans(0o700)
    if not kept_plans(plans):
        stage.age()
        argv = [sys.executable, "-m", "volt.cli", "run", stage.paths["host"]]
        subprocess.run(argv, env=stage.volt.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert len(kept_plans(plans)) == 1


def bring(stage):
    """The root as an image of the stage's volt."""
    if not (stage.volt.state / "state/images/points:1").exists():
        done = stage.volt("image", "import", stage.folder / "root", "points:1")
        assert done.returncode == 0, done.stderr


RUN = Verb("run", ("run", "{work}"))
FRESH = Verb("fresh", ("run", "--fresh", "{work}"), finds=(WHOLE, b""))
READY = Verb("ready", ("run", "{ready}"), again="ready", finds=(b"",))
# Where there are controllers, as in a guest: limits, in systemd's scope and in a folder of volt's own.
LIMITED = {
    "words": ("run", "{limited}"),
    "again": "limited",
    "finds": (b"",),
    "roles": ("supervisor",),
    "about": "cgroup|^socket",
}
LIMITS = (
    Verb("limits", **LIMITED),
    Verb("limits-cgroupfs", **LIMITED, program=(*UNSEEN, sys.executable, "-m", "volt.cli")),
)
# What a detached launch does besides: the log, what stays of the run, and who starts it.
DETACHED = {"status": 0, "detached": True, "roles": ("starter", "supervisor")}
DETACHING = r"/log|/ended|/outcome|/record|/runs/|^0"
IMAGE = Verb(
    "image",
    ("run", "{image}"),
    again="image",
    finds=(b"", WHOLE),
    before=bring,
    roles=("supervisor", "guard"),
    about="leases|objects|store|/run/lower",
)
VERBS = (
    RUN,
    FRESH,
    Verb("host", ("run", "{host}"), again="host", finds=(b"",)),
    # Before `ready`, which would leave it no kind of point that has not been tried.
    Verb("detach-ready", ("run", "-d", "{ready}"), again="ready", finds=(b"",), briefly="ready", **DETACHED),
    READY,
    Verb("sweep", ("run", "{work}"), finds=(b"",), before=crash, roles=("launcher",)),
    Verb("remember", ("run", "{host}"), again="host", finds=(b"",), before=forget, roles=("launcher",)),
    Verb("cached", ("run", "{host}"), again="host", finds=(b"",), before=remember, program=(STATIC_PROGRAM,)),
    Verb("bridge", ("run", "{bridge}"), again="bridge", finds=(b"",), before=unconnected, about=CONNECTING),
    Verb("outcome", ("run", "--outcome", "{outcome}", "{work}"), roles=("supervisor",)),
    Verb("detach", ("run", "-d", "{work}"), briefly=DETACHING, **DETACHED),
    Verb("detach-rm", ("run", "-d", "--rm", "{work}"), briefly="/log|/layers", **DETACHED),
    *((IMAGE,) if version(os.uname().release) >= KERNEL and not in_memory(tempfile.gettempdir()) else ()),
    *(LIMITS if {name for root in CGROUPS for name in controllers(root)} >= CONTROLLERS else ()),
)


class Stage:
    """A volt with a state of its own, the two workloads, and what they find on the machine."""

    def __init__(self, folder, busybox, injector):
        self.folder, self.injector = folder, injector
        self.volt = Volt(folder)
        self.volt.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        share = folder / "share"
        share.mkdir()
        os.chown(share, 1000, 1000)
        (folder / "values").write_text(LEAVES)
        name = f"points{os.getpid()}"
        root = shutil.copytree(busybox, folder / "root", symlinks=True)
        command = ["/bin/sh", "-c", f"sleep $STAY; exit {PAYLOAD}"]
        everything = {
            "rootfs": str(root),
            "writable_layer": "overlay",
            "tmpfs": ["/cache"],
            "volumes": [{"host": str(share), "container": "/data"}],
        }
        work = {"name": name, "env_file": str(folder / "values"), "command": command}
        self.paths = {
            "work": self.volt.manifest(
                workload={**work, "user": "user"}, storage=everything, limits={"nofile": "64:128"}
            ),
            "again": self.volt.manifest(workload=work, storage=everything),  # its user may write the marks
            "host": self.volt.manifest(workload={**work, "name": f"{name}h"}, network={"mode": "host"}),
            "image": self.volt.manifest(
                workload={**work, "name": f"{name}i", "image": "points:1"},
                storage={"rootfs": "", "writable_layer": "overlay"},
            ),
            "ready": self.volt.manifest(
                workload={
                    **work,
                    "name": f"{name}r",
                    "command": [*command[:2], f"systemd-notify --ready; {command[2]}"],
                },
                service={"ready": "notify"},
            ),
            "limited": self.volt.manifest(
                workload={**work, "name": f"{name}l"},
                resources={"memory_limit": "200M", "cpu_weight": 200, "cpu_set": "0", "pids_max": 50},
            ),
            "bridge": self.volt.manifest(
                workload={**work, "name": f"{name}b"}, network={"mode": "bridge", "ports": ["8080:80", "80"]}
            ),
            "outcome": folder / "outcome.json",
        }
        # A cache that others can look into is not used: else what a run does would depend on the time of day.
        (self.volt.state / "state/plans").mkdir(mode=0o755, parents=True)
        self._first_release, self._aged = None, False
        assert self.run_again(FRESH) == []

    def first_release(self):
        """PROCESS:N of the supervisor's first call of a fresh run once the payload has ended."""
        if self._first_release is None:
            log, _ = self.inject(FRESH)
            self.run_again(FRESH)
            first = next(point for point in log.points if point.role == "supervisor" and point.begun)
            self._first_release = f"{first.process}:{first.number}"
        return self._first_release

    # ── running

    def inject(self, verb, point="-"):
        """The verb under the injector; its log and what it said."""
        path = self.folder / "log"
        words = [word.format(**self.paths) for word in verb.words]
        program = verb.program or (sys.executable, "-m", "volt.cli")
        argv = [self.injector, path, str(SECONDS), point, *program, *words]
        done = subprocess.run(
            argv, env=self.volt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True
        )
        return read_log(path, detached=verb.detached), done.stderr.decode(errors="replace")

    def points(self, verb):
        """The verb's points, from a run that nothing happens to, and that another of its name has gone before."""
        if verb.about:
            self.prepare(verb)
            assert self.run_again(verb) == []
        self.prepare(verb)
        log, said = self.inject(verb)
        assert (log.status, log.left) == (verb.status, []), said
        assert self.told(log.runs) + self.run_again(verb) == []
        wanted = verb.roles or {point.role for point in log.points} - {"command", "other"}
        return [point for point in log.points if point.role in wanted and re.search(verb.about, point.about)]

    def age(self):
        """Wait, once, until no file of the stage is too new for a plan that is kept."""
        if not self._aged:
            time.sleep(1.1 * watch.FRESH / 1e9)
        self._aged = True

    def plans(self, mode):
        """The folder of the plan cache, with this mode."""
        folder = self.volt.state / "state/plans"
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        return folder

    def prepare(self, verb):
        self.plans(0o755)  # where others may look nothing is kept: so Python always makes the same calls
        if verb.before:
            verb.before(self)

    # ── what has to hold

    def try_point(self, hit, *arguments):
        """What `hit` finds wrong, None where the point was not reached; from a new state after anything wrong."""
        wrong = next((wrong for _ in range(TRIES) if (wrong := hit(*arguments)) is not None), None)
        if wrong and not self.mounts():
            shutil.rmtree(self.volt.state)
            self.run_again(FRESH)
        return wrong

    def kill(self, verb, kill):
        """Kill, then run the workload once more: what was wrong, None if it did not come to that."""
        self.prepare(verb)
        before = self.runs_here()
        (self.folder / "values").write_text(STAYS if kill.strict else LEAVES)
        log, _ = self.inject(verb, f"{kill.point.process}:{kill.point.number}:kill:{kill.process}")
        (self.folder / "values").write_text(LEAVES)
        wrong = [f"lives on: {one}" for one in log.left if log.hit] + self.mounts()
        wrong += self.told(log.runs) + self.run_again(verb) + self.left(log.runs | before)
        return wrong if wrong or (log.hit and log.hit.kind == kill.point.kind) else None

    def fail(self, verb, point, error):
        """Let the call fail: a clean error with all undone, or a run that cannot have needed it."""
        self.prepare(verb)
        before, others, beside = self.tree(), self.runs_here(), self.beside()
        log, said = self.inject(verb, f"{point.process}:{point.number}:{error}")
        wrong = [f"lives on: {one}" for one in log.left] + self.mounts()
        told = self.told(log.runs)
        if not log.hit or log.hit.kind != point.kind:
            return wrong + told + self.run_again(verb) or None
        clean = log.status == 125 and STEP.match(said)
        no_command = log.status == 126 and point.name == "execve" and "cannot run" in said
        if clean or no_command:
            wrong += changed(before, self.tree())
        else:
            wrong += told + self.run_again(verb)  # it sweeps what could not be released
            api.gc(older_than=0)  # a log that could not be removed has no record any more
            tried_again = (error, point.name) == (errno.EINTR, "write")
            if log.status != verb.status or not (log.hit.begun or tried_again):
                wrong.append(f"status {log.status}: {said!r}")
        return wrong + self.left(log.runs | others) + [f"left: {name}" for name in self.beside() - beside]

    def run_again(self, verb):
        """The next run of the name; what it finds of the marks has to be whole. It makes them anew."""
        script = "cat $0 $1 2>&-; mkdir -p /srv/a && echo kept > $0 && echo kept > $1"
        command = ["sh", "-c", script, *(f"/{mark}" for mark in MARKS)]
        try:
            with api.launch(self.paths[verb.again], command=command, stdout=api.PIPE, stderr=api.PIPE) as run:
                out, err, outcome = run.communicate(timeout=60)
        except api.VoltError as failure:
            return [f"the next run cannot start: {failure}"]
        if outcome.status != 0:
            return [f"the next run ended with {outcome.status}: {err.decode(errors='replace')} {outcome.message}"]
        return [] if out in verb.finds else [f"the next run found in its layer {out!r}"]

    def told(self, runs):
        """What is wrong with what `ps -a` says of these runs, which have ended; what is kept of them is removed."""
        found = api.ps(ended=True)
        wrong = [f"ps: {problem}" for problem in found.problems]
        for one in found.runs:
            if one.id not in runs:
                continue
            wrong += [f"ps: {one.name} {one.id} is {one.state}"] if one.lives or not one.kept else []
            wrong += [f"ps: it ended with {one.status}: {one.message}"] if one.status not in (PAYLOAD, 125) else []
            api.rm(one.id)
        return wrong

    # ── what is left

    def tree(self):
        """All of the state but the plan cache, which a failed launch may have filled."""
        return {path: what for path, what in tree(self.volt.state).items() if "/state/plans" not in path}

    def mounts(self):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [f"a mount is left: {line}" for line in lines if str(self.folder) in line]

    def beside(self):
        """Files of an outcome that never got their name."""
        return {path.name for path in self.folder.glob("outcome.json.*")}

    def runs_here(self):
        return {path.name.removesuffix(".lock") for path in self.volt.state.glob("run/runs/*")}

    def left(self, runs):
        """What a finished run must not leave; of what all volts of the machine share only that of `runs`."""
        state = self.volt.state
        found = [
            *state.glob("run/*/*"),
            *state.glob("log/*"),
            *state.glob("state/layers/.*"),
            *state.rglob("*.new-*"),
            *state.glob("state/images/*~*"),
        ]
        found += state.glob("state/plans/.*")
        found += state.glob("state/store/leases/*")
        found += without_scopes(lambda: {path for path in cgroups() if any(run in path for run in runs)})
        for claim in (
            *Path("/run/volt/uids").iterdir(),
            *NETWORKS.glob("*/addresses/*"),
            *NETWORKS.glob("*/*.names/*"),
        ):
            try:
                content = claim.read_text(errors="replace")
            except FileNotFoundError:  # another volt's, released meanwhile
                continue
            if any(run in content for run in runs):
                found.append(claim)
        return [f"left: {path}" for path in found] + [f"left: {one}" for one in elements()] + self.mounts()


def elements():
    """What leads from published ports to workloads, in this network namespace."""
    words = ["nft", "list", "table", "inet", "volt"]
    shown = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return [line.strip() for line in shown.splitlines() if " : " in line and "type" not in line]


def kills(points):
    """At each point its own process, and each that waits above it."""
    process = {point.role: point.process for point in points}
    found = []
    for point in points:
        roles = [point.role, *(role for role in WAITING.get(point.role, ()) if role in process)]
        found += [Kill(point, process[role], role) for role in roles]
    return found


def changed(before, after):
    """What is not undone."""
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [f"not undone: {path}" for path in paths]


def one_of_each(found, seen):
    """The first of each kind that is not in `seen`, which grows."""
    chosen = []
    for one in found:
        if one.kind not in seen:
            seen.add(one.kind)
            chosen.append(one)
    return chosen


def compile_injector(folder):
    if platform.machine() != "x86_64":
        pytest.skip("tests/host/inject.c knows the system calls of x86-64 only")
    program = folder / "inject"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", program], check=True)
    return program
