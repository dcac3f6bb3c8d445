"""The table findings.toml, and what each of its examples comes to, in a world made up for them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from volt.host.definitions import path_of
from volt.host.policy import not_roots
from volt.manifest import locate, locate_in, resolve
from volt.manifest.networks import read_definition
from volt.manifest.policy import read_policy
from volt.model.facts import (
    Boot,
    Bridge,
    Call,
    Cgroup,
    Control,
    Facts,
    Folders,
    ImageFact,
    Modules,
    PathFact,
    ProfileText,
)
from volt.model.findings import Finding
from volt.model.policy import POLICY
from volt.model.workload import Workload
from volt.plan.check import Accounts, check

TABLE = Path(__file__).parent / "findings.toml"
COMPLETE = '[workload]\nname = "web"\nmode = "container"\n'
FOLDER = PathFact("folder", 1, 42, 1000, 1000, "ext4", idmappable=True)
PATHS = {
    "/srv/root": FOLDER,
    "/srv/data": FOLDER,
    "/srv/of-root": PathFact("folder", 1, 43, 0, 0, "ext4", idmappable=True),
    "/srv/nfs": PathFact("folder", 1, 44, 1000, 1000, "nfs4"),
    "/srv/absent": PathFact("missing"),
    "/dev/null": PathFact("device"),
}
CONTROL = Control(own=Cgroup("/"), top=Cgroup("/", ("cpu", "cpuset", "io", "memory", "pids"), free=True), cores=(0, 1))
LAN = "lan"
LAYERS = {"moved": '{"version": 1, "root": "/srv/before", "inode": 42}\n'}


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # an object of no bytes, and so no tree


def image_of(workload: Workload) -> ImageFact | None:
    """What planning finds where there is no image, or one for another machine."""
    root = workload.storage.rootfs or ""
    if root.startswith("cas://"):
        whole = len(root) == len(f"cas://sha256:{EMPTY}")
        return ImageFact("storage.rootfs", state="no-tree" if EMPTY in root else "absent" if whole else "malformed")
    if workload.image == "app:arm64":
        return ImageFact("workload.image", EMPTY, architecture="arm64")
    return ImageFact("workload.image", state="absent") if workload.image else None


@dataclass(frozen=True)
class Example:
    """One entry of the table."""

    code: str
    rule: str
    example: str
    by: str = "validate"
    files: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    padding: int = 0
    stdin: bool = False
    policy: str = ""
    owner: int = 0
    profile: str = ""
    bridge: str = ""
    network: str = ""
    subnet6: str = "fd12:3456:789a::/64"

    @property
    def text(self) -> str:
        """The whole manifest."""
        own = self.example.strip()
        head, tail = (own, "") if own.startswith("extends") else ("", own)
        complete = "" if "[workload]" in own or self.code == "bad-toml" else COMPLETE
        return "\n".join(part.strip() for part in (head, complete, tail) if part) + "\n"

    @property
    def data(self) -> bytes:
        return self.text.encode(self.encoding).ljust(self.padding, b"#")

    def findings(self) -> tuple[Finding, ...]:
        """All that is found, the plan's refusals too where the plan is asked."""
        read = read_policy(POLICY, self.policy.lstrip().encode())
        if self.by == "policy":
            return (*not_roots(POLICY, self.owner, 0o644), *read.findings)
        if self.by == "network":
            return read_definition("lan", "vn-lan", path_of("lan"), self.network.lstrip().encode()).findings
        resolved = resolve("-" if self.stdin else "web.toml", self)
        workload = resolved.workload
        if self.by != "plan" or workload is None:
            return resolved.findings
        facts = Facts(
            architecture="x86_64",
            kernel=(6, 1),
            kernel_release="6.1.0",
            root=True,
            capabilities=0,
            nspawn="/usr/bin/systemd-nspawn",
            nspawn_version=252,
            cgroup_root="/sys/fs/cgroup",
            landlock_abi=2,
            program="/usr/lib/volt",
            boot_id="b",
            libseccomp="libseccomp.so.2",
            folders=Folders(),
            control=CONTROL,
            limits={"nofile": (1024, 524288)},
            paths=PATHS,
            layer=LAYERS.get(workload.name),
            policy=read.policy,
            bridge=self.joined(workload),
            seccomp=ProfileText(workload.security.seccomp_profile or "", self.profile) if self.profile else None,
            landlock=self.landlock(workload.security.landlock_policy),
            image=image_of(workload),
            boot=Boot(modules=Modules("/usr/sbin/modprobe")),
        )
        refused = read.locate(check(workload, facts, Call(), Accounts("root:x:0:0::/root:/bin/sh\n", "")))
        policy = facts.landlock
        found = locate_in(refused, policy.path, policy.text.encode(), quotable=True) if policy else refused
        return locate(found, resolved)

    def joined(self, workload: Workload) -> Bridge:
        """The default bridge, or the one network of its own that this machine has, which is internal."""
        if workload.network.name not in (None, LAN):
            return Bridge("", "", "", 0, 1, network=workload.network.name, near=LAN)
        subnets = "10.189.0.0/16", self.subnet6, 1500, 1, self.bridge
        return Bridge("vn-lan", *subnets, LAN, internal=True) if workload.network.name else Bridge("volt0", *subnets)

    def landlock(self, path: str | None) -> ProfileText | None:
        """The Landlock policy that the example names, by the last part of its path."""
        name = path and path.rpartition("/")[2]
        return ProfileText(name, self.files[name]) if name in self.files else None

    def finding(self) -> Finding:
        """The one that the entry is about."""
        return next(finding for finding in self.findings() if finding.code == self.code)

    # What volt.manifest.Sources asks for.

    def read(self, path: str) -> bytes:
        if path in ("-", "web.toml"):
            return self.data
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path].encode()

    def quotable(self, path: str) -> bool:  # noqa: ARG002 (the protocol's)
        return True

    def exists(self, path: str) -> bool:
        return path in PATHS

    def variable(self, name: str) -> None:
        """No variable is defined."""

    def builtins(self) -> dict[str, str]:
        return {}

    def folder(self) -> str:
        return "/home/ada"


def examples() -> list[Example]:
    """The table in its order."""
    return [Example(**entry) for entry in tomllib.loads(TABLE.read_text())["finding"]]
