"""The workload's files as a plan makes them: what is mounted where, and which rights rules give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from volt.model.explanation import FILE_RIGHTS, LANDLOCK, MOUNTS
from volt.model.part import FILES, LAYER, SKELETON
from volt.model.plan import LaunchPlan
from volt.model.steps import (
    MAKE_FOLDER,
    AllowBeneath,
    AttachInside,
    CloneMount,
    Execute,
    MakeFilesystem,
    MakeLink,
    MakeRuleset,
    Mask,
    MountLoop,
    Open,
    ProtectPath,
    RestrictSelf,
    SetMount,
    Step,
)
from volt.model.values import Value
from volt.plan.explain_words import plain

ROOT = "merged"
ALL = tuple(FILE_RIGHTS)
# What a single file can have.
OF_FILES = ("read", "write", "truncate", "execute")
# What there can be where the kernel alone makes files.
OF_KERNEL = ("read", "list", "write", "execute")
# What changes files, and so takes a writable mount.
CHANGES = ("write", "truncate", "make", "remove")
TMPFS_OFF = "SYSTEMD_NSPAWN_TMPFS_TMP=0"

MEMORY = "memory that is gone with the run"


class Place(Value):
    """One mount inside. `what` says what lies there, `host` is the path on the host that it shows ("" for none),
    `rights` are those of FILE_RIGHTS that there can be at all."""

    path: str
    writable: bool
    runs: bool
    what: str
    host: str = ""
    rights: tuple[str, ...] = ALL


# What systemd-nspawn mounts in every container, systemd-nspawn(1): /dev of its own, the kernel's views of what belongs
# to the workload's namespaces. The cgroup that /sys shows stays the host's root's.
NSPAWN = (
    Place(
        "/dev",
        writable=True,
        runs=True,
        what="the few devices that every workload has",
        rights=tuple(one for one in ALL if one != "truncate"),
    ),
    Place("/dev/mqueue", writable=True, runs=False, what=MEMORY),
    Place("/dev/pts", writable=True, runs=False, what="its terminals", rights=OF_KERNEL),
    Place("/proc", writable=True, runs=False, what="its processes", rights=OF_KERNEL),
    Place("/run", writable=True, runs=True, what=MEMORY),
    Place("/run/host", writable=False, runs=False, what="systemd-nspawn's own"),
    Place("/sys", writable=False, runs=False, what="the kernel's devices"),
)
TMP = Place("/tmp", writable=True, runs=True, what=MEMORY)


class View(Value):
    """All places of a workload, the rights that Landlock withholds (its names), and what its rules give beneath a
    path; `hidden` is covered by something empty."""

    places: tuple[Place, ...]
    withheld: tuple[str, ...]
    rules: tuple[tuple[str, tuple[str, ...]], ...]
    hidden: tuple[str, ...]

    def place(self, path: str) -> Place:
        """The mount that a path lies on: of two at one path the later."""
        return max((one for one in self.places if within(path, one.path)), key=lambda one: len(one.path))

    def nodes(self) -> tuple[str, ...]:
        """Every path at which something changes, those above before those below."""
        found = {one.path for one in self.places} | {path for path, _ in self.rules}
        return tuple(sorted(found, key=lambda path: (path != "/", path)))

    def rights(self, path: str, among: tuple[str, ...]) -> tuple[str, ...]:
        """Those that there can be at a path: fewer where it is a single file."""
        return tuple(one for one in among if one in self.place(path).rights)

    def refusing(self, path: str, right: str) -> tuple[str, ...]:
        """The walls that refuse one of FILE_RIGHTS at a path: none, and it is to be had."""
        place, name = self.place(path), FILE_RIGHTS[right]
        given = (name in access for above, access in self.rules if within(path, above))
        landlock = name in self.withheld and not any(given)
        mount = (right in CHANGES and not place.writable) or (right == "execute" and not place.runs)
        return (LANDLOCK,) * landlock + (MOUNTS,) * mount


def within(path: str, above: str) -> bool:
    """Whether a path is `above`, or lies beneath it."""
    return above in (path, "/") or path.startswith(f"{above}/")


def view(plan: LaunchPlan) -> View:
    """What the plan's steps come to."""
    steps = tuple(plan.steps())
    attached = tuple(_attached(steps))
    own = {one.path: one for one in (*_nspawn(plan), *attached)}
    links = _links(steps)
    return View(
        places=(_root(steps), *own.values()),
        withheld=tuple(right for one in entered(plan) for right in one.files),
        rules=tuple((_through(links, plain(one.path)), one.access) for one in steps if isinstance(one, AllowBeneath)),
        hidden=tuple(plain(one.path) for one in steps if isinstance(one, Mask)),
    )


