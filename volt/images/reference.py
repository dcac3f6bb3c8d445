"""What an image is called: [registry/]name[:version], or a tree by its digest."""

from __future__ import annotations

import re

from volt.errors import StoreError
from volt.model.values import Value
from volt.store.place import PREFIX, is_digest

LATEST = "latest"
HUB = "docker.io"  # what other tools mean where a name has no registry
URL = "cas://"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*(?::\d+)?/)?{_PART}(?:/{_PART})*", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_MOST, _BEHIND = 255, 20  # bytes: NAME_MAX, and what is behind a name
_HINT = "write [REGISTRY/]NAME[:VERSION] in lower-case letters, digits and -._/"


class Reference(Value):
    """A name with its version, both "" for none; the digest that it was pinned to, "" for none. One that is written
    with a digest and no version has `sha256:…` for its version: it is called by that, and moves no other name."""

    name: str = ""
    version: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """As it is written; an image without a name is its digest."""
        between = "@" if self.pinned else ":"
        return f"{self.name}{between}{self.version}" if self.name else f"{PREFIX}{self.digest}"

    @property
    def pinned(self) -> bool:
        """Whether its digest is all the version that it has."""
        return self.version.startswith(PREFIX)


def parse(written: str) -> Reference:
    """`name`, `name:version`, `name:version@sha256:…`, `sha256:…` or `cas://sha256:…`. Raises StoreError."""
    plain = written.removeprefix(URL)
    front, _, digest = plain.rpartition(PREFIX)
    if digest and (front in ("", "@") or front.endswith("@")) and PREFIX in plain:
        if not is_digest(digest):
            raise StoreError(f"{written}: a digest has 64 lower-case hex digits", hint=f"write {PREFIX} and 64 digits")
        if not front:
            return Reference(digest=digest)
        named = name(front.removesuffix("@"))
        pinned = named.name == front.removesuffix("@")
        if pinned:
            _require_short(written, named.name, f"{PREFIX}{digest}")
        return Reference(named.name, f"{PREFIX}{digest}" if pinned else named.version, digest)
    return name(written)


def name(written: str) -> Reference:
    """`name` or `name:version`. Raises StoreError."""
    head, colon, version = written.rpartition(":")
    if not colon or "/" in version:  # a port is before a slash
        head, version = written, LATEST
    _require_short(written, head, version)
    if not _NAME.fullmatch(head) or not _VERSION.fullmatch(version):
        raise StoreError(f"{written!r} is no name of an image", hint=_HINT)
    return Reference(head, version)


def _require_short(written: str, head: str, version: str) -> None:
    """Its record is a file of that name, with %2F for a slash, and behind it a process id while it is written."""
    if len(head) + 2 * head.count("/") + 1 + len(version) > _MOST - _BEHIND:
        raise StoreError(f"{written!r} is no name of an image", hint=_HINT)


def registry_of(name: str) -> tuple[str, str]:
    """(registry, repository) of a name; the registry is "" where it names none: a first part that has a dot or a port,
    or is localhost, is one."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "", name
