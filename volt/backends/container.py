"""Container mode: systemd-nspawn as PID 1 of a pid namespace of its own, our init as the container's."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.modes import NetworkMode
from volt.model.part import ROOT, Part
from volt.model.steps import (
    NO_LIMIT,
    Attach,
    CloneMount,
    DieWithParent,
    Execute,
    MakeCgroup,
    MakeFile,
    MakeFilesystem,
    MakeFolder,
    MemoryFile,
    Open,
    OpenNull,
    Step,
)
from volt.model.text import UIDS, Text, text
from volt.model.workload import Workload

CGROUP = "/sys/fs/cgroup"

# systemd-nspawn(1), docs/ENVIRONMENT.md of systemd. Ours alone: nothing of the caller's reaches nspawn.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_LOG_LEVEL": "warning",  # its messages are shown only as the cause of a failure
    "SYSTEMD_LOG_TARGET": "console",  # standard error, which the supervisor reads
    "SYSTEMD_NSPAWN_LOCK": "0",  # the name is claimed by us; its lock files would stay behind
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # else an image without systemd gets a v1 hierarchy
    "SYSTEMD_SECCOMP": "0",  # the payload installs a complete filter of our own, and fails closed
    "LISTEN_PID": "1",
}


def cgroup_part(facts: Facts, path: Text) -> Part:
    """A cgroup of the run's own, at `path` below the mount. nspawn moves itself about below the cgroup it finds
    itself in, and each move waits 10 ms and leaves folders behind: so it finds a tmpfs that swallows the moves."""
    cover: Text = (CGROUP, *path)
    guard: tuple[Step, ...] = (
        MakeFilesystem(type=text("tmpfs"), options=(text("mode=0755"), text("size=64k")), to="cgroup-cover"),
        Attach(mount="cgroup-cover", path=cover, note="nspawn's moves go nowhere"),
        MakeFile(path=(*cover, "/cgroup.controllers")),
    )
    for name in ("payload", "supervisor"):
        guard += (MakeFolder(path=(*cover, f"/{name}")), MakeFile(path=(*cover, f"/{name}/cgroup.procs")))
    return own_cgroup(facts, path) + Part(guard=guard)


def own_cgroup(facts: Facts, path: Text) -> Part:
    """A cgroup of the run's own, at `path` below the mount, which nspawn finds where it looks."""
    made = Part(host=(MakeCgroup(path=(facts.cgroup_root, *path), to="cgroup", note="one for this run"),))
    if facts.cgroup_root == CGROUP:
        return made
    host = (
        Open(path=text(facts.cgroup_root), to="cgroup-root"),
        CloneMount(source="cgroup-root", to="cgroup-view"),
    )
    attach = Attach(mount="cgroup-view", path=text(CGROUP), note="cgroup v2 where nspawn looks")
    return made + Part(host=host, guard=(attach,))


def options(workload: Workload, facts: Facts, bounding: tuple[str, ...], kill: str = "TERM") -> tuple[Text, ...]:
    """systemd-nspawn's switches, each for a reason that its manual gives or that was measured. `kill` is what it sends
    where it is told to end."""
    private = (text("--private-network"),) if workload.network.joined != NetworkMode.HOST else ()
    return (
        text("--quiet"),
        text(f"--directory={ROOT}"),
        text(f"--machine={workload.name}"),
        text(f"--hostname={workload.host_name}"),
        text("--register=no"),
        text("--keep-unit"),
        text("--console=pipe"),
        text("--resolv-conf=off"),
        text("--timezone=off"),
        text("--link-journal=no"),
        text(f"--kill-signal=SIG{kill}"),
        text("--private-users=", UIDS, ":65536"),
        text("--private-users-ownership=off"),
        *private,
        *capabilities(bounding),
        *limits(workload, facts),
    )


def capabilities(bounding: tuple[str, ...]) -> tuple[Text, ...]:
    """nspawn bounds what the init can pass on: what the payload shall have must be within it."""
    return (text("--capability=" + ",".join(f"CAP_{cap}" for cap in bounding)),) if bounding else ()


def limits(workload: Workload, facts: Facts) -> tuple[Text, ...]:
    """As high as the payload's will be, and never lower than nspawn and the init need for themselves: hard
    limits cannot be raised in the user namespace, and the payload's own steps set the exact ones."""
    highest = ((name, max(hard, facts.limits.get(name, (0, 0))[1])) for name, (_, hard) in workload.limits.items())
    return tuple(
        text(f"--rlimit=RLIMIT_{name.upper()}=" + ("infinity" if hard == NO_LIMIT else str(hard)))
        for name, hard in sorted(highest)
    )


def environment(workload: Workload, descriptors: int) -> tuple[Text, ...]:
    """nspawn's own environment. A writable root keeps its /tmp; else nspawn mounts a bounded tmpfs."""
    variables = {**ENVIRONMENT, "LISTEN_FDS": str(descriptors)}
    if workload.writable:
        variables["SYSTEMD_NSPAWN_TMPFS_TMP"] = "0"
    return tuple(text(f"{name}={value}") for name, value in variables.items())


def start_part(
    workload: Workload, facts: Facts, inherited: tuple[str, ...], bounding: tuple[str, ...], kill: str = "TERM"
) -> Part:
    """nspawn's exec. Its standard descriptors are its own: the payload's travel with the others."""
    argv = (text(facts.nspawn), *options(workload, facts, bounding, kill), text("--"), *(text(word) for word in INIT))
    host: tuple[Step, ...] = (OpenNull(to="null"), MemoryFile(to="messages"))
    guard: tuple[Step, ...] = (
        DieWithParent(note="act-as has cleared it"),
        Execute(
            argv=argv,
            env=environment(workload, len(inherited)),
            stdio=("null", "null", "messages"),
            descriptors=inherited,
            note="systemd-nspawn, then the init",
        ),
    )
    return Part(host=host, guard=guard)


# The init is the first descriptor handed on: the sealed static program; then control socket and program.
INIT = ("/proc/self/fd/3", "init", "4", "5")
