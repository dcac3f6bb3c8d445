"""A policy applied to a workload on a kernel: which wall holds each right, the steps of Landlock's own, the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from volt.errors import HostUnfit
from volt.model.facts import Call, Facts, ProfileText
from volt.model.landlock import FILES, KERNELS, PORTS, RIGHTS, SCOPES, WRITES, abi_of, kernel_of
from volt.model.modes import NetworkMode
from volt.model.part import SKELETON, Part
from volt.model.steps import AllowBeneath, AllowOpened, AllowPorts, MakeRuleset, Open, RestrictSelf, SendNetlink, Step
from volt.model.text import text
from volt.model.values import Value
from volt.model.workload import Workload
from volt.plan.capabilities import payload_sets
from volt.plan.landlock_policy import Beneath, Marks, Policy, read_policy
from volt.plan.root import HOST

KEY = "security.landlock_profile"
SECTION = "landlock"  # of --allow-unenforced
LANDLOCK = "Landlock"
NFTABLES = "nftables rules in the network namespace"
DNS = 53
MOUNTS = "an init has to mount, which Landlock's rules for files forbid"
# What bind(2) gives for port 0, ip(7): the same in every new network namespace, and nobody inside can change it.
EPHEMERAL = (32768, 60999)
# With these a payload could change the rules: by itself, or as the init, which it could trace and make execute.
POWERS = ("NET_ADMIN", "SYS_PTRACE")
# Where each right is held by nftables.
_HOOKS = {"bind_tcp": "input", "connect_tcp": "output"}
RULESET = "ruleset"
_NAMED = re.compile(r"\$\{(\w+)\}(.*)")
# Of what the caller handed in: as /dev/stdin it is opened again.
_OPENED = ("read_file", "write_file", "truncate", "ioctl_dev")


class Held(Value):
    """A right that the policy withholds. `wall` is what holds it here, "" where nothing does; `lack` is why not where
    that could be mended."""

    right: str
    wall: str
    required: bool
    lack: str = ""


class Applied(Value):
    """What a policy comes to for one workload: every right with its wall, and the rules that count."""

    held: tuple[Held, ...]
    beneath: tuple[tuple[str, Beneath], ...]
    ports: tuple[tuple[int, str, Marks], ...]

    def handled(self) -> tuple[str, ...]:
        """The rights that Landlock itself withholds."""
        return tuple(one.right for one in self.held if one.wall == LANDLOCK)


def shown_name(source: ProfileText) -> str:
    """A shipped profile's own name; of a policy its path."""
    return source.path.removeprefix("landlock/")


def apply(source: ProfileText, workload: Workload, facts: Facts) -> Applied:
    """The policy on this kernel. Raises nothing: what no wall holds has none."""
    policy = read_policy(source)[0]
    beneath = tuple(_beneath(policy, workload))
    handled = _handled(policy, workload)
    # An init has no rules for files, and so what a rule gives everywhere is withheld nowhere.
    everywhere = {right for right in FILES if workload.boots and _given(right, "/", beneath)}
    withheld = ((right, must) for right, must in handled.items() if right not in everywhere)
    held = tuple(_held(right, beneath, workload, facts, required=must) for right, must in withheld)
    return Applied(held, beneath, tuple(_ports(policy, workload)))


def check_enforced(applied: Applied, source: ProfileText, facts: Facts, call: Call) -> None:
    """Raises HostUnfit for what has to hold and has no wall, unless that is waived."""
    missing = [one for one in applied.held if one.required and not one.wall]
    if not missing or SECTION in call.waived:
        return
    if files := [one.right for one in missing if one.lack == MOUNTS]:
        hint = f'write landlock_profile = "default" or mode = "container", or launch with --allow-unenforced {SECTION}'
        raise HostUnfit(f"{KEY} ({shown_name(source)}) requires {', '.join(files)}: {MOUNTS}", hint=hint)
    what = f"{KEY} ({shown_name(source)}) requires {_with_kernels(one.right for one in missing)}"
    has = f"Landlock ABI {facts.landlock_abi}" if facts.landlock_abi else "no Landlock"
    message = f"{what}: Linux {facts.kernel_release} here has {has}, and no other wall does the same"
    lacks = dict.fromkeys(one.lack for one in missing if one.lack)
    raise HostUnfit("; ".join((message, *lacks)), hint=_mend([one.right for one in missing], facts, lacks))


