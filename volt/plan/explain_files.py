"""What a workload may read, write and execute, in sentences: what holds of all its files, then the exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from volt.model.explanation import MOUNTS, HiddenClaim, PathClaim, Section, Statement
from volt.model.values import Value
from volt.plan.explain_places import View, within
from volt.plan.explain_words import joined, paths

READ = ("read", "list")
WRITE = ("write", "truncate", "make", "remove")
EXECUTE = ("execute",)

# Whole sets of rights in words; of any other set the words are put together.
PHRASES = {
    READ: "read",
    WRITE: "write, make and remove files in",
    EXECUTE: "execute",
    ("read",): "read",
    ("write", "truncate"): "write to",
    ("write", "make", "remove"): "write, make and remove files in",
    ("write",): "write to what is in",
}
_DONE = {READ: "read", WRITE: "changed", EXECUTE: "executed"}
VERBS = {
    "read": "read files in",
    "list": "list folders in",
    "write": "write to",
    "truncate": "cut short",
    "make": "make",
    "remove": "remove",
    "execute": "execute",
}


class Found(Value):
    """What holds at a path: of `rights`, those that are to be had, and the walls that refuse the others."""

    path: str
    rights: tuple[str, ...]
    allowed: tuple[str, ...]
    walls: tuple[str, ...]
    what: str = ""

    def claim(self) -> PathClaim:
        return PathClaim(self.path, self.allowed, tuple(one for one in self.rights if one not in self.allowed))


def file_sections(view: View) -> tuple[Section, ...]:
    """Read, write, execute."""
    return (
        Section("read", "Files that it may read", (*_statements(view, READ), *_hidden(view))),
        Section("write", "Files that it may write", tuple(_statements(view, WRITE))),
        Section("execute", "Programs that it may execute", (*_statements(view, EXECUTE), _own_programs(view))),
    )


def changes(view: View, rights: tuple[str, ...]) -> tuple[Found, ...]:
    """The root, and every path where something else holds than at the path above it."""
    found: list[Found] = []
    for path in view.nodes():
        own = view.rights(path, rights)
        walls = {right: view.refusing(path, right) for right in own}
        refusing = tuple(dict.fromkeys(wall for one in walls.values() for wall in one))
        allowed = tuple(right for right in own if not walls[right])
        above = max((one for one in found if within(path, one.path)), key=lambda one: len(one.path), default=None)
        what = view.place(path).what if allowed and rights == WRITE else ""  # where it goes is part of what it is
        if above is None or tuple(right for right in above.allowed if right in own) != allowed or above.what != what:
            found.append(Found(path, own, allowed, refusing, what))
    return tuple(found)


def _statements(view: View, rights: tuple[str, ...]) -> Iterator[Statement]:
    """What holds at the root, then what more and what less is to be had beneath, alike things together."""
    root, *others = changes(view, rights)
    groups: dict[tuple[object, ...], list[Found]] = {}
    for one in others:
        groups.setdefault((one.rights, one.allowed, one.walls, one.what), []).append(one)
    if root.allowed:
        yield _whole(root)
    for members in sorted(groups.values(), key=lambda members: -len(members[0].allowed)):
        yield _some(members, rights)
    if not root.allowed:
        verb = {READ: "reads", WRITE: "writes", EXECUTE: "executes"}[rights]
        yield Statement(f"Elsewhere it {verb} nothing.", root.walls, (root.claim(),))


def _phrase(one: Found) -> str:
    """`write to and remove, but not cut short or make, files in`."""
    if one.allowed == one.rights:
        return PHRASES[one.rights]
    can = joined([VERBS[right] for right in one.allowed])
    cannot = joined([VERBS[right] for right in one.rights if right not in one.allowed], "or")
    return f"{can}, but not {cannot}," + (" files in" if "write" in one.rights else "")


def _whole(root: Found) -> Statement:
    what = f": {root.what}" if root.what else ""
    all_ = "any program in" if root.rights == EXECUTE else "all of"
    return Statement(f"It may {_phrase(root)} {all_} its root{what}.", root.walls, (root.claim(),))


def _some(members: Sequence[Found], rights: tuple[str, ...]) -> Statement:
    first, where = members[0], paths(one.path for one in members)
    if first.allowed:
        what = f": {first.what}" if first.what else ""
        text = f"It may {_phrase(first)} {where}{what}."
    else:
        text = f"Nothing is {_DONE[rights]} in {where}."
    return Statement(text, first.walls, tuple(one.claim() for one in members))


def _hidden(view: View) -> tuple[Statement, ...]:
    """What masks cover."""
    if not view.hidden:
        return ()
    text = f"What the kernel has in {paths(view.hidden)} is covered, and looks empty."
    return (Statement(text, (MOUNTS,), (HiddenClaim(view.hidden),)),)


def _own_programs(view: View) -> Statement:
    """Whether what is written inside can be run there: a statement without a claim of its own."""
    both = [path for path in view.nodes() if not any(view.refusing(path, right) for right in ("make", "execute"))]
    if both:
        kept = [path for path in both if not any(path != one and within(path, one) for one in both)]
        text = f"What it writes itself it can execute in {paths(kept)}, or hand to an interpreter."
        return Statement(text)
    walls = tuple(
        dict.fromkeys(
            wall for path in view.nodes() if not view.refusing(path, "make") for wall in view.refusing(path, "execute")
        )
    )
    return Statement("Nothing that it writes itself can be executed, only handed to an interpreter.", walls)
