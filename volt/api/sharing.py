"""Manifests and profiles on their way to registries and from there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from volt.api.documents import WHAT, Written, kind_of, read_document
from volt.api.imaging import require_root, told
from volt.api.pushing import Pushed
from volt.api.trusting import Taken, first_of, require_allowed, require_signed, required_origin, taking
from volt.errors import RegistryError, StoreError
from volt.host import registries
from volt.host.files import MOST
from volt.host.folders import folders
from volt.host.settings import Settings, read_settings
from volt.images.artifact import EMPTY, blob_of, document_of, write_artifact
from volt.images.config import parsed
from volt.images.manifest import MANIFESTS
from volt.images.reference import Reference, name, parse
from volt.store import manifests
from volt.store.place import PREFIX

if TYPE_CHECKING:
    from volt.api.trusting import Origin


def push_manifest(file: str | Path, target: str) -> Pushed:
    """Send a manifest or a profile to a registry, as `[REGISTRY/]NAME[:VERSION]`: an artifact, which others fetch
    by its digest. Its name is given last. Raises ManifestError for what is no TOML, RegistryError, StoreError,
    HostUnfit without root, VoltError for settings that are not understood."""
    from volt.images.registry import Registry

    require_root()
    named, settings = name(target), read_settings()
    origin = required_origin(named, settings)
    with told(f"{file} cannot be pushed"):
        written = read_document(str(file))
        document, artifact = written.data, write_artifact(written.data, Path(file).name, written.kind)
        registry, sent = Registry(registries.access(origin.host, settings.registries), origin.repository), 0
        for data in (document, EMPTY):
            if not registry.has(blob_of(data)):
                registry.put(blob_of(data), _Bytes(data))
                sent += len(data)
        registry.put_manifest(named.version, artifact, MANIFESTS[0])
    return Pushed(f"{origin}:{named.version}", str(blob_of(artifact)), sent)


def pull_manifest(written: str) -> str:
    """Have a manifest or a profile from a registry in the store, `[REGISTRY/]NAME[:VERSION][@sha256:…]`, the digest
    being that of the artifact there; the `cas://sha256:…` by which others extend it, or name it. The policy says of
    which registries, and signed by whom. Raises RegistryError, StoreError, ManifestError for what is no TOML, HostUnfit
    without root, VoltError for settings that are not understood."""
    require_root()
    named, settings = parse(written), read_settings()
    origin = required_origin(named, settings)
    with told(f"{written} cannot be pulled"):
        require_allowed(origin)
        document, artifact, taken = first_of(origin, lambda host: _at(host, origin, named, settings))
        if (kind := kind_of(written, document.data)) != document.kind:
            raise StoreError(f"{written} is {WHAT[kind]}, and called {WHAT[document.kind]} there")
        return manifests.add(folders().state, document.data, f"{origin}@{artifact}", taking(taken))


def _at(host: str, origin: Origin, named: Reference, settings: Settings) -> tuple[Written, str, Taken | None]:
    """The document, and the digest of its artifact; and what `taking` is to be told."""
    from volt.images.registry import Registry

    registry = Registry(registries.access(host, settings.registries), origin.repository)
    data, _ = registry.manifest(named)
    artifact = f"{PREFIX}{hashlib.sha256(data).hexdigest()}"
    wanted, kind = document_of(parsed(data, "the artifact"), MOST)
    _, taken = require_signed(registry, origin, named, (artifact,))
    document = b"".join(registry.blob(wanted))
    if blob_of(document) != wanted:
        raise RegistryError(f"{host} gave {blob_of(document)} for {wanted}")
    return Written(document, kind), artifact, taken


class _Bytes(io.BytesIO):
    """Bytes as requests sends them, told how many there are."""

    def __len__(self) -> int:
        return len(self.getbuffer())