def _mend(missing: list[str], facts: Facts, lacks: Collection[str]) -> str:
    newest = KERNELS[max(abi_of(right) for right in missing)]
    boot = f"boot Linux {newest} or newer"
    if not facts.landlock_abi:
        boot += " with landlock in lsm= of its command line"
    namespace = {*SCOPES, *(PORTS if facts.nftables else ())}
    own = ', or write mode = "none" in [network]' if {*missing} <= namespace and not lacks else ""
    return f"{boot}{own}, or launch with --allow-unenforced {SECTION}"


def _with_kernels(rights: Iterable[str]) -> str:
    """The rights, with the first kernel that has them."""
    return _grouped(rights, lambda right: f"(Linux {kernel_of(right)})")


def _grouped(rights: Iterable[str], end: Callable[[str], str]) -> str:
    """`a, b end; c other-end`: what ends alike stands together."""
    groups: dict[str, list[str]] = {}
    for right in rights:
        groups.setdefault(end(right), []).append(right)
    return "; ".join(f"{', '.join(names)} {ending}" for ending, names in groups.items())


# ── what holds it ───────────────────────────────────────────────────────────────────────────────


def _counts(marks: Marks, workload: Workload) -> bool:
    return not marks.networks or str(workload.network.joined) in marks.networks


def _handled(policy: Policy, workload: Workload) -> dict[str, bool]:
    """Each right that is withheld → whether that has to hold. A rule says so of its path alone, unless it is the only
    one that names the right."""
    ruled = _marked(((one.rights, one.marks) for one in policy.handled), workload)
    paths = _marked(((one.access, one.marks) for one in policy.beneath), workload)
    ports = _marked(((one.access, one.marks) for one in policy.ports), workload)
    found = paths | ports | ruled
    return {right: found[right] for right in RIGHTS if right in found}


def _marked(tables: Iterable[tuple[tuple[str, ...], Marks]], workload: Workload) -> dict[str, bool]:
    """Each right of the tables that count → whether one of them requires it."""
    found: dict[str, bool] = {}
    for rights, marks in tables:
        for right in rights if _counts(marks, workload) else ():
            found[right] = found.get(right, False) or marks.required
    return found


def _held(
    right: str, beneath: tuple[tuple[str, Beneath], ...], workload: Workload, facts: Facts, *, required: bool
) -> Held:
    wall = _wall(right, beneath, workload, facts)
    if right in FILES and workload.boots:
        return Held(right, wall, required, "" if wall else MOUNTS)
    lacks = right in PORTS and not wall and workload.network.joined != NetworkMode.HOST
    return Held(right, wall, required, _lack(workload, facts) if lacks else "")


def _lack(workload: Workload, facts: Facts) -> str:
    """Why nftables could hold no port in a network namespace of the workload's own; "" where it could."""
    powers = [cap for cap in payload_sets(workload, 0).bounding if cap in POWERS]
    if powers:
        return f"nftables rules could be changed with {', '.join(powers)} of security.capabilities"
    return "" if facts.nftables else "its kernel has no nf_tables with nft_reject_inet"


def _wall(right: str, beneath: tuple[tuple[str, Beneath], ...], workload: Workload, facts: Facts) -> str:
    """What withholds a right: Landlock where the kernel has it, else a wall that does the same."""
    if right in FILES and workload.boots:
        return _mounts_wall(right, beneath, workload)
    if facts.landlock_abi >= abi_of(right):
        return LANDLOCK
    if right == "signal":
        return "the pid namespace"
    if right == "abstract_unix_socket":
        return "" if workload.network.joined == NetworkMode.HOST else "the network namespace"
    if right in PORTS:
        own = workload.network.joined != NetworkMode.HOST
        return NFTABLES if own and not _lack(workload, facts) else ""
    if right == "refer" and facts.landlock_abi:
        return "Landlock, which refuses it everywhere"
    return _read_only(right, beneath, workload)


def _read_only(right: str, beneath: tuple[tuple[str, Beneath], ...], workload: Workload) -> str:
    if right in WRITES and all(_given(right, tree, beneath) for tree in writable_trees(workload, right)):
        return "read-only mounts"
    return ""


def _mounts_wall(right: str, beneath: tuple[tuple[str, Beneath], ...], workload: Workload) -> str:
    """Of files, where an init has to mount, which Landlock's rules for files forbid."""
    if right in ("make_char", "make_block"):
        return "the user namespace"
    if right == "ioctl_dev" and _given(right, "/dev", beneath):
        return "mounts without devices"
    return _read_only(right, beneath, workload)


