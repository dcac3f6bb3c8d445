"""Which capabilities the payload gets: what `security.capabilities` and the payload's user come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.model.modes import Mode, NetworkMode
from volt.model.steps import CAPABILITIES
from volt.model.values import Value

if TYPE_CHECKING:
    from collections.abc import Collection

    from volt.model.workload import Workload

# What podman gives too: enough to install packages, change users and serve low ports. Each counts only
# inside the workload's own user namespace.
DEFAULT = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "SETFCAP",
)


# What an init needs besides: to mount, to end its pid namespace, and to see in /proc what it starts as others.
BOOT = (*DEFAULT, "SYS_ADMIN", "SYS_BOOT", "SYS_PTRACE")


STRICT = "strict"  # of either profile: a workload that asks for it names the capabilities that it needs


class CapabilitySets(Value):
    """The payload's sets as in capabilities(7), at its exec; names in the kernel's order.

    The inheritable set always equals `ambient`.
    """

    bounding: tuple[str, ...]
    permitted: tuple[str, ...]
    effective: tuple[str, ...]
    ambient: tuple[str, ...]

    def without(self, name: str) -> CapabilitySets:
        """The same sets, less one capability."""
        sets = (self.bounding, self.permitted, self.effective, self.ambient)
        return CapabilitySets(*(tuple(cap for cap in each if cap != name) for each in sets))


def payload_sets(workload: Workload, uid: int) -> CapabilitySets:
    """The sets of a workload's payload: none where a profile is strict and none are listed. The host's network belongs
    to the host's own user namespace, where a workload has no power: NET_BIND_SERVICE gives nothing there, and
    systemd-nspawn takes it away."""
    security = workload.security
    listed = security.capabilities
    if listed is None and STRICT in (security.landlock_profile, security.seccomp_profile):
        return capability_sets((), uid)
    boots = listed is None and workload.mode == Mode.HYBRID_NATIVE
    sets = capability_sets(BOOT if boots else listed, uid)
    if listed is None and workload.network.joined == NetworkMode.HOST:
        return sets.without("NET_BIND_SERVICE")
    return sets


def capability_sets(listed: Collection[str] | None, uid: int) -> CapabilitySets:
    """The sets for a payload that starts as `uid`; `listed` is None where the manifest says nothing.

    Absent: root has the default eleven; another user has none, but what it becomes (a set-uid program,
    where no_new_privs is off) may have them. Listed: exactly these, for any user; a user other than root
    keeps them over exec because they are ambient. Raises ValueError for a name that is no capability.
    """
    bounding = _ordered(DEFAULT if listed is None else listed)
    own = () if listed is None and uid else bounding
    return CapabilitySets(bounding, permitted=own, effective=own, ambient=own if uid else ())


def beyond_default(caps: Collection[str]) -> tuple[str, ...]:
    """Those that a workload has only because its manifest lists them, in the kernel's order."""
    return _ordered({*caps} - {*DEFAULT})


def _ordered(names: Collection[str]) -> tuple[str, ...]:
    foreign = sorted({*names} - {*CAPABILITIES})
    if foreign:
        raise ValueError(f"not a capability: {', '.join(foreign)}")
    return tuple(name for name in CAPABILITIES if name in names)
