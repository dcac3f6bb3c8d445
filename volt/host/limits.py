"""What `volt doctor` says of [resources]: the controllers, who makes the cgroups, what acts on I/O weights."""

from __future__ import annotations

from pathlib import Path

from volt.host.cgroups import schedulers
from volt.host.files import read_text
from volt.model.doctor import Check
from volt.model.facts import Facts

# The controllers that [resources] needs, Documentation/admin-guide/cgroup-v2.rst, with the fields of each.
FIELDS = {
    "memory": "memory_limit, memory_soft",
    "pids": "pids_max",
    "cpu": "cpu_weight",
    "cpuset": "cpu_set",
    "io": "io_weight",
}
V2 = "boot with systemd.unified_cgroup_hierarchy=1"


def limit_checks(machine: Facts) -> tuple[Check, ...]:
    """One line each; none where cgroup v2 is not there at all, which is said elsewhere."""
    if not machine.cgroup_root:
        return ()
    return (_controllers(machine), _driver(machine), _io_weight(machine))


def _controllers(machine: Facts) -> Check:
    name, needed = "cgroup controllers", "[resources]"
    control = machine.control
    missing = [one for one in FIELDS if one not in control.top.controllers]
    if not missing:
        return Check(name, "ok", needed, ", ".join(FIELDS))
    found = "; ".join(
        f"{one} ({FIELDS[one]}) " + ("is bound to cgroup v1" if one in control.legacy else "is not in this kernel")
        for one in missing
    )
    return Check(name, "degraded", needed, found, V2 if control.legacy else "boot a kernel that has them")


def _driver(machine: Facts) -> Check:
    """Who makes the cgroup of a run with limits."""
    name, needed, control = "cgroup driver", "[resources]", machine.control
    if control.manager is not None:
        if control.bus:
            return Check(name, "ok", needed, f"systemd: a scope in volt.slice, over {control.bus}")
        return Check(name, "degraded", needed, "systemd is PID 1, without its bus", "apt install dbus")
    where = f"{machine.cgroup_root}{control.top.path.rstrip('/')}"
    if control.top.free:
        return Check(name, "ok", needed, f"cgroupfs: {where}/volt")
    return Check(name, "degraded", needed, f"{where} holds processes", "move them to a cgroup below it")


def _io_weight(machine: Facts) -> Check:
    """Only a cost model that is switched on, or the scheduler BFQ at work, acts on a weight."""
    name, needed, file = "I/O weights", "resources.io_weight", machine.control.io_weight
    if not file:
        return Check(name, "degraded", needed, "nothing here would act on them", "modprobe bfq")
    model = read_text(f"{machine.cgroup_root}/io.cost.qos")
    if file == "io.weight" and "enable=1" in model:
        return Check(name, "ok", needed, "io.weight, by the cost model")
    weighed = [Path(path).parts[-3] for path in schedulers() if "[bfq]" in read_text(path)]
    if weighed:
        return Check(name, "ok", needed, f"{file}, on {', '.join(weighed)}")
    mend = "echo bfq > /sys/block/DISK/queue/scheduler for each disk that counts"
    return Check(name, "degraded", needed, f"{file} is there, and no disk's scheduler acts on it", mend)
