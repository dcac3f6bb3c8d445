"""The mounts that a plan promises: the root, what the manifest mounts, what is masked or read-only."""

from __future__ import annotations

from collections.abc import Iterator

from volt.model.audit import Mounted, Point, Seen
from volt.model.plan import LaunchPlan
from volt.model.steps import Attach, AttachInside, MakeFilesystem, Mask, ProtectPath, SetMount
from volt.model.text import Text

ROOT = "/run/root"
ABSENT = "nothing is there"


def paths_of_mounts(plan: LaunchPlan) -> tuple[str, ...]:
    """Every path inside that a point is about."""
    return tuple(plain(step.path) for step in plan.init if isinstance(step, AttachInside | Mask | ProtectPath))


def mount_points(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    """A point for the root and for each step of the init that mounts."""
    yield from _root(plan, seen)
    for step in plan.init:
        match step:
            case AttachInside():
                yield _mount(plain(step.path), _attributes(plan, step.mount), seen)
            case Mask():
                yield _mask(plain(step.path), seen)
            case ProtectPath():
                yield _protected(plain(step.path), seen)


def plain(path: Text) -> str:
    """A path inside has no slots."""
    return "".join(map(str, path))


def visible(mounts: tuple[Mounted, ...], path: str) -> Mounted | None:
    """The mount that `path` lies on, as a look-up finds it: the upper one of several on one another."""
    known = {mount.id for mount in mounts}
    below = {(mount.parent, mount.path): mount for mount in mounts}
    at = next((mount for mount in mounts if mount.path == "/" and mount.parent not in known), None)
    names = [name for name in path.split("/") if name]
    for length in range(len(names) + 1):
        prefix = "/" + "/".join(names[:length])
        while at and (upper := below.get((at.id, prefix))):
            at = upper
    return at


def _on(path: str, seen: Seen) -> Mounted | None:
    """What is mounted right there."""
    place = seen.places.get(path, path)
    found = visible(seen.mounts, place)
    return found if found and found.path == place else None


def _attributes(plan: LaunchPlan, mount: str) -> tuple[str, ...]:
    """What a mount was given on its way, in whichever section."""
    found: list[str] = []
    for step in (*plan.host, *plan.guard, *plan.init):
        made = isinstance(step, MakeFilesystem) and step.to == mount
        if made or (isinstance(step, SetMount) and step.mount == mount):
            found += step.attrs  # type: ignore[attr-defined]
    return tuple(sorted(set(found)))


def _root(plan: LaunchPlan, seen: Seen) -> Iterator[Point]:
    attached = next((step for step in plan.guard if isinstance(step, Attach) and plain(step.path) == ROOT), None)
    if attached is None:
        return
    attrs = _attributes(plan, attached.mount)
    found = visible(seen.mounts, "/")
    planned = f"overlay {_shown(attrs)}"
    holds = found is not None and found.type == "overlay" and {*attrs} <= found.options
    yield Point("root", planned, _found(found, attrs), holds)


def _shown(attrs: tuple[str, ...]) -> str:
    return ",".join(attrs) if "ro" in attrs else ",".join(("rw", *attrs))


def _found(mount: Mounted | None, attrs: tuple[str, ...]) -> str:
    """As `_shown`, of what is there; what the plan does not ask for is left out."""
    if mount is None:
        return "no mount"
    return f"{mount.type} {_shown(tuple(attr for attr in attrs if attr in mount.options))}"


def _mount(path: str, attrs: tuple[str, ...], seen: Seen) -> Point:
    found = _on(path, seen)
    holds = found is not None and {*attrs} <= found.options
    shown = _found(found, attrs).partition(" ")[2] if found else "no mount"
    return Point(f"mount {path}", _shown(attrs), shown, holds)


def _mask(path: str, seen: Seen) -> Point:
    """A file has /dev/null over it, a folder an empty tmpfs."""
    if not seen.places.get(path):
        return Point(f"mask {path}", "covered", ABSENT, holds=True)
    found = _on(path, seen)
    null = found is not None and found.root == "/null"
    empty = found is not None and found.type == "tmpfs" and found.root == "/" and "ro" in found.options
    return Point(f"mask {path}", "covered", "covered" if null or empty else "open to be read", null or empty)


def _protected(path: str, seen: Seen) -> Point:
    if not seen.places.get(path):
        return Point(f"read-only {path}", "ro", ABSENT, holds=True)
    found = _on(path, seen)
    below = [mount.path for mount in _below(path, seen) if "ro" not in mount.options]
    holds = found is not None and "ro" in found.options and not below
    shown = f"rw: {', '.join(sorted(set(below)))}" if below else "ro" if holds else "rw"
    return Point(f"read-only {path}", "ro", shown, holds)


def _below(path: str, seen: Seen) -> Iterator[Mounted]:
    """What can be seen mounted below it."""
    for mount in seen.mounts:
        if mount.path.startswith(f"{path}/") and visible(seen.mounts, mount.path) == mount:
            yield mount
