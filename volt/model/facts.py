"""Facts: what one probe of the machine found, as data that a plan can be made from again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from volt.model.folders import Folders
from volt.model.networks import DEFAULT
from volt.model.policy import Policy
from volt.model.values import Value, field

IMAGE_KERNEL = (6, 12)  # EROFS from a file and not from a disk
DATA_KERNEL = (6, 5)  # data-only layers of overlayfs
PullPolicy = Literal["missing", "always", "never"]
ImageState = Literal["there", "absent", "malformed", "no-tree"]
PathKind = Literal["folder", "file", "socket", "fifo", "device", "missing", "unreadable"]


class PathFact(Value):
    """What lies at a host path that the workload names, links followed.

    `filesystem` is the type's name (`ext4`); `idmappable` says whether this kernel can idmap it.
    `problem` explains `unreadable`. `real` is the path without links that was opened.
    """

    kind: PathKind
    device: int = 0
    inode: int = 0
    uid: int = 0
    gid: int = 0
    filesystem: str = ""
    idmappable: bool = False
    problem: str = ""
    real: str = ""


class ProfileText(Value):
    """What a profile's file says; `problem` is why it could not be read, as the end of a sentence. `quotable` is
    False where the user who called sudo could not have read it. `real` is the path without links that was read."""

    path: str
    text: str = ""
    problem: str = ""
    quotable: bool = True
    real: str = ""


class ImageFact(Value):
    """The image that a workload names at `key` of its manifest: the `digest` of its tree; where the `file` lies that
    is mounted, its `objects`, and the `leases` on trees, on a file system of the type `filesystem`. Where this kernel
    mounts no image from there, it goes through a `loop` device; where none does either, `file` is the tree unpacked,
    and `folder` what lies there. Where it is not `there`,
    `problem` says more than the state does, or is empty. `env` are the variables, NAME=value, and `architecture` the
    one, as Go calls it, that the image itself names. `origins` are the repositories, HOST/PATH, that it has been pulled
    from, or would be; "" among them where it was imported; none where nobody knows. `unsigned` are the registries, or
    parts of one, of whose keys in the policy none has signed it. `workdir` and `volumes` are the folders that it starts
    in and keeps data in, by its own word, "" and none for none."""

    key: str
    digest: str = ""
    file: str = ""
    objects: str = ""
    leases: str = ""
    filesystem: str = ""
    folder: PathFact | None = None
    loop: bool = False
    state: ImageState = "there"
    problem: str = ""
    env: tuple[str, ...] = ()
    architecture: str = ""
    origins: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    workdir: str = ""
    volumes: tuple[str, ...] = ()

    @property
    def there(self) -> bool:
        return self.state == "there"


class Cgroup(Value):
    """One cgroup, cgroups(7): its path below the root of the mount, the controllers that it has and those that
    its children have. `free` says whether it can give them more: it holds no process, or is the very first."""

    path: str
    controllers: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    free: bool = False


class Control(Value):
    """What can be limited here, and below which cgroups.

    `own` is the caller's cgroup, `top` the root of the mount, `delegated` the one that systemd has handed to
    the caller (Delegate=, systemd.resource-control(5)). `manager` is the cgroup of systemd where that is PID 1
    and `bus` the socket of the system bus, "" without; `machined` says whether systemd-machined is reached over it.
    `legacy` are the controllers that a v1 hierarchy has. `io_weight` is the file that takes
    an I/O weight, "" where nothing would act on it. `cores` are online; `swap` says whether the kernel can swap at all.
    `unit` is the unit of systemd whose workload is launched, and whose cgroup `delegated` then is; "" without.
    """

    own: Cgroup = Cgroup("/")
    top: Cgroup = Cgroup("/")
    delegated: Cgroup | None = None
    manager: str | None = None
    bus: str = ""
    legacy: tuple[str, ...] = ()
    io_weight: str = ""
    cores: tuple[int, ...] = ()
    swap: bool = True
    unit: str = ""
    machined: bool = False


class Resolver(Value):
    """What answers for the names of workloads on a bridge: dnsmasq at `program`, run as `uid` and `gid`. `file` is the
    host's resolv.conf(5), without links, which it follows. `problem` says why there can be none, "" where there can,
    and `mend` what helps."""

    program: str = ""
    uid: int = 65534
    gid: int = 65534
    file: str = ""
    problem: str = ""
    mend: str = ""


class Bridge(Value):
    """The bridge that the workload joins: `subnet` and `subnet6` in CIDR, the latter "" where there is no IPv6;
    `namespace` is the inode of the network namespace that it lies in. `problem` says why it cannot be, "" where it can.
    `network` is what volt net calls it; nothing leads out of an `internal` one. `label` is "" where there is no network
    that is called so: `near` then is the known name that is most like it. `resolver`
    is what answers for names there, None where that has not been looked for."""

    label: str
    subnet: str
    subnet6: str
    mtu: int
    namespace: int
    problem: str = ""
    network: str = DEFAULT
    internal: bool = False
    near: str = ""
    resolver: Resolver | None = None


class Modules(Value):
    """What there is of the modules that a workload asks for, by names as the kernel has them: those of `builtin` are
    part of it, `files` says where others lie, and `loaded` are in it all the same, which nothing could load again.
    `program` is modprobe(8), "" without."""

    program: str = ""
    builtin: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    loaded: tuple[str, ...] = ()


class Boot(Value):
    """What decides of a boot: `init` is the path of the image's own init, "" where there is none, and `program` the
    file that it leads to, both below the root. `kernel` is what the running kernel calls itself, release and build, and
    `named` what the kernel's image that the workload names says of itself, "" where it is none. `there` and `missing`
    are the paths of the host's that init and program follow from. `modules` is there where some are asked for."""

    init: str = ""
    program: str = ""
    kernel: str = ""
    named: str = ""
    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    modules: Modules | None = None


