"""The probe: the machine and what one workload names on it, read once and handed on as facts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from volt.errors import HostUnfit
from volt.host import etc, ids, kernel, tools
from volt.host.cgroups import probe_cgroups
from volt.host.files import read_text
from volt.host.folders import folders
from volt.host.inside import Program, program_inside, read_inside
from volt.host.mounts import Mount, mounts
from volt.host.paths import path_fact
from volt.host.syscalls import landlock_abi, mount_image
from volt.model.facts import Boot, Facts, ImageFact, PathFact, ProfileText
from volt.model.folders import Folders
from volt.model.landlock import PORTS_ABI
from volt.model.modes import INITS, NetworkMode
from volt.model.values import replace
from volt.model.workload import Resources

if TYPE_CHECKING:
    from volt.model.networks import Definition
    from volt.model.workload import Workload

__all__ = ["folders", "probe", "probe_machine"]

HOST = "host"
STORE = "cas://"
_RECORD = 1 << 16


def probe_machine(where: Folders) -> Facts:
    """The host as it is now, whatever is launched on it."""
    uname = os.uname()
    places = tools.libraries(uname.machine)
    nspawn = tools.find_program("systemd-nspawn")
    cgroup_root, control = probe_cgroups(mounts())
    abi = landlock_abi()
    return Facts(
        architecture=uname.machine,
        kernel=kernel.version(uname.release),
        kernel_release=uname.release,
        root=os.geteuid() == 0,
        capabilities=kernel.effective_capabilities(),
        nspawn=nspawn,
        nspawn_version=tools.systemd_version(nspawn, places),
        cgroup_root=cgroup_root,
        landlock_abi=abi,
        program=tools.static_program(),
        boot_id=kernel.boot_id(),
        libseccomp=tools.find_library("libseccomp.so.2", places),
        folders=where,
        control=control,
        memory=kernel.memory(),
        resolv_conf=etc.resolvers(),
        heat=kernel.heat_counters(),
        host_etc=etc.shown_names(),
        subordinate=ids.subordinate_ranges(),
        busy_uids=ids.busy_ranges(),
        limits=kernel.own_limits(),
        nftables=abi < PORTS_ABI and kernel.has_nftables(uname.release),
    )


def probe(
    workload: Workload,
    machine: Facts,
    *,
    network: Definition | None = None,
    fresh: bool = False,
    place: Callable[[str], str] | None = None,
) -> Facts:
    """The machine's facts, with those of every path, account file and layer that the workload names.

    `network` is the one of this machine's own that it joins. `fresh` says that the kept layer will be discarded: then
    it counts for nothing. `place` gives the file of what `cas://sha256:…` names, or raises OSError. What limits need is
    read again where there are any: for the whole machine nothing watched it yet.
    """
    found = mounts()
    root = workload.storage.rootfs
    folder = root if root and root != HOST and not root.startswith(STORE) else None
    layer = f"{machine.folders.state}/layers/{workload.name}" if workload.kept and not fresh else None
    upper = layer and f"{layer}/upper"
    machine = _with_bridge(machine, workload, network) if workload.network.bridged else machine
    with _root_of(machine.image, folder) as (folder, objects):
        passwd, group = (read_inside(f"etc/{name}", folder, upper, objects) for name in ("passwd", "group"))
        boot = _boot(workload, program_inside(INITS, folder, upper, objects)) if workload.boots else Boot()
    return replace(
        machine,
        control=probe_cgroups(found)[1] if workload.resources != Resources() else machine.control,
        paths=_paths(workload, machine, found),
        boot=boot,
        passwd=passwd,
        group=group,
        layer=(layer and read_text(f"{layer}/root", _RECORD)) or None,
        seccomp=_profile(workload.security.seccomp_profile, place),
    )


def _boot(workload: Workload, init: Program) -> Boot:
    named = kernel.described(workload.kernel.path) if workload.kernel.path else ""
    asked = workload.kernel.modules
    modules = kernel.modules_of(asked, tools.find_program(kernel.MODPROBE)) if asked else None
    return Boot(init.path, init.file, kernel.running(), named, init.there, init.missing, modules)


@contextmanager
def _root_of(image: ImageFact | None, folder: str | None) -> Iterator[tuple[str | None, str | None]]:
    """The root's folder, and of an image the folder of its objects. Raises HostUnfit."""
    if image is None or not image.there:
        yield folder, None
        return
    if image.folder:
        yield image.file, None
        return
    try:
        descriptor = mount_image(image.file)
    except OSError as error:
        message = f"the image {image.file} cannot be mounted: {error.strerror}"
        raise HostUnfit(message, hint="volt doctor tells what this machine lacks") from error
    try:
        yield f"/proc/self/fd/{descriptor}", image.objects
    finally:
        os.close(descriptor)


def _with_bridge(machine: Facts, workload: Workload, network: Definition | None) -> Facts:
    from volt.host.networks import probe_bridge, upstream
    from volt.host.resolver import probe_resolver

    if workload.network.joined == NetworkMode.CUSTOM and network is None:
        from volt.host.networks import no_bridge

        return replace(machine, bridge=no_bridge(workload.network.name or ""))
    bridge = replace(probe_bridge(network), resolver=probe_resolver())
    return replace(machine, bridge=bridge, upstream="" if bridge.internal else upstream(machine.resolv_conf))


def _profile(named: str | None, place: Callable[[str], str] | None) -> ProfileText | None:
    """What a profile's file says, where one is named by its path, or lies in the store."""
    if named is None or "/" not in named:
        return None
    from volt.host.profiles import read_profile

    return read_profile(named, None, place)


def _paths(workload: Workload, machine: Facts, found: tuple[Mount, ...]) -> dict[str, PathFact]:
    """Every host path of the workload; a volume is mounted with all that is mounted below it."""
    root = workload.storage.rootfs
    security = workload.security
    named = (workload.env_file, security.landlock_profile, security.landlock_policy, security.seccomp_profile)
    single = [path for path in named if path and path.startswith("/")]
    if root == HOST:
        single += ["/usr", "/usr/local", *(f"/etc/{name}" for name in machine.host_etc)]
    elif root and not root.startswith(STORE):
        single.append(root)
    facts = {path: path_fact(path, found, machine.kernel) for path in single}
    for volume in workload.storage.volumes:
        facts[volume.host] = path_fact(volume.host, found, machine.kernel, recursive=True)
    return facts
