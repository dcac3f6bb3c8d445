"""The examination of `volt doctor`: what this machine can do for what is built, and what mends the rest."""

from __future__ import annotations

import os
from pathlib import Path

from volt.host.files import read_text
from volt.host.idmap import UPPER, why_not
from volt.host.kernel import filesystem, in_first_namespace
from volt.host.limits import limit_checks
from volt.host.loop import has_loops
from volt.host.mounts import mounts
from volt.host.paths import path_fact
from volt.host.resolver import PACKAGE, probe_resolver
from volt.host.tools import find_program
from volt.model.doctor import Check
from volt.model.facts import DATA_KERNEL, IMAGE_KERNEL, Facts, Resolver
from volt.model.landlock import KERNELS, PORTS_ABI
from volt.model.steps import CAPABILITIES

KERNEL = (5, 19)  # overlayfs accepts idmapped layers; all else is older
NSPAWN = 252  # Debian 12's, the oldest that volt is tested with
EVERY_LAUNCH = "every launch"

# What mounting, mapping ids, starting systemd-nspawn and ending a payload take, capabilities(7).
REQUIRED = ("CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID", "SETPCAP", "SYS_CHROOT", "SYS_ADMIN")
# landlock(7): what each version of the interface has added.
LANDLOCK = ("files", "renaming", "truncating", "TCP", "device ioctl", "scopes", "audit")
WHOLE = 6  # from here on each shipped profile holds whole, in any network: docs/reference/landlock.md


def examine(machine: Facts, *, proc: str = "/proc", modules: str = "/lib/modules") -> tuple[Check, ...]:
    """Every check, in the order in which a launch would meet what is missing.

    `proc` and `modules` are where the kernel's own lists are read.
    """
    return (
        _root(machine),
        _capabilities(machine),
        _first_namespace(f"{proc}/self/uid_map"),
        _kernel(machine),
        _user_namespaces(f"{proc}/sys/user/max_user_namespaces"),
        _overlay(f"{proc}/filesystems", f"{modules}/{machine.kernel_release}"),
        _images(machine, f"{proc}/filesystems", f"{modules}/{machine.kernel_release}"),
        _cgroup(machine),
        *limit_checks(machine),
        _nspawn(machine),
        _libseccomp(machine),
        _program(machine),
        _state(machine),
        _landlock(machine),
        names_check(probe_resolver()),
        strace_check(find_program("strace")),
    )


def _root(machine: Facts) -> Check:
    needed = "every launch; validate, show, schema and plan work for everybody"
    if machine.root:
        return Check("root", "ok", needed, "uid 0")
    return Check("root", "missing", needed, "another user", "run volt with sudo")


def _capabilities(machine: Facts) -> Check:
    missing = [name for name in REQUIRED if not _has(machine, name)]
    if missing:
        found = "without " + ", ".join(missing)
        return Check("capabilities", "missing", EVERY_LAUNCH, found, "run volt with sudo, outside of a container")
    if not _has(machine, "SYS_RESOURCE"):
        needed = "[limits] above this process's own"
        return Check(
            "capabilities",
            "degraded",
            needed,
            "without SYS_RESOURCE",
            "raise the limits of the calling process",
        )
    return Check("capabilities", "ok", EVERY_LAUNCH, "all that are needed")


def _has(machine: Facts, name: str) -> bool:
    return bool(machine.capabilities >> CAPABILITIES.index(name) & 1)


def _first_namespace(path: str) -> Check:
    name, needed = "initial user namespace", "idmapped mounts: root file systems, layers, volumes"
    if in_first_namespace(path):
        return Check(name, "ok", needed, "yes")
    return Check(name, "missing", needed, "this is a container's", "run volt outside of the container")


def _kernel(machine: Facts) -> Check:
    needed = "layers and roots whose ids stay unshifted on disk"
    if machine.kernel >= KERNEL:
        return Check("kernel", "ok", needed, machine.kernel_release)
    mend = "boot Linux {}.{} or newer".format(*KERNEL)
    return Check("kernel", "missing", needed, machine.kernel_release, mend)


def _user_namespaces(path: str) -> Check:
    name = "user namespaces"
    most = read_text(path).strip()
    if not most:
        return Check(name, "missing", EVERY_LAUNCH, "none", "boot a kernel with CONFIG_USER_NS")
    if most == "0":
        return Check(name, "missing", EVERY_LAUNCH, "forbidden", "sysctl -w user.max_user_namespaces=16384")
    return Check(name, "ok", EVERY_LAUNCH, f"at most {most}")


def _overlay(filesystems: str, modules: str) -> Check:
    found = filesystem("overlay", filesystems, modules)
    if found:
        return Check("overlayfs", "ok", EVERY_LAUNCH, found)
    return Check("overlayfs", "missing", EVERY_LAUNCH, "not there", "modprobe overlay")


def _images(machine: Facts, filesystems: str, modules: str) -> Check:
    needed = "workload.image, and storage.rootfs by digest"
    if machine.kernel < DATA_KERNEL or (machine.kernel < IMAGE_KERNEL and not has_loops()):
        found = "unpacked, each once: Linux {}.{} mounts them as they are".format(*IMAGE_KERNEL)
        return Check("images", "ok", needed, found)
    found = filesystem("erofs", filesystems, modules)
    if not found:
        return Check("images", "degraded", needed, "without EROFS", "modprobe erofs")
    through = "" if machine.kernel >= IMAGE_KERNEL else ", through loop devices"
    return Check("images", "ok", needed, f"EROFS {found}{through}")


