"""The processes of a run, each as the host and as the workload sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.model.modes import Mode
from volt.model.usage import RunProcess, RunProcesses, Source
from volt.runs.cgroup import check_path
from volt.runs.processes import GONE, namespaced, status_of, tree_of
from volt.runs.table import read_stat

if TYPE_CHECKING:
    from volt.runs.record import Record

IDS = 65536  # of a workload
MOST = 4096  # bytes of a command that are read


def processes_of(record: Record) -> RunProcesses:
    """Those of its cgroup that are not volt's, or where it has none that can be read, those that its init and its
    children have started; the payload first, which of a booted image is its init. Raises StateError where it has not
    started, or has ended."""
    check_path(record.cgroup, record.id)
    tree = tree_of(record)
    source: Source = "cgroup"
    members = _members(Path(record.cgroup))
    if tree.inside[0] not in members:
        members, source = set(tree.inside), "processes"
    levels = len(namespaced(tree.init))
    # Root inside of a booted image may take the number that volt's own process had there: what has it is shown.
    hidden = {tree.supervisor} if record.mode == Mode.HYBRID_NATIVE else {tree.supervisor, tree.init}
    own = (_process(pid, record, levels) for pid in sorted(members - hidden))
    found = sorted((one for one in own if one), key=lambda one: (one.pid != tree.inside[0], one.pid))
    if not found:
        raise StateError(f"{record.name} has ended meanwhile")
    return RunProcesses(record.id, record.name, source, tuple(found))


def _members(cgroup: Path) -> set[int]:
    """The processes in it and below, cgroups(7)."""
    return {pid for file in (cgroup / "cgroup.procs", *cgroup.rglob("cgroup.procs")) for pid in _numbers(file)}


def _numbers(file: Path) -> Iterator[int]:
    try:
        yield from map(int, file.read_text().split())
    except OSError:
        return


def _process(pid: int, record: Record, levels: int) -> RunProcess | None:
    """None for one that is gone, or is none of the workload's: systemd-nspawn lies in its cgroup too."""
    status, stat = status_of(pid), read_stat(pid)
    numbers = status.get("NSpid", "").split()
    if stat is None or len(numbers) < levels:
        return None
    user = int(status["Uid"].split()[1]) - record.uids
    return RunProcess(
        pid=pid,
        inside=int(numbers[levels - 1]),
        user=user if 0 <= user < IDS else None,
        cpu=stat.cpu,
        memory=stat.memory,
        threads=stat.threads,
        state=stat.state,
        command=_command(pid, status.get("Name", "")),
    )


def _command(pid: int, name: str) -> tuple[str, ...]:
    """Its words as it has them now, which are whatever it wrote there; its name in brackets where it has none."""
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:
            words = file.read(MOST)
    except GONE:
        words = b""
    if not words:
        return (f"[{name}]",)
    return tuple(word.decode(errors="backslashreplace") for word in words.rstrip(b"\0").split(b"\0"))
