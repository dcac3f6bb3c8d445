"""Watching what a plan is made from: every file, place and setting that was looked at, as an entry's dependencies.

Each is noted before it is read, so that a change in between makes the entry stale, not wrong.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence

from volt.host.cgroups import BUS, CORES, MACHINED, SYSTEMD, schedulers
from volt.host.etc import RESOLV_CONF
from volt.host.files import lines, read_text
from volt.host.kernel import MODPROBE, modules
from volt.host.syscalls import landlock_abi
from volt.host.tools import places
from volt.model.entry import Dependency, Depends, numbers_of, numbers_of_file
from volt.model.facts import Facts
from volt.model.landlock import PORTS_ABI
from volt.model.modes import NetworkMode
from volt.model.networks import DEFINITIONS
from volt.model.policy import POLICY, POLICY_FOLDER
from volt.model.steps import LIMITS
from volt.model.workload import Resources, Workload

# A change within the resolution of a file system's clock leaves no trace: what has just been changed is not
# remembered. The coarsest that is met, vfat's, is 2 s.
FRESH = 2_000_000_000  # ns

# What the facts of every launch come from, beside the programs and libraries themselves.
TEXTS = (
    "/proc/self/mountinfo",  # where cgroup v2 is, and what can be idmapped
    "/proc/self/cgroup",  # the caller's own
    "/proc/1/cgroup",  # systemd's, where that is PID 1
    "/proc/sys/kernel/random/boot_id",  # the record's; and with it the kernel
    "/proc/sys/kernel/hostname",  # ${HOSTNAME}
)
FILES = (
    RESOLV_CONF,
    "/etc/subuid",
    "/etc/subgid",
    POLICY_FOLDER,  # whether root alone can have written the policy, or removed it
    POLICY,
)
# Packages whose code decides what is in a plan.
CODE = ("volt", "pyseccomp", "tomli")
# Modules, or packages, that decide what is in a filter, tomli by what it reads of a profile.
_SECCOMP = ("", "_bound", "_check", "_oci", "_profile", "_rules")
COMPILER = (*(f"volt.plan.seccomp{part}" for part in _SECCOMP), "volt.model.filter", "pyseccomp", "tomli")
NOTIFY = "NOTIFY_SOCKET"  # sd_notify(3): whether a caller is told of readiness
ACCOUNTS = ("etc", "etc/passwd", "etc/group")


class Watch:
    """Dependencies so far. `certain` is False when something was seen that no entry can depend on."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.certain = True
        self.found: dict[tuple[Depends, str], Dependency] = {}

    def file(self, path: str) -> None:
        """A file that is read, or a folder whose entries count; also where there is none."""
        self._status(Depends.FILE, path)

    def link(self, path: str) -> None:
        """What lies at a path, itself; a symbolic link there leads further than an entry can watch."""
        self._status(Depends.LINK, path)

    def step(self, path: str, *, there: bool) -> None:
        """A step of a way that has been followed by itself: a symbolic link there is what it is, and not what it leads
        to."""
        try:
            status = os.lstat(path)
        except OSError:
            self.certain &= not there
            self._note(Depends.ABSENT, path, ())
            return
        self.certain &= there and time.time_ns() - status.st_ctime_ns > FRESH
        self._note(Depends.LINK, path, numbers_of_file(status))

    def opened(self, path: str, descriptor: int) -> None:
        """A file that has just been opened to be read."""
        self._note_status(Depends.FILE, path, os.fstat(descriptor))

    def place(self, path: str) -> None:
        """Something that is mounted: what it is counts, not what is in it."""
        try:
            status = os.stat(path)  # noqa: PTH116 (paths are text here)
        except OSError:
            self.link(path)
            return
        kind = stat.S_IFMT(status.st_mode)
        self._note(Depends.PLACE, path, (status.st_dev, status.st_ino, kind, status.st_uid, status.st_gid))

    def text(self, path: str) -> None:
        """A small file of /proc, by what it says."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123 (paths are text here)
                self._note(Depends.TEXT, path, numbers_of(file.read(), self.key))
        except OSError:
            self.certain = False

    def variable(self, name: str, value: str | None) -> None:
        """A variable of the environment. Its value may be a secret, and would stand in the plan: no entry then."""
        if value is None:
            self._note(Depends.UNSET, name, ())
        else:
            self.certain = False

    def _status(self, kind: Depends, path: str) -> None:
        try:
            status = os.stat(path, follow_symlinks=kind == Depends.FILE)  # noqa: PTH116 (paths are text here)
        except (FileNotFoundError, NotADirectoryError):
            self.certain &= not os.path.lexists(path)
            self._note(Depends.ABSENT, path, ())
        except OSError:
            self.certain = False
        else:
            self._note_status(kind, path, status)

    def _note_status(self, kind: Depends, path: str, status: os.stat_result) -> None:
        age = time.time_ns() - status.st_ctime_ns
        self.certain &= age > FRESH and not stat.S_ISLNK(status.st_mode)
        self._note(kind, path, numbers_of_file(status))

    def _note(self, kind: Depends, name: str, numbers: tuple[int, ...]) -> None:
        self.found.setdefault((kind, name), Dependency(kind, os.fsencode(name), numbers))

    def adopt(self, dependencies: Sequence[Dependency]) -> None:
        """What something that was kept depends on, which is as it was: so does what is made of it."""
        for one in dependencies:
            self.found.setdefault((one.kind, os.fsdecode(one.name)), one)

    def dependencies(self) -> tuple[Dependency, ...]:
        """All of them, the cheapest to check first."""
        return tuple(sorted(self.found.values(), key=lambda one: one.kind == Depends.TEXT))


def watch_machine(watch: Watch) -> None:
    """What every plan depends on; before the machine is probed."""
    for path in TEXTS:
        watch.text(path)
    for path in FILES:
        watch.file(path)
    if landlock_abi() < PORTS_ABI:  # what nftables holds instead has to be there to be loaded
        watch.file(modules(os.uname().release))
    for path in (SYSTEMD, BUS, MACHINED):
        watch.place(path)
    if NOTIFY not in os.environ:  # where it is, the plan says that it be looked for again at each launch
        watch.variable(NOTIFY, None)


def watch_facts(watch: Watch, facts: Facts) -> None:
    """The tools that the facts name, and the caller's capabilities."""
    for path in (facts.nspawn, facts.libseccomp, facts.program):
        watch.file(path)
    watch.place(facts.cgroup_root + facts.control.own.path)
    watch._note(Depends.CAPABILITIES, "", (facts.capabilities,))  # noqa: SLF001 (one module's own)


