"""What goes into the store, or to a registry, by itself: a manifest or a part of one, or a profile; each is read first,
so that what is wrong with it is told to whoever sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.errors import ManifestError, StoreError
from volt.host.sources import FileSources
from volt.images.artifact import LANDLOCK, MANIFEST, SECCOMP, SECCOMP_OCI
from volt.manifest.chain import parse_document
from volt.model.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volt.manifest.chain import Document

_RULES = ("ruleset", "path_beneath", "net_port")  # of a Landlock policy, one at least


class Written(Value):
    """A document as it is written, and its media type."""

    data: bytes
    kind: str


def read_document(file: str) -> Written:
    """A file. Raises ManifestError, StoreError for what is none, OSError."""
    sources = FileSources()
    data = sources.read(file)
    return Written(data, kind_of(file, data, quotable=sources.quotable(file)))


def kind_of(name: str, data: bytes, *, quotable: bool = True) -> str:
    """What a document is, which is called `name` in what is told. Of a manifest it is only asked that it is TOML: it
    may be a part of one; a profile is right as a whole. Raises ManifestError, StoreError."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _require_profile(name, data)
        return SECCOMP_OCI
    document = parse_document(name, data, quotable=quotable)
    if document.finding:
        raise ManifestError((document.told(document.finding),))
    table = document.node.value if document.node else {}
    if any(key in table for key in _RULES):
        _require_policy(document)
        return LANDLOCK
    if "format" in table:
        _require_profile(name, data)
        return SECCOMP
    return MANIFEST


def _require_profile(name: str, data: bytes) -> None:
    from volt.plan.seccomp_bound import read_profile
    from volt.plan.seccomp_profile import ProfileError

    try:
        read_profile(data)
    except ProfileError as error:
        raise StoreError(f"{name} is no seccomp profile: {error}") from error


def _require_policy(document: Document) -> None:
    from volt.manifest import locate_in
    from volt.model.facts import ProfileText
    from volt.plan.landlock_policy import read_policy

    text = document.data.decode("utf-8-sig")
    _, findings = read_policy(ProfileText(document.name, text, quotable=document.quotable))
    if findings:
        raise ManifestError(locate_in(findings, document.name, document.data, quotable=document.quotable))


WHAT: Mapping[str, str] = {
    MANIFEST: "a manifest",
    LANDLOCK: "a Landlock policy",
    SECCOMP: "a seccomp profile",
    SECCOMP_OCI: "a seccomp profile",
}
