"""As whom a workload runs, and what its capabilities let it do, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.explanation import (
    CAPABILITIES,
    NO_NEW_PRIVS,
    USERS,
    CapabilityClaim,
    IdentityClaim,
    Section,
    Statement,
)
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    BoundCapabilities,
    ChangeFolder,
    ClaimUids,
    Execute,
    NoNewPrivileges,
    SetCapabilities,
    SetIdentity,
)
from volt.plan.capabilities import DEFAULT, beyond_default
from volt.plan.explain_words import command, joined, names, plain

# capabilities(7), in the workload's own namespaces.
POWERS = {
    "CHOWN": "change owners of files",
    "DAC_OVERRIDE": "pass over modes of files",
    "DAC_READ_SEARCH": "read files and folders whatever their modes, and open files by handle",
    "FOWNER": "act as the owner of files",
    "FSETID": "keep set-id bits of what it changes",
    "KILL": "signal processes of other users inside",
    "SETGID": "become any group inside",
    "SETUID": "become any user inside",
    "SETPCAP": "hand its capabilities on",
    "LINUX_IMMUTABLE": "make files immutable",
    "NET_BIND_SERVICE": "bind ports below 1024",
    "NET_BROADCAST": "broadcast",
    "NET_ADMIN": "configure its network: interfaces, routes, packet filters",
    "NET_RAW": "send and receive raw packets",
    "IPC_LOCK": "lock memory",
    "IPC_OWNER": "pass over modes of System V objects",
    "SYS_MODULE": "ask for kernel modules",
    "SYS_RAWIO": "ask for ports of devices",
    "SYS_CHROOT": "change its root folder",
    "SYS_PTRACE": "trace any process inside",
    "SYS_PACCT": "ask for process accounting",
    "SYS_ADMIN": "mount, make namespaces, and much else that administers a system",
    "SYS_BOOT": "end its pid namespace by a reboot",
    "SYS_NICE": "ask for higher priorities",
    "SYS_RESOURCE": "ask for more than its limits",
    "SYS_TIME": "ask for the clock to be set",
    "SYS_TTY_CONFIG": "hang terminals up",
    "MKNOD": "ask for device nodes",
    "LEASE": "take leases on files",
    "AUDIT_WRITE": "write to the audit log",
    "AUDIT_CONTROL": "configure auditing",
    "SETFCAP": "give capabilities to files",
    "MAC_OVERRIDE": "pass over mandatory access control",
    "MAC_ADMIN": "configure mandatory access control",
    "SYSLOG": "ask for the kernel's log",
    "WAKE_ALARM": "set timers that wake the machine",
    "BLOCK_SUSPEND": "keep the machine awake",
    "AUDIT_READ": "read the audit log",
    "PERFMON": "ask for performance counters",
    "BPF": "ask for programs in the kernel",
    "CHECKPOINT_RESTORE": "save and restore processes",
}


def power_sections(plan: LaunchPlan) -> tuple[Section, ...]:
    """Identity, capabilities."""
    return (
        Section("identity", "As whom it runs", tuple(_identity(plan))),
        Section("capabilities", "Capabilities", tuple(_capabilities(plan))),
    )


def _program(plan: LaunchPlan) -> Iterator[Statement]:
    """What is started, where, and what it finds in its environment."""
    folders = [plain(one.path) for one in plan.payload if isinstance(one, ChangeFolder)]
    for one in plan.payload:
        if isinstance(one, Execute):
            where = "".join(f", in {path}" for path in folders[-1:])
            yield Statement(f"It begins with {command(one.argv)}{where}.")
            variables = list(dict.fromkeys(plain(each).partition("=")[0] for each in (*one.defaults, *one.env)))
            also = ", and what a file of the host's says" if one.env_files else ""
            yield Statement(f"Its environment has {joined(variables)}{also}; of the caller's nothing else.")


def _identity(plan: LaunchPlan) -> Iterator[Statement]:
    fixed = any(isinstance(one, NoNewPrivileges) for one in plan.payload)
    yield from _program(plan)
    for one in plan.payload:
        if isinstance(one, SetIdentity):
            groups = tuple(int(plain(group)) for group in one.groups)
            also = [str(group) for group in groups if group != one.gid]
            more = f", also in {joined(also)}" if also else ""
            claim = IdentityClaim(one.uid, one.gid, groups, fixed)
            yield Statement(f"It starts as user {one.uid} and group {one.gid}{more}.", (), (claim,))
    if any(isinstance(one, ClaimUids) for one in plan.host):
        text = "Its users, root among them, have ids on the host that nobody else has: they own nothing there."
        yield Statement(text, (USERS,))
    able = [one.caps for one in plan.payload if isinstance(one, SetCapabilities)]
    if any("DAC_OVERRIDE" in caps for caps in able):
        text = "With DAC_OVERRIDE modes of files hold it back only where their owner is none of its own users."
        yield Statement(text, (USERS,))
    else:
        yield Statement("Owners and modes of files count besides all that is said of files here.")
    if fixed:
        yield Statement("No program that it starts gains rights: set-uid bits count for nothing.", (NO_NEW_PRIVS,))
    else:
        yield Statement("Set-uid programs and file capabilities inside give it what they say.")


def _capabilities(plan: LaunchPlan) -> Iterator[Statement]:
    effective: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    bounding: tuple[str, ...] = ()
    for one in plan.payload:
        if isinstance(one, SetCapabilities):
            effective, ambient = one.caps, one.ambient
        elif isinstance(one, BoundCapabilities):
            bounding = one.caps
    claims = (
        CapabilityClaim("effective", effective),
        CapabilityClaim("ambient", ambient),
        CapabilityClaim("bounding", bounding),
    )
    if not effective:
        text = (
            "It has no capabilities."
            if not bounding
            else f"It starts with none; within it can be no more than {joined(bounding)}."
        )
        yield Statement(text, (CAPABILITIES,), claims)
        return
    usual = {*effective} == {*DEFAULT}
    text = f"It has the default {len(effective)}" if usual else f"It has {len(effective)}"
    text += f": {joined(effective)}. They count in its own namespaces alone."
    yield Statement(text, (CAPABILITIES, USERS), claims)
    if beyond := beyond_default(effective):
        powers = "; ".join(f"{cap}: to {POWERS[cap]}" for cap in beyond)
        yield Statement(f"Beyond the default: {powers}.", (USERS,))
    if lacking := tuple(cap for cap in DEFAULT if cap not in effective):
        yield Statement(f"Of the default it lacks {names(lacking, len(DEFAULT))}.", (CAPABILITIES,))