def writable_trees(workload: Workload, right: str) -> tuple[str, ...]:
    """Where mounts leave room for a right that changes something. Nothing is made or removed in /proc, and what is in
    /dev or /proc cannot be cut short."""
    volumes = (volume.container for volume in workload.storage.volumes if not volume.readonly)
    root = ("/",) if workload.writable else ("/tmp",)
    kernels = {"write_file": ("/dev", "/proc"), "truncate": ()}.get(right, ("/dev",))
    return (*root, "/run", "/dev/shm", *kernels, *(one.path for one in workload.storage.tmpfs), *volumes)


def _given(right: str, tree: str, beneath: tuple[tuple[str, Beneath], ...]) -> bool:
    return any(right in rule.access and _within(tree, path) for path, rule in beneath)


def _within(path: str, above: str) -> bool:
    return above in (path, "/") or path.startswith(f"{above}/")


# ── rules ───────────────────────────────────────────────────────────────────────────────────────


def _beneath(policy: Policy, workload: Workload) -> Iterator[tuple[str, Beneath]]:
    """Each path that a rule gives something beneath, with the rule."""
    for rule in policy.beneath:
        for parent in rule.parents if _counts(rule.marks, workload) else ():
            named = _NAMED.fullmatch(parent)
            if not named:
                yield parent, rule
            else:
                yield from ((path.rstrip("/") + named[2] or "/", rule) for path in _paths(named[1], workload))


def _paths(name: str, workload: Workload) -> Iterator[str]:
    """What a name stands for: landlock_policy.PATH_NAMES."""
    volumes = workload.storage.volumes
    if name == "layer" and workload.writable:
        yield "/"
    elif name == "volumes":
        yield from (volume.container for volume in volumes if not volume.readonly)
    elif name == "readonly_volumes":
        yield from (volume.container for volume in volumes if volume.readonly)
    elif name == "tmpfs":
        yield from (one.path for one in workload.storage.tmpfs)
    elif name in ("workdir", "readonly_workdir"):
        yield from _workdir(workload, unchanged=name == "readonly_workdir")


def _workdir(workload: Workload, *, unchanged: bool) -> Iterator[str]:
    """The folder that the command starts in, unless it is /. Where it has to be `unchanged`, only if mounts leave no
    room to make files in it, or in what is mounted beneath: a rule gives to that too."""
    path = workload.workdir
    if path is None or path == "/":
        return
    trees = writable_trees(workload, "make_reg") if unchanged else ()
    if not any(_within(path, tree) or _within(tree, path) for tree in trees):
        yield path


def _ports(policy: Policy, workload: Workload) -> Iterator[tuple[int, str, Marks]]:
    """Each TCP port that a rule gives something for, with the right and the rule's marks."""
    for rule in policy.ports:
        for port in rule.ports if _counts(rule.marks, workload) else ():
            for number in (port,) if isinstance(port, int) else _declared(port, workload):
                yield from ((number, right, rule.marks) for right in rule.access)


def _declared(name: str, workload: Workload) -> Iterator[int]:
    """What a name stands for: landlock_policy.PORT_NAMES."""
    if name == "ports":
        yield from (port.container for port in workload.network.ports if port.protocol == "tcp")
    elif name == "dns" and workload.network.joined != NetworkMode.NONE:
        yield DNS


# ── the steps ───────────────────────────────────────────────────────────────────────────────────


def landlock_part(applied: Applied, workload: Workload, call: Call, standard: tuple[str, ...]) -> Part:
    """The init's steps, after its mounts and before it starts anything: none where nothing is withheld."""
    rules = Part(init=tuple(_netlink_steps(applied)))
    handled = applied.handled()
    if not handled:
        return rules
    files = tuple(right for right in FILES if right in handled)
    ports = tuple(right for right in PORTS if right in handled)
    scopes = tuple(right for right in SCOPES if right in handled)
    make = MakeRuleset(files=files, ports=ports, scopes=scopes, to=RULESET, note=KEY)
    image = _image(workload, call) if files else Part()
    steps = (
        *_path_steps(applied, files, "".join(image.inherited)),
        *_opened_steps(files, standard),
        *_port_steps(applied, ports),
    )
    return rules + image + Part(init=(make, *steps, RestrictSelf(ruleset=RULESET, note=KEY)))


