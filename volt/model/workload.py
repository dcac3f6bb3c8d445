"""The workload: a manifest resolved, validated and parsed into types; the only thing a backend accepts."""

from __future__ import annotations

from collections.abc import Mapping

from volt.model.findings import Place
from volt.model.modes import Mode, NetworkMode, WritableLayerMode
from volt.model.sizes import Duration, Size
from volt.model.values import Value, field


class User(Value):
    """`workload.user`: a name, or a number; `group` likewise, None for the user's own."""

    user: str | int
    group: str | int | None = None


class Kernel(Value):
    version: str | None = None
    path: str | None = None
    modules: tuple[str, ...] = ()
    cmdline: str | None = None


class Security(Value):
    """`capabilities` is None when absent, () for none; names as in capabilities(7) without CAP_.

    Profiles are a shipped name or an absolute path. `landlock_profile` is None when absent.
    """

    landlock_profile: str | None = None
    landlock_policy: str | None = None
    seccomp_profile: str | None = None
    capabilities: tuple[str, ...] | None = None
    read_only_rootfs: bool = False
    no_new_privs: bool | None = None


class Resources(Value):
    memory_limit: Size | None = None
    memory_soft: Size | None = None
    cpu_weight: int | None = None
    cpu_set: tuple[int, ...] | None = None
    io_weight: int | None = None
    pids_max: int | None = None


class Port(Value):
    """One published port. `host` is None for a free one; `address` None for every address."""

    container: int
    host: int | None = None
    address: str | None = None
    protocol: str = "tcp"


class Network(Value):
    """`mode` is None when absent."""

    mode: NetworkMode | None = None
    name: str | None = None
    address: str | None = None
    dns: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()

    @property
    def joined(self) -> NetworkMode:
        """The mode that an absent one stands for, too."""
        return self.mode or NetworkMode.BRIDGE

    @property
    def bridged(self) -> bool:
        """Whether it is connected to a bridge."""
        return self.joined in (NetworkMode.BRIDGE, NetworkMode.CUSTOM)


class Volume(Value):
    """`host` is an absolute path. `as_user` names who inside stands for the path's owner; `ids` is
    "owner" (that one identity) or "same" (0 to 65535 one to one); `owner_root` says that the author
    spelled out `owner = "root"`."""

    host: str
    container: str
    readonly: bool = False
    as_user: User | None = None
    ids: str = "owner"
    owner_root: bool = False


class Tmpfs(Value):
    """One element of storage.tmpfs. `options` beyond size and mode do not exist."""

    path: str
    size: Size | None = None
    mode: int | None = None


class Storage(Value):
    """`rootfs` is None, an absolute path, `host`, or `cas://…`; `host` as a folder is never bare."""

    rootfs: str | None = None
    volumes: tuple[Volume, ...] = ()
    writable_layer: WritableLayerMode = WritableLayerMode.OVERLAY
    tmpfs: tuple[Tmpfs, ...] = ()
    shm_size: Size | None = None
    layer_size: Size | None = None


class Log(Value):
    rate: Size | None = None
    max_size: Size | None = None
    max_files: int | None = None


class Ready(Value):
    """service.ready: what shows that a payload is ready. `kind` is notify, tcp, http, file or log; `port` of tcp and
    http; `text` the path of a file, what http asks for, or what a line of the log has in it."""

    kind: str
    port: int = 0
    text: str = ""

    def __str__(self) -> str:
        """As a manifest has it."""
        behind = f"{self.port or ''}{self.text}"
        return f"{self.kind}:{behind}" if behind else self.kind


class Service(Value):
    restart: str | None = None
    restart_sec: Duration | None = None
    ready: Ready | None = None
    ready_timeout: Duration | None = None
    watchdog: Duration | None = None
    stop_signal: str | None = None
    stop_timeout: Duration | None = None
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


class Health(Value):
    command: tuple[str, ...] | None = None
    http: str | None = None
    tcp: str | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    retries: int | None = None
    on_failure: str | None = None


class Workload(Value):
    """Total and pinned: no extends, no variables, every path absolute.

    `limits` maps a name of getrlimit(2) in lower case to (soft, hard), 2^64-1 for none. `given` are the
    dotted keys that some manifest of the chain wrote, with the place of each (lists by index), so that
    a later finding can point at the line.
    """

    name: str
    mode: Mode
    image: str | None = None
    description: str | None = None
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: str | None = None
    user: User | None = None
    workdir: str | None = None
    hostname: str | None = None
    platform: str | None = None
    boot: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    kernel: Kernel = Kernel()
    security: Security = Security()
    resources: Resources = Resources()
    network: Network = Network()
    storage: Storage = Storage()
    log: Log = Log()
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    service: Service = Service()
    health: Health = Health()
    given: Mapping[str, Place] = field(default_factory=dict)

    @property
    def host_name(self) -> str:
        """The name that the payload's machine bears."""
        return self.hostname or self.name

    @property
    def boots(self) -> bool:
        """Whether the image's own init becomes process 1."""
        return self.mode == Mode.HYBRID_NATIVE

    @property
    def writable(self) -> bool:
        """Whether the merged root can be written: read_only_rootfs wins over writable_layer."""
        return not self.security.read_only_rootfs and self.storage.writable_layer != WritableLayerMode.NONE

    @property
    def kept(self) -> bool:
        """Whether the writable layer outlives the run."""
        return self.writable and self.storage.writable_layer == WritableLayerMode.OVERLAY
