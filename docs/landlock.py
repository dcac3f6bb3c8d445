"""The page landlock.md: what each shipped profile holds, on which version of Landlock, by which wall."""

from __future__ import annotations

from collections.abc import Iterator

from volt.host.profiles import shipped_profile
from volt.model.facts import Facts, Folders, ProfileText
from volt.model.landlock import KERNELS, RIGHTS
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.workload import Network, Port, Storage, Workload
from volt.plan.landlock import NFTABLES, Applied, apply
from volt.plan.landlock_policy import Beneath, read_policy

LAYERLESS = Storage("/srv/root", writable_layer=WritableLayerMode.NONE)
ABIS = range(8)  # 0 is a kernel without Landlock
NETWORKS = {NetworkMode.NONE: "In a network namespace of its own (`none`)", NetworkMode.HOST: "In the host's network"}
WALLS = {NFTABLES: "nftables", "": "–"}

INTRODUCTION = """\
`security.landlock_profile` picks what the kernel's Landlock, [landlock(7)][man], withholds from a payload beside all
other walls: `strict`, `default` (also where the manifest says nothing), `permissive`, or a policy of the author's own.
A shipped profile is a file of profiles/landlock with a reason on each rule, and follows the manifest: writable
volumes, `storage.tmpfs`, a writable layer and declared ports give the rights that they need. `volt plan` prints every
right and rule; the init enters them once, before it starts the payload, for itself and everything inside.

[man]: https://man7.org/linux/man-pages/man7/landlock.7.html

What a profile marks `require` holds, by Landlock or by another wall that does the same, or nothing is started: then
`volt` names the right and the kernel that has it, and `--allow-unenforced landlock` starts without, which the run's
record keeps. What it marks `use` holds as far as the kernel has it.

Landlock says nothing about UDP, about metadata (chmod, chown, times), or about what an interpreter is given to read;
a socket by its path is reached by whoever may see it. Once files are withheld nothing can be mounted inside. A folder
is known by its inode: mounted twice it has the rights of both places in both, as far as the mounts let it. The mark
that an overlay leaves for a removed file (a device 0:0 that opens nothing, and that anybody may make) is `make_char` to
some kernels and `make_reg` to newer ones, stable updates among them.
"""

PORTS = """\
## Ports on kernels before 6.7

Landlock knows no ports there. In a network namespace of the workload's own, nftables rules hold them instead: the init
puts them in before it starts anything, `volt plan` has them as `send-netlink`, and a rule that the kernel refuses ends
the start. Whatever opens a TCP connection, over IPv4 or IPv6, is looked at twice: where it leaves, by `connect_tcp`,
and where it arrives, by `bind_tcp`. What no rule gives is answered with a reset.

| | Landlock | nftables |
| --- | --- | --- |
| connect to a port that is not given | EACCES | ECONNREFUSED, as if nobody listened |
| bind a port that is not given | EACCES | succeeds, and so does listen: nobody gets through to it |
| … and connect from it to a port that is given | refused with the bind | succeeds: a port is no proof of who connects |
| listen without bind | succeeds, on a port that the kernel picks, and is reached | nobody gets through to it |
| port 0 given to `bind_tcp` | the kernel picks a port | what listens on any port of 32768-60999 can be reached |
| multipath TCP | not held by newer kernels | held |
| connections that are open, UDP, sockets by path | not concerned | not concerned |
| a network namespace that a payload makes for itself* | held | not held, and leads nowhere |

\\* With SYS_ADMIN, or with a seccomp profile that lets it make a user namespace.

That nothing is reached but what is given is the guarantee that both keep; that a program is told so when it binds is
Landlock's alone. A program that tries ports until one can be bound takes the first, and waits there in vain.

The rules hold against a payload because it cannot change them: that takes NET_ADMIN in the user namespace of the
workload, which the init gives up with all else. Where `security.capabilities` lists NET_ADMIN, or SYS_PTRACE, by which
the init could be made to do it, the rules count as no wall: `require` refuses to start, and `use` says what it goes
without. The same where the kernel has no nf_tables with nft_reject_inet, built in or as modules, and in the host's
network, where a workload's rules would be everybody's.
"""

