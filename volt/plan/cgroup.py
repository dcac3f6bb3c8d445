"""The run's own cgroup: where it lies, what is made before it, and the limits that are written to it."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.steps import JoinCgroup, MakeFolder, SetControl, StartScope, Step, WatchLimits
from volt.model.text import RUN, Text, text
from volt.model.values import Value
from volt.model.workload import Workload
from volt.plan.limits import UNIT_PROPERTIES, Home, enforced, home, limits, needs, unit_properties

ENABLE = "cgroup.subtree_control"


class Place(Value):
    """The run's own cgroup: `path` below the root of the mount; `before` makes what it lies in, `after` limits it.
    `unit` is its scope, or the unit that owns it, () without."""

    path: Text
    unit: Text = ()
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()

    def absolute(self, facts: Facts) -> Text:
        return (facts.cgroup_root, *self.path)


def place(workload: Workload, facts: Facts, waived: tuple[str, ...]) -> Place:
    """Where the run's cgroup goes, with every limit that is asked for and not waived."""
    keys = enforced(workload.resources, facts, waived)
    where = home(facts, needs(keys))
    written = tuple(key for key in keys if not ((where.scope or where.unit) and key in UNIT_PROPERTIES))
    unit: Text = ()
    above: Text = text(where.path.rstrip("/"))
    if where.unit:
        unit = text(facts.control.unit)
        before = _leaf(facts, above, needs(written))
        before = before if facts.control.own.path == where.path else before[1:]  # a leaf that systemd has made
    elif where.scope:
        unit = text("volt-", RUN, ".scope")
        above = (f"{where.path}/", *unit)
        before = (_scope(workload, facts, keys, unit), *_leaf(facts, above, needs(written)))
    else:
        before = _folder(facts, where, needs(written))
    path = (*above, "/volt-", RUN)
    after = _limits(workload, facts, (facts.cgroup_root, *path), written)
    if after or unit:  # in a unit limits can come later: volt update
        after += (WatchLimits(path=(facts.cgroup_root, *path)),)
    return Place(path, unit, before, after)


def _scope(workload: Workload, facts: Facts, keys: tuple[str, ...], unit: Text) -> StartScope:
    """A scope of the run's own, since in the caller's unit nothing may be made that systemd has not delegated."""
    from volt.plan.bus import scope_request

    properties = unit_properties(workload.resources, keys)
    made = scope_request(f"volt workload {workload.name}", properties)
    weights = (f"{name}={value}" for name, value in properties.items() if name in UNIT_PROPERTIES.values())
    return StartScope(
        bus=text(facts.control.bus),
        unit=unit,
        request=made.data,
        run_at=made.run_at,
        pid_at=made.pid_at,
        note=" ".join(("Slice=volt.slice Delegate=yes", *weights)),
    )


def _leaf(facts: Facts, scope: Text, controllers: frozenset[str]) -> tuple[Step, ...]:
    """The supervisor out of the way, and the scope's controllers for its children."""
    if not controllers:
        return ()
    return (
        JoinCgroup(path=(facts.cgroup_root, *scope, "/supervisor"), note="a leaf for the supervisor"),
        _enable((facts.cgroup_root, *scope), controllers),
    )


def _folder(facts: Facts, where: Home, controllers: frozenset[str]) -> tuple[Step, ...]:
    """Controllers for what is made in a cgroup that is there, or in volt's own at the top."""
    missing = controllers - set(where.enabled)
    if not where.fresh:
        return (_enable(text(facts.cgroup_root, where.path.rstrip("/")), missing),) if missing else ()
    top = text(facts.cgroup_root, where.path.rpartition("/")[0])
    folder = text(facts.cgroup_root, where.path)
    return (
        *((_enable(top, missing),) if missing else ()),
        MakeFolder(path=folder, keep=True, shared=True, note="every run's with limits"),
        _enable(folder, controllers),
    )


def _enable(folder: Text, controllers: frozenset[str]) -> SetControl:
    return SetControl(path=(*folder, f"/{ENABLE}"), value=text(" ".join(f"+{name}" for name in sorted(controllers))))


def _limits(workload: Workload, facts: Facts, path: Text, keys: tuple[str, ...]) -> tuple[Step, ...]:
    found = limits(workload.resources, facts, keys)
    steps = (
        SetControl(path=(*path, f"/{one.file}"), value=text(one.value), note=f"resources.{one.key}") for one in found
    )
    return tuple(steps)
