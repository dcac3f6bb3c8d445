"""Walls taken out of a plan. Each function takes a plan and gives another without one wall, for `Attacker` to perform:
the product itself has no switch that would do this."""

from __future__ import annotations

import struct

from tests.attack.plans import changed, dropped, nspawn, without_word
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    AllowBeneath,
    AllowOpened,
    AllowPorts,
    AttachInside,
    BoundCapabilities,
    ClaimUids,
    CoverBelow,
    EnsureRules,
    Execute,
    FilterCalls,
    FilterInit,
    ForgetConnections,
    KeepCapabilities,
    LockMount,
    MakeFilesystem,
    MakeIdmap,
    MakeRuleset,
    Mask,
    NoNewPrivileges,
    Open,
    PrepareLink,
    PreparePorts,
    PrivateMounts,
    ProtectInit,
    ProtectPath,
    RestrictSelf,
    SealProgram,
    SetCapabilities,
    SetMount,
)
from volt.model.text import UIDS, text
from volt.model.values import replace
from volt.plan import nft
from volt.plan.bridge_rules import places
from volt.plan.root import WHOLE_RANGE

PERMIT_ALL = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF_0000)  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW


def no_filter(plan: LaunchPlan) -> LaunchPlan:
    """Filters that permit every call of every architecture: the payload's, and the init's, which it inherits."""
    return changed(changed(plan, FilterCalls, filter=PERMIT_ALL), FilterInit, filter=PERMIT_ALL)


def no_filter_of_its_own(plan: LaunchPlan) -> LaunchPlan:
    """The payload has the init's filter alone."""
    return changed(plan, FilterCalls, filter=PERMIT_ALL)


def no_filter_of_the_init(plan: LaunchPlan) -> LaunchPlan:
    return dropped(plan, FilterInit)


def no_landlock(plan: LaunchPlan) -> LaunchPlan:
    return dropped(plan, MakeRuleset, AllowBeneath, AllowOpened, AllowPorts, RestrictSelf)


def no_masks(plan: LaunchPlan) -> LaunchPlan:
    return dropped(plan, Mask)


def no_protected_paths(plan: LaunchPlan) -> LaunchPlan:
    """Of which nspawn protects some itself, but not /proc/sys/net."""
    return dropped(plan, ProtectPath)


def new_privileges(plan: LaunchPlan) -> LaunchPlan:
    """Programs may give them; which leaves no filter either, for without no_new_privs the kernel takes none."""
    return dropped(plan, NoNewPrivileges, FilterCalls, FilterInit)


def no_protected_init(plan: LaunchPlan) -> LaunchPlan:
    return dropped(plan, ProtectInit)


def init_keeps_its_capabilities(plan: LaunchPlan) -> LaunchPlan:
    return dropped(plan, KeepCapabilities)


def whole_below_the_root(plan: LaunchPlan) -> LaunchPlan:
    """The host's mounts, which systemd-nspawn 252 moves its root over, as they are."""
    return dropped(plan, CoverBelow)


def no_private_mounts(plan: LaunchPlan) -> LaunchPlan:
    """Nor what covers something in them: shared with the host, it would be covered there."""
    return dropped(plan, PrivateMounts, CoverBelow)


def no_private_network(plan: LaunchPlan) -> LaunchPlan:
    """Nor the capability that nspawn gives only in a network namespace of the workload's own."""

    def fewer(step):
        return {"caps": tuple(cap for cap in step.caps if cap != "NET_BIND_SERVICE")}

    hosts = without_word(plan, "--private-network")
    for kind in (KeepCapabilities, BoundCapabilities, SetCapabilities):
        hosts = changed(hosts, kind, fewer)
    return hosts


def no_pins(plan: LaunchPlan) -> LaunchPlan:
    """Paths are opened as they are found, whatever was there while planning."""
    return changed(plan, Open, device=0, inode=0)


def without_attribute(*attrs: str):
    """Mounts, of volumes, of the host's folders and of the root, without these attributes."""

    def change(plan: LaunchPlan) -> LaunchPlan:
        def left(step):
            return {"attrs": tuple(attr for attr in step.attrs if attr not in attrs)}

        return changed(changed(plan, SetMount, left), MakeFilesystem, left)

    return change


def unlocked(plan: LaunchPlan) -> LaunchPlan:
    """Mounts of the host's folders as they were made: whoever may mount takes their attributes off."""

    def own(name: str) -> str:
        return name.removesuffix(":locked")

    plan = changed(plan, AttachInside, lambda step: {"mount": own(step.mount)})
    plan = changed(plan, Execute, lambda step: {"descriptors": tuple(map(own, step.descriptors))})
    guard = tuple(step for step in plan.guard if not isinstance(step, LockMount))
    return replace(plan, guard=guard, inherited=tuple(map(own, plan.inherited)))


