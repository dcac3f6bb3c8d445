"""Where images come from, who has signed them, and whether the policy of the machine takes that for enough."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, TypeVar

from volt.errors import NoSuchManifest, RegistryError, StoreError
from volt.host import registries
from volt.host.settings import read_settings
from volt.images.records import Signature
from volt.images.reference import HUB, Reference, parse, registry_of
from volt.images.signatures import fingerprint, signers, stored, tag_of
from volt.model.policy import POLICY
from volt.model.values import Value
from volt.plan.bounds import ASK, allows, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from volt.host.settings import Settings
    from volt.images.manifest import Blob
    from volt.images.records import Image
    from volt.images.registry import Registry
    from volt.model.policy import Policy


Given = TypeVar("Given")
_HINT = 'write REGISTRY/NAME, or into /etc/volt/config.toml: [images] registry = "docker.io"'


class Origin(Value):
    """The registry that has an image, the mirror that is asked first, "" for none, and the repository there."""

    host: str
    mirror: str
    repository: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


def origin_of(named: Reference, settings: Settings) -> Origin | None:
    """None where the name has no registry, and the settings neither."""
    host, repository = registry_of(named.name)
    host = host or settings.registry
    if not host:
        return None
    if host == HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Origin(host, registries.access(host, settings.registries).mirror, repository)


def required_origin(named: Reference, settings: Settings) -> Origin:
    """As `origin_of`. Raises RegistryError where that is None."""
    origin = origin_of(named, settings) if named.name else None
    if origin is None:
        raise RegistryError(f"{named.name or named} names no registry, and none is set", hint=_HINT)
    return origin


def first_of(origin: Origin, ask: Callable[[str], Given]) -> Given:
    """What `ask` has from a host: from the mirror, and where it fails from the registry itself. Raises as `ask`."""
    if origin.mirror:
        try:
            return ask(origin.mirror)
        except (RegistryError, StoreError):
            pass  # what it does not have is no mistake
    return ask(origin.host)


def wanted_from(written: str) -> tuple[str, ...]:
    """Where an image would be pulled from, HOST/PATH; nothing where that is not known. Raises VoltError for settings
    that are not understood."""
    try:
        origin = origin_of(parse(written), read_settings())
    except StoreError:
        return ()
    return (str(origin),) if origin else ()


def require_allowed(origin: Origin) -> None:
    """Raises RegistryError where the policy does not list the registry, or its mirror, PolicyError for a policy that is
    not understood."""
    policy = _policy()
    if policy is None or policy.image_registries is None:
        return
    for host in filter(None, (origin.host, origin.mirror)):
        if not allows(policy.image_registries, where := f"{host}/{origin.repository}"):
            hint = ways(policy.image_registries) if policy.quotable else ASK
            raise RegistryError(f"images from {where} may not be used on this machine: {POLICY}", hint=hint)


def require_signed(registry: Registry, origin: Origin, manifests: tuple[str, ...]) -> tuple[Signature, ...]:
    """The signatures that the policy asks for, of one of the manifests, `sha256:…`; none where it asks for none, and
    then the registry is not asked either. Raises RegistryError where there are none that are enough, StoreError,
    PolicyError."""
    policy = _policy()
    if policy is None or not (places := _places(policy, str(origin))):
        return ()
    found = tuple(one for manifest in dict.fromkeys(filter(None, manifests)) for one in _stored(registry, manifest))
    for place, keys in places:
        if not signers(found, keys, str(origin), manifests):
            said = f"by none of its {len(found)} signatures" if found else "by no signature"
            hint = "have it signed, as cosign does" if policy.quotable else ASK
            raise RegistryError(f"{origin} is signed {said} as {POLICY} asks of {place}", hint=hint)
    known = {key for _, keys in places for key in keys}
    return tuple(one for one in found if signers((one,), known, str(origin), manifests))


def unsigned(image: Image, policy: Policy | None) -> tuple[str, ...]:
    """The places of the policy that an image comes from, and of whose keys none has signed it. Raises StoreError for a
    key that is none."""
    places = _places(policy, come_from(image)) if policy else ()
    return tuple(place for place, keys in places if not _signed(image, keys))


def image_signers(found: Image) -> tuple[str, ...]:
    """The keys of the policy that have signed an image, each by its digest, `sha256:…` (of the SubjectPublicKeyInfo,
    RFC 5280); none for an image that is used unsigned. Raises StoreError for a key that is none, PolicyError."""
    policy = _policy()
    places = _places(policy, come_from(found)) if policy else ()
    return tuple(dict.fromkeys(fingerprint(key) for _, keys in places for key in _signed(found, keys)))


def come_from(image: Image) -> str:
    """The repository that an image was pulled from, HOST/PATH; "" where it was imported."""
    return image.source if image.manifest else ""


def best(images: Iterable[Image], policy: Policy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of all the names that one tree has: where it comes from, and what has not signed it, by the name by which the
    policy has the least against it. Raises StoreError for a key that is none."""
    most = policy.image_registries
    found = [((come_from(one),), unsigned(one, policy)) for one in images]
    found.sort(key=lambda one: (most is not None and not allows(most, one[0][0]), len(one[1])))
    return found[0] if found else ((), tuple(place for place, _ in policy.image_signers or ()))


def _policy() -> Policy | None:
    from volt.api.policy import machine_policy

    read = machine_policy()
    return read.policy if read else None


def _places(policy: Policy, origin: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(one for one in policy.image_signers or () if origin and allows((one[0],), origin))


def _signed(image: Image, keys: Iterable[str]) -> tuple[str, ...]:
    return signers(image.signatures, keys, come_from(image), tuple(filter(None, (image.manifest, image.index))))


def _stored(registry: Registry, manifest: str) -> tuple[Signature, ...]:
    """Those that lie beside a manifest. Raises RegistryError, StoreError."""
    try:
        listed, _ = registry.manifest(Reference(registry.repository, tag_of(manifest)))
    except NoSuchManifest:
        return ()
    return tuple(Signature(_payload(registry, one), signature) for one, signature in stored(listed))


def _payload(registry: Registry, wanted: Blob) -> str:
    data = b"".join(registry.blob(wanted))
    if hashlib.sha256(data).hexdigest() != wanted.digest:
        raise RegistryError(f"{registry.host} gave another payload than sha256:{wanted.digest}")
    return base64.b64encode(data).decode()
