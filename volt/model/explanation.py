"""What a workload is about to be given, said in sentences, each with what a program can check of it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from volt.model.values import Value

# The walls, as statements name them.
LANDLOCK = "Landlock"
MOUNTS = "mounts"
SECCOMP = "seccomp"
CAPABILITIES = "capabilities"
USERS = "user namespace"
PROCESSES = "pid namespace"
NETWORK = "network namespace"
NFTABLES = "nftables"
CGROUP = "cgroup"
LIMITS = "resource limits"
NO_NEW_PRIVS = "no_new_privs"

# What may be done to files, each with the right of Landlock that it takes.
FILE_RIGHTS = {
    "read": "read_file",
    "list": "read_dir",
    "write": "write_file",
    "truncate": "truncate",
    "make": "make_reg",
    "remove": "remove_file",
    "execute": "execute",
}


class Claim(Value):
    """What a statement comes to. `kind` tells the claims of a document apart."""

    kind: ClassVar[str] = ""


class PathClaim(Claim):
    """Beneath `path`, up to the next path that has a claim on these rights, `allowed` of FILE_RIGHTS are to be had and
    `refused` are not: as far as the owners and modes of the files let it."""

    kind = "path"
    path: str
    allowed: tuple[str, ...]
    refused: tuple[str, ...]


class HiddenClaim(Claim):
    """In the place of each path, if it is there at all, lies an empty file or folder."""

    kind = "hidden"
    paths: tuple[str, ...]


class PortClaim(Claim):
    """TCP: to `act` ("bind" or "connect") on the ports from `first` to `last`. Where two claims are on a port, the one
    on fewer counts."""

    kind = "port"
    act: str
    first: int
    last: int
    allowed: bool


class ReachClaim(Claim):
    """Whether the host's are within reach: "processes", "abstract sockets", "network"."""

    kind = "reach"
    what: str
    allowed: bool


class CallClaim(Claim):
    """Each of the system calls gets one of `answers`, whatever its arguments: "runs" (the kernel performs it), "kill",
    the name of an errno, …"""

    kind = "call"
    calls: tuple[str, ...]
    answers: tuple[str, ...]


class CapabilityClaim(Claim):
    """One of the payload's sets, "effective", "ambient" or "bounding", at its start."""

    kind = "capability"
    set: str
    capabilities: tuple[str, ...]


class IdentityClaim(Claim):
    """As whom the payload starts."""

    kind = "identity"
    uid: int
    gid: int
    groups: tuple[int, ...]
    no_new_privs: bool


class LimitClaim(Claim):
    """A limit's value in the kernel's own unit: of a file of cgroup v2, or as soft:hard of getrlimit(2)."""

    kind = "limit"
    limit: str
    value: str


class SharedClaim(Claim):
    """`host` is seen inside as `inside`; `root` says that the inside writes there as the host's root."""

    kind = "shared"
    host: str
    inside: str
    readonly: bool
    root: bool = False


class Statement(Value):
    """One sentence, the walls by which it holds (none where nothing has to), and its claims."""

    text: str
    walls: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


class Section(Value):
    """Statements on one `subject`, a word for programs, under a `title` for people."""

    subject: str
    title: str
    statements: tuple[Statement, ...]


class Explanation(Value):
    """What a plan gives its workload."""

    name: str
    mode: str
    sections: tuple[Section, ...]

    def claims(self) -> tuple[Claim, ...]:
        """Every claim, in order."""
        return tuple(claim for section in self.sections for one in section.statements for claim in one.claims)

    def document(self) -> dict[str, object]:
        """All of it as JSON values: `volt explain --json`, version 1."""
        sections = [
            {"subject": one.subject, "title": one.title, "statements": [_statement(each) for each in one.statements]}
            for one in self.sections
        ]
        return {"version": 1, "name": self.name, "mode": self.mode, "sections": sections}


def _statement(one: Statement) -> dict[str, object]:
    claims = [{"kind": claim.kind, **dataclasses.asdict(claim)} for claim in one.claims]
    return {"text": one.text, "walls": list(one.walls), "claims": claims}
