"""The manifest as it was written: every section and field, for reading, writing and the JSON Schema.

Loading validates nothing: an unknown key, an odd mode or a missing name still gives a Manifest, and both
round trips keep it. What a value must look like is volt.manifest.fields' business.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from volt.model.modes import (
    HYBRID_MODES,
    KERNEL_MODES,
    VALID_LANDLOCK_PROFILES,
    VALID_MODES,
    VALID_NETWORK_MODES,
    VALID_WRITABLE_LAYER_MODES,
    LandlockProfile,
    Mode,
    NetworkMode,
    WritableLayerMode,
)

__all__ = [
    "VALID_LANDLOCK_PROFILES",
    "VALID_MODES",
    "VALID_NETWORK_MODES",
    "VALID_WRITABLE_LAYER_MODES",
    "HealthSection",
    "KernelSection",
    "LandlockProfile",
    "LogSection",
    "Manifest",
    "Mode",
    "NetworkMode",
    "NetworkSection",
    "ResourceSection",
    "SecuritySection",
    "ServiceSection",
    "StorageSection",
    "VolumeMount",
    "WorkloadSection",
    "WritableLayerMode",
]

CAS = "cas://"
SIZE = r"^\s*[0-9]+(\.[0-9]+)?\s*(([KMGTPEkmgtpe]([iI]?[bB])?)|[bB]|%)?\s*$|^$"
DURATION = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


def text(description: str, **more: Any) -> Any:
    """An optional field with the sentence that editors show."""
    return Field(default=None, description=description, **more)


class Section(BaseModel):
    """A table of the manifest; unknown keys are kept, and shown as mistakes by the schema."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})

    @classmethod
    def unchecked(cls, table: dict[str, Any]) -> Self:
        """A section with these values, whatever they are."""
        made = cls.model_construct()
        fields = cls.keys()
        known = {name: _sections(cls, name, table[key]) for key, name in fields.items() if key in table}
        made.__dict__.update(known)
        object.__setattr__(made, "__pydantic_fields_set__", set(known))
        # Not by keyword: a key of a file may have the name of a parameter.
        object.__setattr__(made, "__pydantic_extra__", {k: v for k, v in table.items() if k not in fields})
        return made

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Key in a file → name of the attribute. `source_path` is where a manifest came from, and no key."""
        fields = cls.model_fields.items()
        return {field.alias or name: name for name, field in fields if not field.exclude}

    def table(self) -> dict[str, Any]:
        """The keys that were written, with their values."""
        written = self.model_fields_set
        known = {key: getattr(self, name) for key, name in self.keys().items() if name in written}
        return {key: _plain(value) for key, value in (known | (self.model_extra or {})).items()}


def _sections(cls: type[Section], name: str, value: Any) -> Any:
    """A value with its tables as sections, where the field has sections."""
    section = _section_of(cls, name)
    if section and isinstance(value, dict):
        return section.unchecked(value)
    if section and isinstance(value, list):
        return [section.unchecked(item) if isinstance(item, dict) else item for item in value]
    return value


def _section_of(cls: type[Section], name: str) -> type[Section] | None:
    pending: list[Any] = [cls.model_fields[name].annotation]
    while pending:
        one = pending.pop()
        if isinstance(one, type) and issubclass(one, Section):
            return one
        pending.extend(get_args(one))
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.table()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class WorkloadSection(Section):
    """Who the workload is, and what it runs."""

    name: str = Field(
        description="Lower-case DNS label, up to 63 characters: hostname, name on the network, "
        "machine name, name of the kept layer.",
        pattern=NAME,
    )
    mode: Mode = Field(
        description="How strong the wall is: container (systemd-nspawn), hybrid-native (nspawn "
        "booting the image's own init), hybrid-kvm (QEMU guest), hybrid-emulated (another CPU)."
    )
    image: str | None = text("Image as [registry/]name[:version][@sha256:...]; instead of storage.rootfs.")
    description: str | None = text("Free text, shown by ps and inspect.")
    command: list[str] | None = text("Program and arguments; `volt run FILE -- ...` replaces them.")
    env: dict[str, str] | None = text("Environment of the payload.")
    env_file: str | None = text("File of NAME=value lines, read at each launch and recorded nowhere.")
    user: str | None = text("Name, uid or uid:gid, looked up in the image's own files.")
    workdir: str | None = text("Folder inside in which the command starts.", pattern="^/|^$")
    hostname: str | None = text("Hostname inside; the workload's name if absent.")
    platform: str | None = text(
        "Architecture of the image, as linux/arm64 or linux/arm/v7; without it the best that this machine runs."
    )
    boot: bool | None = text("Start the image's own init.")
    labels: dict[str, str] | None = text("Words for filters and other programs.")


class KernelSection(Section):
    """The kernel of the hybrid modes; ignored in container mode."""

    version: str | None = text(
        "hybrid-native: what the host's kernel must match (6.12, >=6.1); hybrid-kvm: the "
        "newest that matches; hybrid-emulated: what uname reports."
    )
    path: str | None = text("Kernel image; hybrid-native: must be the running one.")
    modules: list[str] | None = text(
        "Modules to load: on the host (hybrid-native, if the policy lists them) or in the guest (hybrid-kvm)."
    )
    cmdline: str | None = text("Kernel command line, appended.")


class SecuritySection(Section):
    """What the payload may do."""

    landlock_profile: str | None = text(
        "What Landlock withholds: strict, default, permissive, custom (then landlock_policy names it), or a policy's "
        "path with a slash, or cas://sha256:..., one in the store. What the kernel lacks and no other wall holds is "
        "refused where the profile requires it.",
        examples=["default", "./policy.toml"],
    )
    landlock_policy: str | None = text(
        "Policy of the custom profile: TOML in landlockconfig's form, a path or cas://sha256:...."
    )
    seccomp_profile: str | None = text(
        "strict, default, unconfined, a path with a slash (TOML, or an OCI seccomp.json), or cas://sha256:..., one in "
        "the store.",
        examples=["default"],
    )
    capabilities: list[str] | None = text(
        "Absent: podman's eleven, or none where a profile is strict; given: exactly these, [] none."
    )
    read_only_rootfs: bool | None = text("Mount the merged root read-only, with tmpfs on /tmp and /run.")
    no_new_privs: bool | None = text("Set-uid programs give nothing; may be false in hybrid-native alone.")


class ResourceSection(Section):
    """cgroup v2 limits."""

    memory_limit: str | None = text("memory.max, without swap: 512M, 2G, 25%.", pattern=SIZE)
    memory_soft: str | None = text(
        "memory.high: above it the workload is throttled; less than memory_limit.", pattern=SIZE
    )
    cpu_weight: int | None = text("Share of the processors, 1 to 10000; 100 is usual.", ge=0, le=10000)
    cpu_set: str | None = text("Cores, as 0-3,5.", pattern=r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$")
    io_weight: int | None = text("Share of the disks, 1 to 10000; 100 is usual.", ge=0, le=10000)
    pids_max: int | None = text("Most processes and threads of the workload.", ge=0)


class NetworkSection(Section):
    """What the workload can reach, and how it is reached."""

    mode: NetworkMode | None = text("bridge (the default), host, none, custom.")
    name: str | None = text("The network that custom joins.")
    address: str | None = text("IPv4 or IPv6 address; in bridge and custom.")
    dns: list[str] | None = text("Addresses of resolvers; not with none.")
    ports: list[str] | None = text(
        "[[IP:]host[-range]:]container[-range][/tcp|udp], IPv6 in brackets; under host only the container form."
    )


class VolumeMount(Section):
    """A host path mounted inside."""

    host: str = Field(description="Path on the host: folder, file or socket; must exist.")
    container: str = Field(description="Absolute path inside; not /, /proc, /sys or /dev.")
    readonly: bool | None = text("Mount it read-only.")
    as_: str | None = Field(
        default=None,
        alias="as",
        description="Who inside stands for the path's owner: root if absent, else a name, uid or uid:gid.",
    )
    ids: str | None = text(
        "owner: that one identity is mapped; same: ids 0 to 65535 one to one.", pattern="^(owner|same)?$"
    )
    owner: str | None = text(
        'Spelled out as "root" where the inside would write as the host\'s root.', pattern="^(root)?$"
    )


class StorageSection(Section):
    """The root file system and what is mounted into it."""

    rootfs: str | None = text('A folder, cas://sha256:..., or "host": the host\'s programs, read-only.')
    volumes: list[VolumeMount] | None = text("Host paths mounted inside.")
    writable_layer: WritableLayerMode | None = text(
        "overlay: kept per workload name; tmpfs: gone with the run; none: the root is read-only."
    )
    tmpfs: list[str] | None = text("Memory file systems, as /cache:size=64M,mode=0700.")
    shm_size: str | None = text("Size of /dev/shm, 64M if absent.", pattern=SIZE)
    layer_size: str | None = text('Most that a writable layer in memory holds: writable_layer = "tmpfs".', pattern=SIZE)


class LogSection(Section):
    """The output of a detached run."""

    rate: str | None = text("Bytes a second that are kept; more is discarded and counted.", pattern=SIZE)
    max_size: str | None = text("Size at which a log is rotated.", pattern=SIZE)
    max_files: int | None = text("Rotated logs that are kept.", ge=0)


class ServiceSection(Section):
    """The workload as a service."""

    restart: str | None = text(
        "no, on-failure or always: kept by volt for a detached run, else by a unit, volt generate systemd.",
        pattern="^(no|on-failure|always)?$",
    )
    restart_sec: str | None = text(
        "Pause before a restart, 1s if absent. Where volt keeps it, each in a row is twice as long.", pattern=DURATION
    )
    ready: str | None = text(
        "What shows that the payload is ready, which a detached launch waits for: notify (READY=1 of sd_notify(3)), "
        "tcp:8080 (the port takes connections), http:8080/healthz (it answers 2xx or 3xx), file:/run/app.ready (the "
        "file is made), log:TEXT (a line of its output has TEXT in it)."
    )
    ready_timeout: str | None = text("How long it may take to be ready; 1m if absent.", pattern=DURATION)
    watchdog: str | None = text("Longest silence of a notifying payload, 1s or more: kept by a unit.", pattern=DURATION)
    stop_signal: str | None = text("Signal that asks the payload to end, SIGTERM if absent.")
    stop_timeout: str | None = text("When SIGKILL follows.", pattern=DURATION)
    after: list[str] | None = text("Workloads started before this one: kept by a unit.")
    requires: list[str] | None = text("Workloads without which this one does not start: kept by a unit.")


class HealthSection(Section):
    """How health is checked."""

    command: list[str] | None = text("Command run inside; 0 is healthy.")
    http: str | None = text("URL path, with its port, that answers 2xx or 3xx.")
    tcp: str | None = text("Port that accepts a connection.")
    interval: str | None = text("Between two checks.", pattern=DURATION)
    timeout: str | None = text("When a check counts as failed.", pattern=DURATION)
    retries: int | None = text("Failures in a row that count.", ge=0)
    on_failure: str | None = text("none, restart or stop.", pattern="^(none|restart|stop)?$")


class Manifest(Section):
    """A workload manifest, version 2."""

    model_config = ConfigDict(title="volt manifest v2")
    SECTIONS: ClassVar[tuple[str, ...]] = (
        "workload",
        "kernel",
        "security",
        "resources",
        "network",
        "storage",
    )

    extends: str | None = text("A base manifest: a path relative to this file, or cas://sha256:....")
    workload: WorkloadSection = Field(default_factory=lambda: WorkloadSection.unchecked({}))
    kernel: KernelSection = Field(default_factory=lambda: KernelSection.unchecked({}))
    security: SecuritySection = Field(default_factory=lambda: SecuritySection.unchecked({}))
    resources: ResourceSection = Field(default_factory=lambda: ResourceSection.unchecked({}))
    network: NetworkSection = Field(default_factory=lambda: NetworkSection.unchecked({}))
    storage: StorageSection = Field(default_factory=lambda: StorageSection.unchecked({}))
    log: LogSection = Field(default_factory=lambda: LogSection.unchecked({}))
    limits: dict[str, str | int] | None = text("Resource limits as soft:hard, or one for both: nofile, core, ...")
    service: ServiceSection = Field(default_factory=lambda: ServiceSection.unchecked({}))
    health: HealthSection = Field(default_factory=lambda: HealthSection.unchecked({}))
    source_path: str = Field(default="", exclude=True, json_schema_extra={"readOnly": True})

    @property
    def is_hybrid(self) -> bool:
        """Whether the mode isolates more than a container does."""
        return self._mode in HYBRID_MODES

    @property
    def needs_kernel(self) -> bool:
        """Whether the mode takes a kernel."""
        return self._mode in KERNEL_MODES

    @property
    def has_cas_rootfs(self) -> bool:
        """Whether the root names an object of the store: only when text follows `cas://`."""
        root = getattr(self.storage, "rootfs", None)
        return isinstance(root, str) and root.startswith(CAS) and len(root) > len(CAS)

    @property
    def cas_digest(self) -> str:
        """What follows `cas://`, unchecked; "" if nothing does."""
        return str(self.storage.rootfs)[len(CAS) :] if self.has_cas_rootfs else ""

    @property
    def _mode(self) -> str:
        mode = getattr(self.workload, "mode", None)
        return mode if isinstance(mode, str) else ""
