"""What lies at a path of the host: looked at through a descriptor, links followed, nothing read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from volt.host.files import read_text
from volt.host.idmap import idmappable
from volt.host.mounts import Mount, below
from volt.host.syscalls import open_path
from volt.model.facts import PathFact, PathKind

KINDS: dict[int, PathKind] = {
    stat.S_IFDIR: "folder",
    stat.S_IFREG: "file",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
UNKNOWN = "an unknown file system"


def path_fact(path: str, found: Sequence[Mount], kernel: tuple[int, int], *, recursive: bool = False) -> PathFact:
    """The fact of one absolute path. With `recursive`, what is mounted below a folder counts too: it is
    idmapped together with the folder, or not at all, and then `filesystem` names it."""
    try:
        descriptor = open_path(path)
    except (FileNotFoundError, NotADirectoryError):
        return PathFact("missing")
    except (OSError, ValueError) as error:
        return PathFact("unreadable", problem=_problem(error))
    try:
        return _fact(descriptor, found, kernel, recursive)
    finally:
        os.close(descriptor)


def _problem(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "is no path: it contains a NUL byte"
    if error.errno == errno.ELOOP:
        return "cannot be opened: it leads through too many links, or through one of /proc"
    return f"cannot be opened: {error.strerror}"


def _fact(descriptor: int, found: Sequence[Mount], kernel: tuple[int, int], recursive: bool) -> PathFact:
    status = os.fstat(descriptor)
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    real = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    mount = _mount_of(descriptor, found)
    filesystem = mount.filesystem if mount else UNKNOWN
    problem = _not_idmappable(mount, kernel)
    if recursive and kind == "folder" and not problem:
        inner = below(found, real)
        problem = next(filter(None, (_not_idmappable(one, kernel) for one in inner)), "")
        filesystem += problem and f", with {problem}"
    return PathFact(
        kind,
        status.st_dev,
        status.st_ino,
        status.st_uid,
        status.st_gid,
        filesystem=problem if mount and mount.idmapped else filesystem,
        idmappable=not problem,
        real=real,
    )


def _not_idmappable(mount: Mount | None, kernel: tuple[int, int]) -> str:
    """The mount, as it stands in a message; "" when it can be idmapped."""
    if mount is None:
        return UNKNOWN
    if mount.idmapped:  # mount_setattr(2): once is enough
        return f"an idmapped mount of {mount.filesystem} at {mount.path}"
    return "" if idmappable(mount.filesystem, kernel) else f"{mount.filesystem} mounted at {mount.path}"


def _mount_of(descriptor: int, found: Sequence[Mount]) -> Mount | None:
    """The mount that a descriptor lies on. Not by device number: btrfs has one for each subvolume."""
    for line in read_text(f"/proc/self/fdinfo/{descriptor}").splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return next((mount for mount in found if mount.number == int(value)), None)
    return None
