"""What a run's processes are, and what they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from volt.model.values import Value, field

# Where a number is from: counted by the kernel for the run's cgroup, or added up over its processes.
Source = Literal["cgroup", "processes"]


class RunProcess(Value):
    """One process of a workload. `pid` as the host counts, `inside` as the workload does; `user` is the workload's
    number, None for one that it does not have. `cpu` is the time it took so far in milliseconds, `memory` what is
    resident in bytes, pages that it shares too; `state` a letter of proc_pid_stat(5)."""

    pid: int
    inside: int
    user: int | None
    cpu: int
    memory: int
    threads: int
    state: str
    command: tuple[str, ...]


class RunProcesses(Value):
    """The processes of the run `id`, the payload first; `source` says how they were found."""

    id: str
    name: str
    source: Source
    processes: tuple[RunProcess, ...]


class Usage(Value):
    """What a run uses. `cpu` is the processor time so far in milliseconds, `cpu_percent` what it took of one core
    since the look before, None at the first. `memory` in bytes, `pids` processes and threads, each with its limit,
    None without; `read` and `written` are bytes from and to disks. None is what nobody counts here; `sources` says of
    the others where they are from: from processes, `memory` counts shared pages once for each, and `read` and
    `written` leave out processes that have ended."""

    id: str
    name: str
    cpu: int | None = None
    cpu_percent: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    read: int | None = None
    written: int | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
