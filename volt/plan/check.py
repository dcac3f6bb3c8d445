"""What a plan refuses: later fields by name, roots and commands that are missing, what the host cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from volt.model.facts import Call, Facts, ImageFact
from volt.model.findings import Finding
from volt.model.modes import Mode, NetworkMode
from volt.model.steps import CAPABILITIES
from volt.model.values import Value, replace
from volt.model.workload import Volume, Workload
from volt.plan.bounds import check_policy
from volt.plan.landlock_policy import read_policy
from volt.plan.limits import check_limits
from volt.plan.root import HOST, layer_base
from volt.plan.seccomp_check import check_profile
from volt.plan.unit import check_unit
from volt.plan.users import UnknownUserError, identify

# Every field that this version accepts and does not perform: a key or a table, and from which value on.
# One row goes when its feature comes.
LATER: tuple[tuple[str, Callable[[Workload], bool]], ...] = (
    ("workload.mode", lambda w: w.mode not in (Mode.CONTAINER, Mode.HYBRID_NATIVE)),
    ("workload.platform", lambda w: w.platform is not None),
    ("health.command", lambda w: w.health.command is not None),
    ("health.http", lambda w: w.health.http is not None),
    ("health.tcp", lambda w: w.health.tcp is not None),
    ("health.interval", lambda w: w.health.interval is not None),
    ("health.timeout", lambda w: w.health.timeout is not None),
    ("health.retries", lambda w: w.health.retries is not None),
    ("health.on_failure", lambda w: w.health.on_failure is not None),
)

# What to write today instead, where there is something.
INSTEAD: Mapping[str, str] = {
    "workload.mode": 'write mode = "container" or "hybrid-native"',
}

STORE = "cas://"
CAP_SYS_RESOURCE = 1 << CAPABILITIES.index("SYS_RESOURCE")


class Accounts(Value):
    """The image's account files, or those of a fresh root."""

    passwd: str
    group: str


# uname(2)'s architecture → those, as Go calls them, whose programs run on it.
RUN_BY = {"x86_64": ("amd64", "386"), "aarch64": ("arm64", "arm")}


def check(workload: Workload, facts: Facts, call: Call, accounts: Accounts) -> tuple[Finding, ...]:
    """Every reason not to launch, at once."""
    return tuple(finding for rule in RULES for finding in rule(workload, facts, call, accounts))


