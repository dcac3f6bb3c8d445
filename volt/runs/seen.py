"""Reading a run from outside: what /proc and its cgroup say of it."""

# What a link of /proc says may be no path.
# ruff: noqa: PTH115

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from volt.errors import StateError
from volt.model.audit import NAMESPACES, SETS, Mounted, Opened, Process, Seen
from volt.model.steps import LIMITS, NO_LIMIT
from volt.runs.network import firewall
from volt.runs.processes import GONE, Tree, descriptors, status_of

LINKS = 40  # as many as the kernel follows, path_resolution(7)
SOFT, HARD = slice(26, 46), slice(47, 67)  # columns of /proc/PID/limits, whose names hold spaces


def look(tree: Tree, paths: Iterable[str], controls: Iterable[str], *, nftables: bool) -> Seen:
    """All that is asked of a run: the mounts at `paths` inside, the files `controls` of its cgroup, the rules of its
    network namespace.

    Raises StateError when it ends meanwhile, or the caller may not look.
    """
    try:
        return Seen(
            host=_namespaces(tree.supervisor),
            standard={each.number: each.file for each in _descriptors(tree.supervisor) if each.number <= 2},
            init=_process(tree.keeper),
            inside=tuple(_processes(tree)),
            mounts=_mounts(tree.init),
            places={path: _place(f"/proc/{tree.init}/root", path) for path in paths},
            controls={path: _read(path) for path in controls},
            firewall=firewall(tree.init) if nftables else (),
            page=os.sysconf("SC_PAGESIZE"),
        )
    except GONE as error:
        raise StateError("the workload has ended meanwhile") from error
    except PermissionError as error:
        raise StateError(f"{error.filename} cannot be read", hint="run it with sudo") from error


def _processes(tree: Tree) -> Iterable[Process]:
    """One that ends while it is looked at is no loss; the payload is."""
    for pid in tree.inside:
        try:
            yield _process(pid)
        except GONE:
            if pid == tree.inside[0]:
                raise


def _process(pid: int) -> Process:
    status = status_of(pid)
    if not status or status["State"].startswith("Z"):
        raise ProcessLookupError(pid)
    own = f"/proc/{pid}"
    return Process(
        pid=pid,
        inside=int(status["NSpid"].split()[-1]),
        name=status["Name"],
        uids=_numbers(status["Uid"]),
        gids=_numbers(status["Gid"]),
        groups=_numbers(status["Groups"]),
        capabilities={key: int(status[key], 16) for key in SETS},
        no_new_privs=status["NoNewPrivs"] == "1",
        seccomp=int(status["Seccomp"]),
        filters=int(status["Seccomp_filters"]),
        namespaces=_namespaces(pid),
        uid_map=_numbers(Path(own, "uid_map").read_text()),
        gid_map=_numbers(Path(own, "gid_map").read_text()),
        cgroup=Path(own, "cgroup").read_text().rpartition("0::")[2].strip(),
        limits=_limits(pid),
        descriptors=tuple(_descriptors(pid)),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


def _namespaces(pid: int) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES}


def _limits(pid: int) -> dict[str, tuple[int, int]]:
    """proc_pid_limits(5), in the order of the numbers of getrlimit(2)."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {name: (_limit(line[SOFT]), _limit(line[HARD])) for name, line in zip(LIMITS, lines, strict=True)}


def _limit(word: str) -> int:
    return NO_LIMIT if word.strip() == "unlimited" else int(word)


def _descriptors(pid: int) -> Iterable[Opened]:
    for number, target in descriptors(pid):
        try:
            info = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
        except GONE:  # closed meanwhile
            continue
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
        mount = int(fields.get("mnt_id", -1))
        yield Opened(number, target, mount, (mount, int(fields.get("ino", -1))))


def _mounts(pid: int) -> tuple[Mounted, ...]:
    lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines()
    return tuple(_mounted(line) for line in lines)


def _mounted(line: str) -> Mounted:
    before, _, after = line.partition(" - ")
    number, parent, _, root, path, options = before.split(" ")[:6]
    kind, _, own = after.split(" ", 2)
    both = frozenset((*options.split(","), *own.split(",")))
    # A file system that is read-only as a whole says so; one that is not, says rw for each of its mounts.
    flags = both - {"rw"} if "ro" in both else both
    return Mounted(int(number), int(parent), _plain(root), _plain(path), flags, kind)


def _plain(path: str) -> str:
    """Without the octal escapes of space, tab, newline and backslash."""
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(written, meant)
    return path


def _place(root: str, path: str) -> str:
    """Where `path` lies when the links of the workload's own root are followed inside; "" where nothing is.

    A payload that swaps links meanwhile gets a wrong place, which is no mount of the plan's.
    """
    waiting, place, followed = path.split("/"), "", 0
    while waiting:
        name = waiting.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            place = place.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{root}{place}/{name}")
        except OSError:
            place += f"/{name}"
            continue
        followed += 1
        if followed > LINKS:
            return ""
        waiting = [*target.split("/"), *waiting]
        place = "" if target.startswith("/") else place
    return (place or "/") if os.path.lexists(f"{root}{place}") else ""


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except FileNotFoundError:
        return None