def watch_workload(watch: Watch, workload: Workload, machine: Facts, profile: tuple[str, ...], *, fresh: bool) -> None:
    """What one workload names, and the files of its seccomp profile; before its paths are looked at."""
    where = machine.folders
    for one in profile:
        watch.file(one)
    root = workload.storage.rootfs or ""
    single = [root] if root.startswith("/") else ["/usr", "/usr/local"] if root == "host" else []
    for path in (*single, *(volume.host for volume in workload.storage.volumes), workload.env_file):
        if path:
            watch.place(path)
    trees = [root] if root.startswith("/") else []
    if root == "host":
        watch.file("/etc")
        watch.file("/etc/ssl")
    if workload.kept and not fresh:
        layer = f"{where.state}/layers/{workload.name}"
        watch.link(f"{layer}/root")
        trees.append(f"{layer}/upper")
    for tree in trees:
        for name in ACCOUNTS:
            watch.link(f"{tree}/{name}")
    if workload.boots and workload.kernel.path:
        watch.file(workload.kernel.path)
    if workload.boots and workload.kernel.modules:
        listed = modules(machine.kernel_release)
        for path in (listed, f"{listed.removesuffix('.dep')}.builtin", *places(MODPROBE)):
            watch.file(path)
    if workload.network.bridged:
        _watch_bridge(watch, workload)
    _watch_limits(watch, workload)
    if workload.resources != Resources():
        _watch_controllers(watch, machine, weighed=workload.resources.io_weight is not None)


def _watch_bridge(watch: Watch, workload: Workload) -> None:
    """Not the routes: what they decide about is there from the first launch on, and gone with the boot. Of other
    networks only that there are no more and no fewer: what one takes, it has from its beginning."""
    from volt.host.definitions import path_of
    from volt.host.networks import MACHINE, NAMESPACE, RESOLVED
    from volt.host.resolver import ACCOUNTS as USERS
    from volt.host.resolver import candidates
    from volt.host.settings import CONFIG

    watch.place(NAMESPACE)
    for path in (CONFIG, DEFINITIONS, MACHINE, RESOLVED, USERS, *candidates()):
        watch.file(path)
    if workload.network.joined == NetworkMode.CUSTOM and workload.network.name:
        watch.file(path_of(workload.network.name))


def watch_found(watch: Watch | None, facts: Facts) -> None:
    """What is known to be depended on once it has been looked at. A step of the way to an image's init that has changed
    in between has just done so, or is gone, and so has the file of a module; one that only is loaded may be so no more,
    and what is in the way of the resolver leaves no trace when it goes."""
    if not watch:
        return
    if facts.boot.modules:
        for path in facts.boot.modules.files.values():
            watch.step(path, there=True)
        watch.certain &= not facts.boot.modules.loaded
    for path in (*facts.boot.there, *facts.boot.missing):
        watch.step(path, there=path in facts.boot.there)
    resolver = facts.bridge.resolver if facts.bridge else None
    if resolver and resolver.program and resolver.problem:
        watch.certain = False


def _watch_limits(watch: Watch, workload: Workload) -> None:
    import resource

    for name in workload.limits:
        soft, hard = (value & (2**64 - 1) for value in resource.getrlimit(LIMITS[name]))
        number = str(LIMITS[name])
        watch._note(Depends.LIMIT, number, (LIMITS[name], soft, hard))  # noqa: SLF001 (one module's own)


def _watch_controllers(watch: Watch, machine: Facts, *, weighed: bool) -> None:
    """The cgroups that a run with limits may lie in, and what acts on its limits."""
    control, root = machine.control, machine.cgroup_root
    watch.text(CORES)
    for place in (control.own, control.top, control.delegated):
        folder = root + place.path.rstrip("/") if place else ""
        if place and folder:
            watch.text(f"{folder}/cgroup.controllers")
            watch.text(f"{folder}/cgroup.subtree_control")
            if place.free and place.path != "/":
                watch.text(f"{folder}/cgroup.procs")
    if weighed:
        watch.place(f"{root}{control.own.path.rstrip('/')}/io.weight")
        watch.place(f"{root}/io.cost.qos")
        for path in schedulers():
            watch.text(path)


def watch_code(watch: Watch, packages: Sequence[str] = CODE) -> None:
    """volt's own code, as far as it is loaded."""
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and (name in packages or name.partition(".")[0] in packages):
            watch.file(path)


def watch_compiler(watch: Watch, library: str) -> None:
    """What a filter was just made with: libseccomp, its binding and the code that calls it. Certain only if `library`
    is what was loaded, and not what an LD_LIBRARY_PATH named."""
    watch.file(library)
    watch_code(watch, COMPILER)
    watch.certain &= any(line.endswith(f" {os.path.realpath(library)}") for line in lines(read_text("/proc/self/maps")))