def whole_range(plan: LaunchPlan) -> LaunchPlan:
    """Every id of a volume stands for itself, not the owner's alone."""
    return changed(plan, MakeIdmap, uids=WHOLE_RANGE, gids=WHOLE_RANGE)


def shifted_host_mounts(plan: LaunchPlan) -> LaunchPlan:
    """The folders of the host's are the workload's own root's."""

    def shift(step):
        return {"idmap": "ids"} if step.mount.startswith("host:") else {}

    return changed(plan, SetMount, shift)


def all_capabilities(*names: str):
    """The payload has these too."""

    def change(plan: LaunchPlan) -> LaunchPlan:
        def more(step):
            return {"caps": tuple(dict.fromkeys((*step.caps, *names)))}

        given = nspawn(plan, words=("--capability=" + ",".join(f"CAP_{name}" for name in names),))
        return changed(changed(given, BoundCapabilities, more), SetCapabilities, more)

    return change


def ambient(*names: str):
    """The payload passes these on to whatever it executes."""
    return lambda plan: changed(plan, SetCapabilities, caps=names, ambient=names)


def no_claimed_ids(plan: LaunchPlan) -> LaunchPlan:
    """The first candidate, whether another workload has it or not."""
    (claim,) = (step for step in plan.host if isinstance(step, ClaimUids))

    def slot(value):
        known = isinstance(value, type(UIDS)) and value.kind == UIDS.kind
        return str(claim.base + claim.first * 65536 + value.plus) if known else value

    return _texts(dropped(plan, ClaimUids), slot)


def no_user_namespace(plan: LaunchPlan) -> LaunchPlan:
    """The workload's ids are the host's."""

    def slot(value):
        known = isinstance(value, type(UIDS)) and value.kind == UIDS.kind
        return str(value.plus) if known else value

    plain = _texts(dropped(plan, ClaimUids), slot)
    return nspawn(without_word(plain, "--private-users"), words=("--private-users=no",))


def _texts(plan: LaunchPlan, change) -> LaunchPlan:
    """Every text of every step, with `change` applied to its parts."""

    def each(step):
        found = {}
        for name, value in vars(step).items():
            if step._kinds[name] == "Text":
                found[name] = text(*map(change, value))
            elif step._kinds[name] == "Texts":
                found[name] = tuple(text(*map(change, one)) for one in value)
        return replace(step, **found)

    sections = {name: tuple(map(each, getattr(plan, name))) for name in ("host", "guard", "init", "payload")}
    return replace(plan, **sections)


def program_from(path):
    """The init runs this file itself, not a sealed copy or a read-only view of it."""

    def change(plan: LaunchPlan) -> LaunchPlan:
        steps = tuple(Open(path=text(str(path)), to="program") if isinstance(s, SealProgram) else s for s in plan.host)
        return replace(plan, host=steps)

    return change


def shown_instead(found, path):
    """Where the plan opens a folder of the host's named `found`, it opens `path`: to attack what does no harm."""

    def change(plan: LaunchPlan) -> LaunchPlan:
        def other(step):
            return {"path": text(str(path))} if step.path == text(found) else {}

        return changed(plan, Open, other)

    return change


def open_bridge(plan: LaunchPlan) -> LaunchPlan:
    """volt's nftables tables are there, and no rule is in them."""
    return changed(plan, EnsureRules, mark=b"none has it", count=1, make=nft.batch([*places()]))


def remembering_host(plan: LaunchPlan) -> LaunchPlan:
    """Connection tracking keeps what belonged to a workload that has ended."""
    return dropped(plan, ForgetConnections)


def remembering_senders(plan: LaunchPlan) -> LaunchPlan:
    """Who has sent to a UDP port before it was published is tracked as then."""
    return changed(plan, PreparePorts, earlier=b"")


def open_loopback(plan: LaunchPlan) -> LaunchPlan:
    """Published ports are looked for at 127.0.0.1 too, where a packet comes from outside, or from a bridge."""
    closed, other = (nft.compared(nft.EQUAL, bytes([first])) for first in (127, 126))
    return changed(plan, EnsureRules, lambda step: {"mark": b"none has it", "make": step.make.replace(closed, other)})


def unknown_bridge(plan: LaunchPlan) -> LaunchPlan:
    """The rules have not been told the bridge yet."""
    return changed(plan, PrepareLink, join=nft.batch([*places()][:1]))


def learning_bridge(plan: LaunchPlan) -> LaunchPlan:
    """The bridge learns which MACs are behind a workload's link."""

    def learning(step):
        off, on = b"\5\0\x08\0\0", b"\5\0\x08\0\1"  # IFLA_BRPORT_LEARNING
        return {"adopt": tuple(part.replace(off, on) if isinstance(part, bytes) else part for part in step.adopt)}

    return changed(plan, PrepareLink, learning)
