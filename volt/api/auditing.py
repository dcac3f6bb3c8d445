"""A running workload compared with the plan that it was started with."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from volt.errors import StateError

if TYPE_CHECKING:
    from volt.model.audit import Audit, Point
    from volt.model.folders import Folders
    from volt.model.plan import LaunchPlan
    from volt.runs.processes import Tree
    from volt.runs.record import Record

SETTLED = 0.3  # seconds


def audit(workload: str | int) -> Audit:
    """Compare a running workload with the plan that it was started with, point by point: by its name, or by the number
    of any of its processes.

    Raises StateError when no such workload runs, or its plan cannot be read or tried, HostUnfit without root.
    """
    from volt.host.facts import folders
    from volt.model.decode import decode
    from volt.runs.kept import kept_plan

    where = folders()
    record = found(where, workload)
    return compared(record, decode(kept_plan(record, where.state), record.name, record.mode))


def compared(record: Record, plan: LaunchPlan) -> Audit:
    """A run compared with a plan."""
    from volt.model.audit import Audit
    from volt.plan.audit import paths_of_controls, points
    from volt.plan.audit_mounts import paths_of_mounts
    from volt.plan.audit_network import firewall_planned
    from volt.runs.processes import tree_of
    from volt.runs.seen import look

    def look_again() -> Audit:
        tree = tree_of(record)
        if not tree.keeper:
            raise StateError(f"nothing in {record.name} takes sessions any more, in which its walls are tried")
        paths, controls = paths_of_mounts(plan), paths_of_controls(plan, record.id)
        seen = look(tree, paths, controls, nftables=firewall_planned(plan))
        outside = points(plan, record.id, record.uids, seen)
        return Audit(record.name, record.id, (*outside, *_published(record, plan), *_tried(record, plan, tree)))

    found = look_again()
    if not found.holds:  # the payload runs a moment before the init has let go of what it needed
        time.sleep(SETTLED)
        found = look_again()
    return found


def _published(record: Record, plan: LaunchPlan) -> tuple[Point, ...]:
    """What leads to it, in the network namespace of its supervisor."""
    if not record.ports:
        return ()
    from volt.plan.audit_ports import listings, port_points
    from volt.runs.netlink import mapped
    from volt.runs.network import in_network, namespace

    def there() -> dict[bytes, bytes]:
        return {key: value for listing in listings() for key, value in mapped(listing).items()}

    found = in_network(namespace(record.pid), there)
    return tuple(port_points(plan, record.ports, (record.address, record.address6), found))


def _tried(record: Record, plan: LaunchPlan, tree: Tree) -> tuple[Point, ...]:
    """The points that show from inside."""
    from volt.plan.audit import first_user
    from volt.plan.audit_inside import attempts, inside_points, scopes_of
    from volt.runs.beside import beside
    from volt.runs.session import tried

    with beside(tree.init, record.uids + first_user(plan), scopes_of(plan)) as outside:
        wanted = attempts(plan, os.uname().machine, outside)
        return tuple(inside_points(plan, wanted, tried(record, wanted)))


def found(folders: Folders, workload: str | int) -> Record:
    """The record of a workload that runs, by what names it or by the number of one of its processes. Raises
    StateError, HostUnfit."""
    from volt.api.looking import require_root, running
    from volt.runs.states import is_id, named_run

    require_root()
    word = str(workload)
    if word.isdecimal() and not is_id(word) and not named_run(folders, word):
        return _of_process(folders, int(word))
    return running(folders, word)


def _of_process(folders: Folders, pid: int) -> Record:
    from volt.api.looking import living
    from volt.runs.processes import belongs

    if not os.path.lexists(f"/proc/{pid}"):
        raise StateError(f"no process has the number {pid}, and no workload is called so")
    for record in living(folders):
        if belongs(pid, record):
            return record
    raise StateError(f"process {pid} belongs to no workload of volt", hint="name the workload, or one of its processes")