def entered(plan: LaunchPlan) -> tuple[MakeRuleset, ...]:
    """The rulesets of Landlock that hold for the payload."""
    names = {one.ruleset for one in plan.init if isinstance(one, RestrictSelf)}
    return tuple(one for one in plan.init if isinstance(one, MakeRuleset) and one.to in names)


def sources(steps: tuple[Step, ...]) -> Mapping[str, str]:
    """The path on the host of each detached mount that has one, by the mount's name."""
    opened = {one.to: plain(one.path) for one in steps if isinstance(one, Open)}
    return {one.to: opened[one.source] for one in steps if isinstance(one, CloneMount) and one.source in opened}


def _nspawn(plan: LaunchPlan) -> Iterator[Place]:
    for step in plan.guard:
        if isinstance(step, Execute):
            yield from NSPAWN
            if TMPFS_OFF not in map(plain, step.env):
                yield TMP
    for step in plan.init:
        if isinstance(step, ProtectPath):
            what = "settings of the kernel"
            yield Place(plain(step.path), writable=False, runs=False, what=what, rights=OF_KERNEL)


def _root(steps: tuple[Step, ...]) -> Place:
    (overlay,) = (one for one in steps if isinstance(one, MakeFilesystem) and one.to == ROOT)
    layer = sources(steps).get("layer")
    if not any(plain(option) == f"upperdir={LAYER}/upper" for option in overlay.options):
        what = ""
    elif layer:
        what = f"a layer that is kept in {layer} for the next run"
    else:
        what = MEMORY
    return Place("/", writable="ro" not in overlay.attrs and bool(what), runs=True, what=what)


def _attached(steps: tuple[Step, ...]) -> Iterator[Place]:
    """What the init attaches, with the attributes that each mount was given."""
    attributes = {one.mount: one.attrs for one in steps if isinstance(one, SetMount)}
    made = {one.to: one.attrs for one in steps if isinstance(one, MakeFilesystem)}
    found = sources(steps)
    for step in steps:
        if isinstance(step, AttachInside):
            attrs = attributes.get(step.mount, made.get(step.mount, ()))
            source = found.get(step.mount, "")
            generated = step.mount in made or source.startswith(f"{FILES}/")
            host = "" if generated else source
            what = f"the host's {host}" if host else "made for this run" if source else MEMORY
            rights = ALL if step.kind == MAKE_FOLDER else OF_FILES
            yield Place(plain(step.path), "ro" not in attrs, "noexec" not in attrs, what, host, rights)


def _links(steps: tuple[Step, ...]) -> Mapping[str, str]:
    """The links of a fresh root; of a folder's own nothing is known here."""
    if any(isinstance(one, (CloneMount, MakeFilesystem, MountLoop)) and one.to == "lower" for one in steps):
        return {}
    made = {plain(one.path).removeprefix(SKELETON): plain(one.target) for one in steps if isinstance(one, MakeLink)}
    return {path: target if target.startswith("/") else f"/{target}" for path, target in made.items()}


def _through(links: Mapping[str, str], path: str) -> str:
    return links.get(path, path)
