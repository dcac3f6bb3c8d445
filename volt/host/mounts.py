"""The mounts of this process's namespace, as /proc/self/mountinfo lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from volt.host.files import lines, read_text
from volt.model.values import Value

MOUNTINFO = "/proc/self/mountinfo"
_MOST = 1 << 26
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(Value):
    """One row, proc_pid_mountinfo(5). `root` is what of the file system is mounted, `path` where."""

    number: int
    root: str
    path: str
    filesystem: str
    idmapped: bool


def mounts(path: str = MOUNTINFO) -> tuple[Mount, ...]:
    """Every mount, the covered ones too; () where there is no /proc."""
    return tuple(_mount(line) for line in lines(read_text(path, _MOST)))


def _mount(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    fields = before.split(" ")
    return Mount(
        number=int(fields[0]),
        root=_plain(fields[3]),
        path=_plain(fields[4]),
        filesystem=after.split(" ", 1)[0],
        idmapped="idmapped" in fields[5].split(","),
    )


def _plain(field: str) -> str:
    r"""A path as it is: a space, a tab, a line feed and a backslash are written in octal, as \040."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def below(found: Sequence[Mount], folder: str) -> tuple[Mount, ...]:
    """The mounts that lie inside a folder, whatever it lies on itself."""
    start = folder.rstrip("/") + "/"
    return tuple(mount for mount in found if mount.path.startswith(start) and mount.path != start)


def own_cgroup(found: Sequence[Mount], path: str = "/proc/self/cgroup") -> tuple[str, str]:
    """Where cgroup v2 is mounted, and this process's own cgroup below that: ("", "") if nowhere.

    cgroups(7): a mount may show only a part of the hierarchy, and then helps only those inside that part. A
    cgroup outside of the cgroup namespace begins with `/..`, cgroup_namespaces(7).
    """
    own = next((line[3:] for line in lines(read_text(path)) if line.startswith("0::")), "")
    for mount in found if own else ():
        root = mount.root.rstrip("/")
        inside = own[len(root) :]
        if mount.filesystem == "cgroup2" and f"{own}/".startswith(f"{root}/") and ".." not in inside.split("/"):
            return mount.path, inside or "/"
    return "", ""
