"""cgroup v2 as this process finds it: whose it is, which controllers it has, what can be limited below it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from volt.host.files import lines, read_text
from volt.host.mounts import Mount, own_cgroup
from volt.model.facts import Cgroup, Control

# sd_booted(3), and where the system bus listens, D-Bus Specification, "Well-known Message Bus Instances".
SYSTEMD = "/run/systemd/system"
BUS = "/run/dbus/system_bus_socket"
# What has the bus start systemd-machined when it is asked: where there is none, nobody registers there.
MACHINED = "/usr/share/dbus-1/system-services/org.freedesktop.machine1.service"
# systemd.resource-control(5): set on a cgroup whose unit has Delegate=.
DELEGATED = ("user.delegate", "trusted.delegate")
CORES = "/sys/devices/system/cpu/online"
SCHEDULERS = "/sys/block"
_MOST_CORES = 1 << 16


def probe_cgroups(found: Sequence[Mount]) -> tuple[str, Control]:
    """Where cgroup v2 is mounted, "" if nowhere, and what can be limited there."""
    root, own = own_cgroup(found)
    if not root:
        return "", Control()
    place = cgroup(root, own)
    booted = os.path.isdir(SYSTEMD)  # noqa: PTH112 (paths are text here)
    bus = BUS if booted and os.path.exists(BUS) else ""  # noqa: PTH110
    return root, Control(
        own=place,
        top=place if own == "/" else cgroup(root, "/"),
        delegated=_delegated(root, place),
        manager=manager(found) if booted else None,
        bus=bus,
        legacy=legacy(found),
        io_weight=io_weight(root, own),
        cores=cores(read_text(CORES)),
        swap=os.path.exists("/proc/swaps"),  # noqa: PTH110
        machined=bool(bus) and os.path.exists(MACHINED),  # noqa: PTH110
    )


def cgroup(root: str, path: str) -> Cgroup:
    """One cgroup below the mount at `root`. Only the first of all has no cgroup.type, cgroups(7)."""
    folder = root + path.rstrip("/")
    first = not os.path.exists(f"{folder}/cgroup.type")  # noqa: PTH110
    return Cgroup(
        path=path,
        controllers=words(f"{folder}/cgroup.controllers"),
        enabled=words(f"{folder}/cgroup.subtree_control"),
        free=first or not read_text(f"{folder}/cgroup.procs"),
    )


def words(path: str) -> tuple[str, ...]:
    return tuple(read_text(path).split())


def _delegated(root: str, own: Cgroup) -> Cgroup | None:
    """The caller's own, or the one above where the caller is in a leaf of it (DelegateSubgroup=)."""
    for path in dict.fromkeys((own.path, own.path.rpartition("/")[0] or "/")):
        if _is_delegated(root + path.rstrip("/")):
            return own if path == own.path else cgroup(root, path)
    return None


def _is_delegated(folder: str) -> bool:
    for name in DELEGATED:
        try:
            if os.getxattr(folder, name) == b"1":
                return True
        except OSError:
            continue
    return False


def manager(found: Sequence[Mount]) -> str:
    """The cgroup below which PID 1 keeps its units, "" for the top: PID 1 itself is in init.scope of it."""
    return own_cgroup(found, "/proc/1/cgroup")[1].removesuffix("/init.scope").rstrip("/")


def legacy(found: Sequence[Mount]) -> tuple[str, ...]:
    """The controllers that a v1 hierarchy holds, which cgroup v2 then has not: /proc/cgroups, cgroups(7)."""
    if not any(mount.filesystem == "cgroup" for mount in found):
        return ()
    rows = [line.split() for line in lines(read_text("/proc/cgroups")) if not line.startswith("#")]
    return tuple(sorted("io" if row[0] == "blkio" else row[0] for row in rows if len(row) > 1 and row[1] != "0"))


def io_weight(root: str, own: str) -> str:
    """The file that takes an I/O weight and has something behind it, "" if none.

    Documentation/admin-guide/cgroup-v2.rst: io.weight is of the cost model, whose settings the first cgroup
    holds; Documentation/block/bfq-iosched.rst: io.bfq.weight is of the scheduler BFQ, once that is loaded.
    """
    folder = root + own.rstrip("/")
    if any(os.path.exists(path) for path in (f"{folder}/io.weight", f"{root}/io.cost.qos")):  # noqa: PTH110
        return "io.weight"
    return "io.bfq.weight" if any("bfq" in read_text(path) for path in schedulers()) else ""


def schedulers() -> tuple[str, ...]:
    """The file of each disk that lists its schedulers, Documentation/block/switching-sched.rst."""
    try:
        disks = os.listdir(SCHEDULERS)  # noqa: PTH208
    except OSError:
        return ()
    return tuple(f"{SCHEDULERS}/{disk}/queue/scheduler" for disk in sorted(disks))


def cores(written: str) -> tuple[int, ...]:
    """0, 1, 2 and 5 of `0-2,5`: sysfs-devices-system-cpu."""
    found: list[int] = []
    for part in written.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found += range(int(first), min(int(last or first), _MOST_CORES) + 1)
    return tuple(found)