def _later(workload: Workload, _f: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    for key, asked in LATER:
        if asked(workload):
            yield Finding("not-in-this-version", key, f"{key}: not in this version", INSTEAD.get(key, ""))


def _root(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    root = workload.storage.rootfs
    if root and workload.image:
        hint = "remove one of workload.image and storage.rootfs"
        yield Finding("two-roots", "storage.rootfs", "the root comes from an image and from a folder", hint)
    if not root and not workload.image:
        hint = 'add to [storage]: rootfs = "/path/of/a/root", or rootfs = "host" for the host\'s programs'
        yield Finding("no-root", "storage", "there is no root file system", hint)
    if not root or root == HOST or root.startswith(STORE):
        return
    fact = facts.paths[root]
    if fact.kind != "folder":
        what = fact.problem or ("does not exist" if fact.kind == "missing" else f"is a {fact.kind}, not a folder")
        yield Finding("bad-rootfs", "storage.rootfs", f"{root} {what}", "name the folder that holds the root")
    elif not fact.idmappable:
        yield _no_idmap("storage.rootfs", root, fact.filesystem)


def _image(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    root = workload.storage.rootfs or ""
    if bool(root) == bool(workload.image) or (root and not root.startswith(STORE)):
        return  # a folder, or what is found as no root and as two
    found = facts.image or ImageFact("workload.image" if workload.image else "storage.rootfs", state="absent")
    written = root or workload.image
    if found.state == "malformed":
        hint = f"write {STORE}sha256: and 64 hex digits in lower case, as volt image import prints them"
        yield Finding("bad-digest", found.key, f"{written} is no digest of a tree", hint)
    elif found.state == "absent":
        hint = "volt image ls lists what there is; volt image import DIR|TAR NAME brings one in"
        yield Finding("no-image", found.key, found.problem or f"{written} is not in the store of this machine", hint)
    elif found.state == "no-tree":
        hint = "volt image ls lists the digests of trees; volt store verify looks whether they are whole"
        yield Finding("no-tree", found.key, found.problem or f"{written} is no tree", hint)
    elif found.architecture and found.architecture not in RUN_BY.get(facts.architecture, (found.architecture,)):
        message = f"the image's programs are for {found.architecture}, and this machine is {facts.architecture}"
        hint = "import the one for this machine: volt image import --platform"
        yield Finding("other-architecture", found.key, message, hint)


def _no_idmap(key: str, path: str, filesystem: str) -> Finding:
    message = f"{path} is on {filesystem}, which this kernel cannot idmap"
    return Finding("no-idmap", key, message, "copy it to a file system that can: ext4, xfs, btrfs, f2fs")


def _network(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    if workload.network.mode == NetworkMode.CUSTOM and not workload.network.name:
        yield Finding(
            "no-network",
            "network.mode",
            'mode = "custom" names no network',
            "add network.name: volt net ls lists what there is",
        )
    if workload.network.bridged:
        from volt.plan.network import check_bridge

        yield from check_bridge(workload, facts)


def _landlock(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    if workload.security.landlock_profile == "custom" and not workload.security.landlock_policy:
        key = "security.landlock_profile"
        yield Finding("no-policy", key, '"custom" names no policy', "add security.landlock_policy")
    for finding in read_policy(facts.landlock)[1] if facts.landlock else ():
        yield finding if finding.place else replace(finding, key=policy_key(workload))


def policy_key(workload: Workload) -> str:
    """The key that names the policy's file."""
    return "security.landlock_policy" if workload.security.landlock_policy else "security.landlock_profile"


def _capabilities(workload: Workload, _f: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    listed = workload.security.capabilities or ()
    if workload.network.joined == NetworkMode.HOST and "NET_BIND_SERVICE" in listed:
        message = "NET_BIND_SERVICE has no effect in the host's network: a workload is not root there"
        hint = "remove it, and let the payload bind a port from ip_unprivileged_port_start up"
        yield Finding("useless-capability", "security.capabilities", message, hint)


def _command(workload: Workload, _f: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    if not workload.command and not call.command and not workload.boots:
        hint = 'add to [workload]: command = ["program", "argument"], or put it behind -- on the command line'
        yield Finding("no-command", "workload.command", "there is nothing to run", hint)


def _boot(workload: Workload, facts: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    if workload.boots or workload.boot:
        from volt.plan.boot import check_boot

        yield from check_boot(workload, facts, call)


def _env_file(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    path = workload.env_file
    fact = facts.paths[path] if path else None
    if path and fact and fact.kind != "file":
        what = fact.problem or ("does not exist" if fact.kind == "missing" else f"is a {fact.kind}, not a file")
        hint = "make it first, or correct the path"
        yield Finding("bad-env-file", "workload.env_file", f"{path} {what}", hint)


def _users(workload: Workload, _f: Facts, _c: Call, accounts: Accounts) -> Iterator[Finding]:
    wanted = [("workload.user", workload.user)]
    wanted += [(f"storage.volumes[{n}].as", v.as_user) for n, v in enumerate(workload.storage.volumes)]
    for key, user in wanted:
        try:
            identify(user, accounts.passwd, accounts.group)
        except UnknownUserError as unknown:
            yield Finding("unknown-user", key, str(unknown), "write a number, as uid or uid:gid")


def _ready(workload: Workload, _f: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    if workload.service.ready_timeout and not workload.service.ready:
        key = "service.ready_timeout"
        yield Finding("no-ready", key, "there is no service.ready that could take so long", "add ready, or remove it")


def _unit(workload: Workload, _f: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    yield from check_unit(workload, call)


def _volumes(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    for number, volume in enumerate(workload.storage.volumes):
        key, fact = f"storage.volumes[{number}]", facts.paths[volume.host]
        if fact.kind in ("missing", "unreadable"):
            message = f"{volume.host} " + (fact.problem or "does not exist")
            yield Finding("missing-volume", f"{key}.host", message, "make it first, or correct the path")
        elif fact.kind == "device":
            message = f"{volume.host} is a device, and volumes are mounted without devices"
            yield Finding("device-volume", f"{key}.host", message, "name a folder, a file or a socket")
        elif not fact.idmappable:
            yield _no_idmap(f"{key}.host", volume.host, fact.filesystem)
        elif _writes_as_root(volume, facts) and not volume.owner_root:
            message = f"the inside would write to {volume.host} as the host's root"
            hint = 'give it another owner (chown), or add readonly = true, or spell it out: owner = "root"'
            yield Finding("root-owner", f"{key}.host", message, hint)


def _writes_as_root(volume: Volume, facts: Facts) -> bool:
    """A writable idmapped mount lets a container's root leave a set-uid-root file on the host."""
    fact = facts.paths[volume.host]
    return not volume.readonly and (volume.ids == "same" or 0 in (fact.uid, fact.gid))


def _layer(workload: Workload, facts: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    root = workload.storage.rootfs
    if not root or not workload.kept or call.fresh or facts.layer is None or (facts.image and not facts.image.there):
        return
    if facts.layer != layer_base(workload, facts):
        message = f"the kept layer of '{workload.name}' was made on another root"
        hint = "discard the layer with --fresh, or choose another name"
        key = facts.image.key if facts.image else "storage.rootfs"
        yield Finding("other-root", key, message, hint)


def _resources(workload: Workload, facts: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    yield from check_limits(workload.resources, facts, call.waived)


def _seccomp(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    yield from check_profile(workload, facts)


def _layer_size(workload: Workload, _f: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    size, layer = workload.storage.layer_size, workload.storage.writable_layer
    if size is None or (workload.writable and not workload.kept):
        return
    key = "storage.layer_size"
    if not workload.writable:
        yield Finding("no-quota", key, "there is no writable layer that it could bound", "remove it")
        return
    message = f"a kept layer cannot be bounded in this version (writable_layer = {layer or 'overlay'})"
    yield Finding("no-quota", key, message, 'write writable_layer = "tmpfs", which layer_size bounds, or remove it')


def _limits(workload: Workload, facts: Facts, _c: Call, _a: Accounts) -> Iterator[Finding]:
    if facts.capabilities & CAP_SYS_RESOURCE:
        return
    for name, (_, hard) in sorted(workload.limits.items()):
        most = facts.limits.get(name, (0, hard))[1]
        if hard > most:
            message = f"the hard limit {hard} is above this process's own, {most}, and CAP_SYS_RESOURCE is missing"
            yield Finding("limit-too-high", f"limits.{name}", message, f"write at most {most}")


def _policy(workload: Workload, facts: Facts, call: Call, _a: Accounts) -> Iterator[Finding]:
    yield from check_policy(workload, facts, call)


RULES = (
    _later,
    _root,
    _image,
    _network,
    _landlock,
    _capabilities,
    _seccomp,
    _command,
    _boot,
    _env_file,
    _ready,
    _unit,
    _users,
    _volumes,
    _layer,
    _layer_size,
    _resources,
    _limits,
    _policy,
)