class Facts(Value):
    """The host as it was found, and the paths, users and layers that one workload names.

    `capabilities` is this process's effective mask. `kernel` is (major, minor). `nspawn_version` is
    systemd's number, 0 without systemd-nspawn. `cgroup_root` is where cgroup v2 is mounted ("" if
    nowhere) and `control` what can be limited there. `memory` is the host's, in bytes. `subordinate`
    are the (first, count) ranges of /etc/subuid and /etc/subgid. `limits` are this process's (soft, hard)
    by name. `heat` are the folders where processors count how often they were too hot. `host_etc` are the
    names below /etc that a host rootfs may show and that exist. `passwd` and `group` are the image's own
    files, through the kept layer where there is one ("" if absent). `layer` is the kept layer's record of the
    root it was made on, None without a layer. `policy` is the most that this machine allows, None where it
    bounds nothing. `seccomp` is the profile that the workload names by its path. `landlock` is the policy
    that it names or has by default, None where it names none that could be looked for.
    `image` is the image that it names, None without one.
    `nftables` says whether the kernel can have rules for TCP; asked where Landlock has none. `bridge` is there for a
    workload that joins one; `upstream` then is a resolv.conf(5) whose resolvers can be reached from there.
    `boot` is there for a workload that boots its image's own init.
    """

    architecture: str
    kernel: tuple[int, int]
    kernel_release: str
    root: bool
    capabilities: int
    nspawn: str
    nspawn_version: int
    cgroup_root: str
    landlock_abi: int
    program: str
    boot_id: str
    libseccomp: str
    folders: Folders
    control: Control = Control()
    memory: int = 0
    resolv_conf: str = ""
    heat: tuple[str, ...] = ()
    host_etc: tuple[str, ...] = ()
    subordinate: tuple[tuple[int, int], ...] = ()
    busy_uids: tuple[int, ...] = ()
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    paths: Mapping[str, PathFact] = field(default_factory=dict)
    passwd: str = ""
    group: str = ""
    layer: str | None = None
    policy: Policy | None = None
    seccomp: ProfileText | None = None
    landlock: ProfileText | None = None
    nftables: bool = False
    image: ImageFact | None = None
    bridge: Bridge | None = None
    upstream: str = ""
    boot: Boot = Boot()


class Call(Value):
    """What the caller of one launch adds to the manifest.

    `command` replaces the workload's. `env` comes last. `terminal` has bit n set where standard
    descriptor n is a terminal (0, 1, 2); `term` is its TERM. `report` is where the outcome goes: a path,
    or the number of an inherited descriptor; `lifeline` an inherited descriptor whose closing ends the
    run. `time_limit` is in milliseconds from the start. `waived` are the sections whose fields may stay
    unenforced where the host cannot hold them. `notified` says that the caller's
    environment has NOTIFY_SOCKET, sd_notify(3).

    `detach` leaves the run to itself once it has started, with its output in a log; with `keep` record, outcome and
    log stay after its end. `interactive` then leaves its input open. `discard` gives it a writable layer of its own
    that goes with it. `name` and `labels` come before the manifest's. `origin` is, as JSON, how to launch it again.
    `pull` says when an image is fetched from its registry: where it is missing, always, or never.

    `unit` is the unit of systemd that this launch is the main process of, "" without; `keeps` are the keys of the
    manifest that it is written to keep, each with the value.
    """

    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    fresh: bool = False
    detach: bool = False
    keep: bool = False
    interactive: bool = False
    discard: bool = False
    name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    origin: str = "{}"
    pull: PullPolicy = "never"
    terminal: int = 0
    term: str = ""
    report: str | int | None = None
    lifeline: int | None = None
    time_limit: int | None = None
    notified: bool = False
    waived: tuple[str, ...] = ()
    unit: str = ""
    keeps: tuple[tuple[str, str], ...] = ()