def _cgroup(machine: Facts) -> Check:
    if not machine.cgroup_root:
        mend = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        return Check("cgroup v2", "missing", EVERY_LAUNCH, "not mounted", mend)
    own = machine.cgroup_root + machine.control.own.path.rstrip("/")
    if machine.root and not os.access(own, os.W_OK):
        mend = f"mount -o remount,rw {machine.cgroup_root}"
        return Check("cgroup v2", "missing", EVERY_LAUNCH, f"{own} cannot be written", mend)
    return Check("cgroup v2", "ok", EVERY_LAUNCH, own)


def _nspawn(machine: Facts) -> Check:
    name, needed, mend = "systemd-nspawn", "mode container", "apt install systemd-container"
    if not machine.nspawn:
        return Check(name, "missing", needed, "not installed", mend)
    if not machine.nspawn_version:
        found = f"{machine.nspawn} does not start"
        return Check(name, "missing", needed, found, f"apt install --reinstall {mend.rpartition(' ')[2]}")
    found = f"{machine.nspawn}, systemd {machine.nspawn_version}"
    if machine.nspawn_version < NSPAWN:
        return Check(name, "degraded", f"systemd {NSPAWN}, the oldest that is tested", found, "upgrade systemd")
    return Check(name, "ok", needed, found)


def _libseccomp(machine: Facts) -> Check:
    needed = "the filter of system calls"
    if machine.libseccomp:
        return Check("libseccomp", "ok", needed, machine.libseccomp)
    return Check("libseccomp", "missing", needed, "not installed", "apt install libseccomp2")


def _program(machine: Facts) -> Check:
    if machine.program:
        return Check("static program", "ok", EVERY_LAUNCH, machine.program)
    mend = "pip install --force-reinstall --no-deps volt"
    return Check("static program", "missing", EVERY_LAUNCH, "not there", mend)


def _state(machine: Facts) -> Check:
    """The file system that kept layers lie on: the nearest folder that exists already."""
    name, needed = "state folder", 'writable_layer = "overlay"'
    where = Path(machine.folders.state, "layers")
    found = tuple(mounts())
    fact = path_fact(str(where), found, machine.kernel)
    while fact.kind == "missing" and where != where.parent:
        where = where.parent
        fact = path_fact(str(where), found, machine.kernel)
    if fact.kind == "unreadable" and not machine.root:
        return Check(name, "ok", needed, f"{machine.folders.state}: root's alone")
    shown = f"{machine.folders.state} on {fact.filesystem}"
    reason = _no_upper(fact.kind, fact.filesystem, fact.idmappable, machine.kernel)
    if not reason:
        return Check(name, "ok", needed, shown)
    mend = f"mount ext4, xfs or btrfs at {machine.folders.state}, or set VOLT_ROOT"
    return Check(name, "degraded", needed, f"{shown}: {reason}", mend)


def _no_upper(kind: str, filesystem: str, idmappable: bool, kernel: tuple[int, int]) -> str:
    """Why a kept layer cannot lie there; "" when it can."""
    if kind != "folder":
        return f"a {kind} is in the way"
    if not idmappable:
        return why_not(filesystem, kernel) or "a mount is idmapped only once"
    return "" if filesystem in UPPER else "it cannot hold an overlay's upper layer"


def _landlock(machine: Facts) -> Check:
    name, needed, abi = "Landlock", "security.landlock_profile", machine.landlock_abi
    if not abi:
        mend = "boot Linux 5.13 or newer with landlock in lsm= of its command line"
        return Check(name, "degraded", needed, "none: strict does not start, default is left to other walls", mend)
    found = f"ABI {abi}: {', '.join(LANDLOCK[:abi])}"
    if abi >= WHOLE:
        return Check(name, "ok", needed, f"{found}; all of every profile")
    mend = f"boot Linux {KERNELS[WHOLE]} or newer"
    if abi < PORTS_ABI and not machine.nftables:
        lacks = "no nf_tables with nft_reject_inet either: strict does not start"
        return Check(name, "degraded", needed, f"{found}; {lacks}", f"{mend}, or one with these modules")
    return Check(name, "degraded", needed, f'{found}; strict not with network.mode = "host"', mend)


def names_check(resolver: Resolver) -> Check:
    """What answers for names of workloads on a bridge."""
    name, needed = "dnsmasq", "names of workloads on a bridge"
    if not resolver.program:
        return Check(name, "degraded", needed, "not installed", f"apt install {PACKAGE}")
    if resolver.problem:
        return Check(name, "degraded", needed, resolver.problem, resolver.mend)
    return Check(name, "ok", needed, resolver.program)


def strace_check(path: str) -> Check:
    """What looks on at a payload from outside, strace(1); "" where there is none."""
    name, needed = "strace", "volt learn"
    if path:
        return Check(name, "ok", needed, path)
    return Check(name, "degraded", needed, "not installed", "apt install strace")
