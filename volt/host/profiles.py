"""Profiles: those that volt ships, beside the package in a source tree and inside it once installed; and a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volt.errors import StateError
from volt.host.files import MOST
from volt.model.facts import ProfileText
from volt.model.values import replace

if TYPE_CHECKING:
    from volt.host.watch import Watch

_PACKAGE = Path(__file__).parents[1]
_STORE = "cas://"
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def shipped_profile(kind: str, name: str) -> bytes:
    """The text of the profile `name` of a kind: `seccomp`, `landlock`, `boot`.

    Raises LookupError when volt ships no such profile, StateError when it ships none of that kind at all:
    then the installation is incomplete.
    """
    names = shipped_profiles(kind)
    if name not in names:
        raise LookupError(f"there is no {kind} profile '{name}'; there are: {', '.join(names)}")
    return _folder(kind).joinpath(f"{name}.toml").read_bytes()


def filter_profile(name: str, *, boots: bool) -> bytes:
    """The text that a workload's filter is made from: a seccomp profile, with what of it an image that is booted does
    not have. Raises as shipped_profile does."""
    own = shipped_profile("seccomp", name)
    return own + b"\n" + shipped_profile("boot", name) if _withheld(name, boots=boots) else own


def filter_paths(name: str, *, boots: bool) -> tuple[str, ...]:
    """The files of that text. Raises as shipped_profile does."""
    own = profile_path("seccomp", name)
    return (own, profile_path("boot", name)) if _withheld(name, boots=boots) else (own,)


def _withheld(name: str, *, boots: bool) -> bool:
    return boots and name in shipped_profiles("boot")


def profile_path(kind: str, name: str) -> str:
    """The path of the profile's file. Raises as shipped_profile does."""
    return str(_folder(kind).joinpath(f"{name}.toml"))


def shipped_profiles(kind: str) -> tuple[str, ...]:
    """The names of the profiles of a kind that volt ships. Raises StateError when there is none."""
    files = (entry.name for entry in _folder(kind).iterdir())
    names = sorted(file.removesuffix(".toml") for file in files if file.endswith(".toml"))
    return tuple(name for name in names if _NAME.fullmatch(name))


def read_profile(path: str, watch: Watch | None = None, place: Callable[[str], str] | None = None) -> ProfileText:
    """What a profile's file says, read as a manifest is: a regular file of at most 1 MiB, never waited for. Of
    `cas://sha256:…` the store has it, and `place` says where, or raises OSError."""
    from volt.host.sources import FileSources

    sources = FileSources(watch, place)
    try:
        data = sources.stored(path) if path.startswith(_STORE) else sources.read(path)
        found = ProfileText(path, quotable=sources.quotable(path), real=sources.real(path))
        if len(data) > MOST:
            return replace(found, problem="is longer than 1 MiB")
        return replace(found, text=data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return ProfileText(path, problem="is no UTF-8 text")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return ProfileText(path, problem=f"cannot be read: {why}")


def _folder(kind: str) -> Path:
    for folder in _folders():
        found = folder.joinpath(kind)
        if found.is_dir():
            return found
    raise StateError(f"volt's own {kind} profiles are missing", hint="install volt again")


def _folders() -> Iterator[Path]:
    """Installed, profiles/ lies inside the package; in a source tree, beside it."""
    yield _PACKAGE / "profiles"
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        yield _PACKAGE.parent / "profiles"
