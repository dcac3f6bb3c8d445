"""What an audit saw of a running workload, and what it concludes: each point as planned, as found."""

from __future__ import annotations

from collections.abc import Mapping

from volt.model.values import Value

# proc_pid_status(5), the sets of capabilities(7).
SETS = {
    "CapBnd": "bounding",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapInh": "inheritable",
    "CapAmb": "ambient",
}
# namespaces(7) that are a wall; time namespaces are not used.
NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")


class Point(Value):
    """One wall: what the plan says, what was found, and whether it holds."""

    name: str
    planned: str
    found: str
    holds: bool


class Audit(Value):
    """Every point of the run `run` of the workload `name`."""

    name: str
    run: str
    points: tuple[Point, ...]

    @property
    def holds(self) -> bool:
        return all(point.holds for point in self.points)


class Mounted(Value):
    """One line of proc_pid_mountinfo(5); `options` are the mount's and its file system's together."""

    id: int
    parent: int
    root: str
    path: str
    options: frozenset[str]
    type: str


class Opened(Value):
    """A descriptor: what /proc/PID/fd says of it, the mount it came by, and which file it is."""

    number: int
    target: str
    mount: int
    file: tuple[int, int]


class Process(Value):
    """A process as /proc of the host shows it: its ids are the host's. `inside` is its number inside."""

    pid: int
    inside: int
    name: str
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, int]
    no_new_privs: bool
    seccomp: int
    filters: int  # of system calls, one upon the other
    namespaces: Mapping[str, str]
    uid_map: tuple[int, ...]
    gid_map: tuple[int, ...]
    cgroup: str
    limits: Mapping[str, tuple[int, int]]
    descriptors: tuple[Opened, ...]

    def __str__(self) -> str:
        return f"process {self.inside} ({self.name})"


class Beside(Value):
    """What stands in the namespaces of a run outside its Landlock domain: the abstract name of a socket with the zero
    byte before it, b"" for none, and the number that a process has inside, 0 for none."""

    abstract: bytes = b""
    process: int = 0


class Seen(Value):
    """All that was read of a run from outside.

    `inside` are the processes inside without the init, the payload first. `places` says of each path that was asked
    for where it really lies, links of the workload's own root followed inside; "" where there is nothing. `controls`
    are the files of the run's cgroup that were asked for, None for one that is not there. `firewall` are the chains and
    rules of nftables in its network namespace, if they were asked for: netlink messages, by type and attributes.
    """

    host: Mapping[str, str]  # namespaces of the supervisor
    standard: Mapping[int, tuple[int, int]]  # its descriptors 0 to 2
    init: Process
    inside: tuple[Process, ...]
    mounts: tuple[Mounted, ...]
    places: Mapping[str, str]
    controls: Mapping[str, str | None]
    firewall: tuple[tuple[int, bytes], ...]
    page: int  # bytes
