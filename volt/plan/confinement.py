"""The payload's confinement: limits, ids, capabilities, the filter of system calls, masked paths."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.part import Part
from volt.model.steps import (
    BoundCapabilities,
    ChangeFolder,
    CoverBelow,
    FilterCalls,
    FilterInit,
    Mask,
    NoNewPrivileges,
    ProtectPath,
    SetCapabilities,
    SetIdentity,
    SetLimit,
    ShareMount,
    Step,
)
from volt.model.text import text
from volt.model.workload import Workload
from volt.plan.capabilities import payload_sets
from volt.plan.users import Identity

# Where the kernel shows what is nobody's business inside, or would act on a write. Those missing on a
# kernel are passed over.
MASKED = (
    "/proc/acpi",  # firmware tables
    "/proc/asound",  # sound devices of the host
    "/proc/interrupts",  # timing of other workloads
    "/proc/kallsyms",  # kernel addresses
    "/proc/kcore",  # the machine's memory
    "/proc/keys",  # key rings of the host's users
    "/proc/latency_stats",  # what other processes wait for
    "/proc/sched_debug",  # every process of the host
    "/proc/scsi",  # storage of the host
    "/proc/sysrq-trigger",  # reboots the host
    "/proc/timer_list",  # timers of other processes
    "/proc/timer_stats",  # the same, older kernels
    "/sys/dev/block",  # disks of the host
    "/sys/devices/virtual/powercap",  # energy counters: a side channel
    "/sys/firmware",  # firmware tables
    "/sys/fs/selinux",  # the host's policy
)
PROTECTED = (
    "/proc/bus",  # configuration space of the host's devices
    "/proc/fs",  # tunables of mounted file systems
    "/proc/irq",  # interrupt affinity
    "/proc/sys",  # kernel settings
)
# Limits that systemd raises for itself, and says on the command's console where it cannot: the command's unit has them.
INITS_OWN = ("core",)
# From this systemd on nspawn moves to its root by pivot_root(2), and nothing is left below it.
LEAVES_NOTHING = 253


def below_part(facts: Facts) -> Part:
    """What keeps the guard's /proc and /sys from being seen whole where systemd-nspawn leaves them below the root.

    The kernel lets whoever makes a user namespace inside mount another, without masks, as long as one is there that
    no mount covers any part of. nspawn makes use of that too, so that they are covered only once it has.
    """
    if facts.nspawn_version >= LEAVES_NOTHING:
        return Part()
    note = "nspawn leaves these below the root: whole, they would allow others without masks"
    return Part(
        guard=tuple(ShareMount(path=text(path)) for path in ("/proc", "/sys")),
        init=(CoverBelow(note=note),),
    )


def inside_part(facts: Facts) -> Part:
    """What the init covers before anything of the image runs. How often a processor was too hot tells what others
    compute: as many paths as there are processors."""
    masks = (Mask(path=text(path)) for path in (*MASKED, *facts.heat))
    return Part(init=(*masks, *(ProtectPath(path=text(path)) for path in PROTECTED)))


def init_part(workload: Workload, bpf: bytes) -> Part:
    """What the init takes from itself, and from all that it starts: its last steps before it starts the payload."""
    note = "what it and its sessions call, and what the payload may"
    return Part(init=(*_no_new_privileges(workload), FilterInit(filter=bpf, note=note)))


def _no_new_privileges(workload: Workload, note: str = "") -> tuple[Step, ...]:
    """Off for a booted image alone, whose users log in and become others, unless it asks for it; and unless that is
    what a filter takes, without SYS_ADMIN: seccomp(2)."""
    asked = workload.security.no_new_privs
    needed = "SYS_ADMIN" not in payload_sets(workload, 0).bounding
    return (NoNewPrivileges(note=note),) if asked or needed or not workload.boots else ()


def payload_part(workload: Workload, identity: Identity, bpf: bytes, *, unit: bool = False) -> Part:
    """From fork to exec: security.md's order. With `unit` a command is a unit where an image's init is started."""
    sets = payload_sets(workload, identity.uid)
    steps: tuple[Step, ...] = (
        *limits(
            workload, *(name for name in workload.limits if not (unit and workload.boots) or name not in INITS_OWN)
        ),
        BoundCapabilities(caps=sets.bounding, note="security.capabilities"),
        SetIdentity(
            uid=identity.uid,
            gid=identity.gid,
            groups=tuple(text(str(gid)) for gid in identity.groups),
            note="workload.user",
        ),
        SetCapabilities(caps=sets.effective, ambient=sets.ambient, note="security.capabilities"),
        *_no_new_privileges(workload, note="security.no_new_privs"),
        ChangeFolder(path=text(workload.workdir or "/"), note="workload.workdir"),
        FilterCalls(filter=bpf, note=_profile(workload)),
    )
    return Part(payload=steps)


def _profile(workload: Workload) -> str:
    named = workload.security.seccomp_profile
    return f"security.seccomp_profile = {named}" if named else "security.seccomp_profile"


def sessions_limits(workload: Workload) -> tuple[Step, ...]:
    """For who goes on behind an image's init, and takes sessions: they have the limits that it may not have."""
    return limits(workload, *INITS_OWN)


def raised_limits(workload: Workload, facts: Facts) -> tuple[Step, ...]:
    """setrlimit(2) in the guard, where it is allowed, for each hard limit above this process's own."""
    steps = []
    for name, (_, hard) in sorted(workload.limits.items()):
        own = facts.limits.get(name, (0, 0))
        if hard > own[1]:
            steps.append(SetLimit(resource=name, soft=own[0], hard=hard, note="[limits]"))
    return tuple(steps)


def limits(workload: Workload, *names: str) -> tuple[Step, ...]:
    """setrlimit(2) for these of [limits], exactly."""
    return tuple(
        SetLimit(resource=name, soft=soft, hard=hard, note="[limits]")
        for name, (soft, hard) in sorted(workload.limits.items())
        if name in names
    )
