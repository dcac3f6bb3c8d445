"""Limits of a run, as they are written to its cgroup."""

from __future__ import annotations

from volt.model.values import Value

# systemd-nspawn and the init are tasks of the same cgroup: what the workload may have comes on top.
OWN_TASKS = 2
# pids.max takes no more: PID_MAX_LIMIT of linux/threads.h, on 64 bits.
MOST_TASKS = 4194304


class Change(Value):
    """One value for one file of the run's cgroup, which its controller has to give it. With a `unit_property` the
    file is systemd's to write: it gets the property, a weight."""

    key: str
    controller: str
    file: str
    value: str
    unit_property: str = ""
    weight: int = 0