CUSTOM = """\
## A policy of one's own

`landlock_profile = "custom"` with `landlock_policy = "policy.toml"`, or `landlock_profile = "./policy.toml"`. The form
is [landlockconfig][ll]'s; profiles/landlock/default.toml explains what volt adds. Paths are those of the workload's
root. A rule that does not say `enforce = "use"` has to hold, and its path has to be there; a path of a `use` rule that
is not there is passed over, and `skipped` in the outcome has it. A symbolic link on the way is followed only where no
payload can have made it: on a read-only mount, in a layer that began empty, or where the root below a kept layer has
the same link.

```toml
abi = 6

[[ruleset]]
handled_access_fs = ["abi.all"]
scoped = ["abi.all"]

[[ruleset]]
enforce = "use" # before Linux 6.7 this holds in a network namespace of its own alone
handled_access_net = ["bind_tcp"]

[[path_beneath]]
reason = "programs"
parent = ["/usr", "/bin", "/lib", "/lib64", "/etc"]
allowed_access = ["abi.read_execute"]

[[path_beneath]]
reason = "data"
parent = ["/tmp", "/dev", "${volumes}"]
allowed_access = ["abi.read_write"]

[[net_port]]
port = ["${ports}"]
allowed_access = ["bind_tcp"]
```

[ll]: https://github.com/landlock-lsm/landlockconfig
"""


def profile_text(name: str) -> ProfileText:
    """A shipped profile's text."""
    return ProfileText(f"landlock/{name}", shipped_profile("landlock", name).decode())


def profile_on(name: str, abi: int, mode: NetworkMode, *, nftables: bool = True) -> Applied:
    """A shipped profile on a kernel with this ABI, for a workload that writes nowhere but in memory."""
    facts = Facts(
        architecture="x86_64",
        kernel=(6, 12),
        kernel_release="",
        root=True,
        capabilities=0,
        nspawn="",
        nspawn_version=252,
        cgroup_root="",
        landlock_abi=abi,
        program="",
        boot_id="",
        libseccomp="",
        folders=Folders(),
        nftables=nftables,
    )
    ports = (Port(8080),) if mode == NetworkMode.HOST else ()
    workload = Workload(name="web", mode=Mode.CONTAINER, network=Network(mode=mode, ports=ports), storage=LAYERLESS)
    return apply(profile_text(name), workload, facts)


def missing(applied: Applied) -> list[str]:
    """What has to hold and does not: then nothing is started."""
    return [one.right for one in applied.held if one.required and not one.wall]


def cell(applied: Applied, right: str) -> str:
    """What holds a right."""
    held = next((one for one in applied.held if one.right == right), None)
    if held is None:
        return "free"
    if held.required and not held.wall:
        return "no start"
    return WALLS.get(
        held.wall, held.wall.removeprefix("the ").replace("Landlock, which refuses it everywhere", "refused")
    )


def walls(name: str, mode: NetworkMode) -> Iterator[str]:
    """The table of a profile: rights that fare alike in one row."""
    applied = [profile_on(name, abi, mode) for abi in ABIS]
    rows: dict[tuple[str, ...], list[str]] = {}
    for right in RIGHTS:
        rows.setdefault(tuple(cell(one, right) for one in applied), []).append(right)
    heads = [f"ABI {abi}, Linux {KERNELS[abi]}" if abi else "without" for abi in ABIS]
    yield from (f"| {NETWORKS[mode]} | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads))
    yield from (f"| {', '.join(rights)} | " + " | ".join(cells) + " |" for cells, rights in rows.items())
    yield ""


def rules(beneath: tuple[Beneath, ...]) -> Iterator[str]:
    """What a profile gives, with the reasons."""
    if not beneath:
        return
    yield from ("| beneath | rights to files | why |", "| --- | --- | --- |")
    for rule in beneath:
        parents = ", ".join(f"`{parent}`" for parent in rule.parents)
        yield f"| {parents} | {', '.join(rule.access)} | {rule.marks.reason} |"
    yield ""


def landlock_lines() -> Iterator[str]:
    """The page below its title."""
    yield from INTRODUCTION.splitlines()
    yield ""
    for name in ("default", "strict", "permissive"):
        policy, _ = read_policy(profile_text(name))
        yield from (f"## {name}", "", f"{policy.description}.", "")
        yield from rules(policy.beneath)
        for mode in NETWORKS:
            yield from walls(name, mode)
    yield from (*PORTS.splitlines(), "")
    yield from CUSTOM.splitlines()