def _image(workload: Workload, call: Call) -> Part:
    """The root without its layer, by which links are told from those that a payload left in a kept one. In a fresh
    layer there is none of these."""
    if not workload.kept or call.fresh:
        return Part()
    if workload.storage.rootfs != HOST:
        return Part(inherited=("lower",))
    return Part(
        guard=(Open(path=text(SKELETON), to="skeleton", note="the root as it was made"),), inherited=("skeleton",)
    )


def _path_steps(applied: Applied, files: tuple[str, ...], image: str) -> Iterator[Step]:
    for path, rule in applied.beneath:
        access = tuple(right for right in rule.access if right in files)
        if access:
            yield AllowBeneath(
                ruleset=RULESET,
                path=text(path),
                access=access,
                required=rule.marks.required,
                links=not image,
                image=image,
                note=rule.marks.reason,
            )


def _opened_steps(files: tuple[str, ...], standard: tuple[str, ...]) -> Iterator[Step]:
    access = tuple(right for right in _OPENED if right in files)
    if access and any(standard):
        note = "what the caller handed in"
        yield AllowOpened(ruleset=RULESET, descriptors=tuple(filter(None, standard)), access=access, note=note)


def _port_steps(applied: Applied, ports: tuple[str, ...]) -> Iterator[Step]:
    """Ports that follow one another and have the same rights in one step."""
    access: dict[int, set[str]] = {}
    for number, right, _ in applied.ports:
        if right in ports:
            access.setdefault(number, set()).add(right)
    ordered = {number: tuple(right for right in PORTS if right in access[number]) for number in sorted(access)}
    for first, last, rights in _ranges(ordered):
        yield AllowPorts(ruleset=RULESET, first=first, last=last, access=rights)


def _ranges(ordered: Mapping[int, tuple[str, ...]]) -> list[tuple[int, int, tuple[str, ...]]]:
    """First, last and rights of the ports that follow one another and have the same."""
    ranges: list[tuple[int, int, tuple[str, ...]]] = []
    for number, rights in ordered.items():
        if ranges and ranges[-1][1:] == (number - 1, rights):
            ranges[-1] = (ranges[-1][0], number, rights)
        else:
            ranges.append((number, number, rights))
    return ranges


def _netlink_steps(applied: Applied) -> Iterator[Step]:
    """The rules of the network namespace, for each right that they hold; none where Landlock does."""
    rights = [one.right for one in applied.held if one.wall == NFTABLES]
    if not rights:
        return
    from volt.plan.nftables import PROTOCOL, port_rules

    opened = {right: _opened_ports(applied, right) for right in rights}
    said = "; ".join(f"{right} {_said(ranges)}" for right, ranges in opened.items())
    for request in port_rules([(_HOOKS[right], ranges) for right, ranges in opened.items()]):
        yield SendNetlink(protocol=PROTOCOL, request=request, note=f"{KEY}: {said}")


def _opened_ports(applied: Applied, right: str) -> list[tuple[int, int]]:
    """The ranges of ports for a right. Port 0 stands for those that the kernel picks."""
    ports = {number for number, one, _ in applied.ports if one == right}
    if right == "bind_tcp" and 0 in ports:
        ports |= {*range(EPHEMERAL[0], EPHEMERAL[1] + 1)}
    return [(first, last) for first, last, _ in _ranges(dict.fromkeys(sorted(ports), ())) if last]


def _said(ranges: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges) or "none"


# ── what is said ────────────────────────────────────────────────────────────────────────────────


def unenforced(applied: Applied) -> tuple[str, ...]:
    """What has to hold and has no wall: a plan that leaves it out was allowed to."""
    return tuple(one.right for one in applied.held if one.required and not one.wall)


def notes(applied: Applied) -> Iterator[str]:
    """What Landlock does not hold here: by which other wall, or not at all."""
    others = {one.right: f"by {one.wall}" for one in applied.held if one.wall not in ("", LANDLOCK)}
    if others:
        yield f"{KEY}: {_grouped(others, others.__getitem__)}"
    left = [one for one in applied.held if not one.required and not one.wall]
    if files := [one.right for one in left if one.lack == MOUNTS]:
        yield f"{KEY}: {MOUNTS}: {', '.join(files)}"
    if left := [one for one in left if one.lack != MOUNTS]:
        lacks = dict.fromkeys(f"; {one.lack}" for one in left if one.lack)
        yield f"{KEY}: without {_with_kernels(one.right for one in left)}{''.join(lacks)}"
    waived = unenforced(applied)
    if waived:
        yield f"{KEY}: not enforced, as allowed: {_with_kernels(waived)}"
