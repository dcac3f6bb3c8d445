"""Where images come from, who has signed them, and whether the policy of the machine takes that for enough."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from volt.errors import RegistryError, StoreError
from volt.host import registries
from volt.host.settings import read_settings
from volt.images.accepted import accept, file_of, least
from volt.images.attached import stored_signatures
from volt.images.reference import HUB, Reference, parse, registry_of
from volt.images.signatures import Subject, claim_of, fingerprint, signed_last, signers
from volt.model.policy import POLICY
from volt.model.values import Value
from volt.plan.bounds import ASK, allows, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from volt.host.settings import Settings
    from volt.images.records import Image, Signature
    from volt.images.registry import Registry
    from volt.model.policy import Policy, Signers


Given = TypeVar("Given")
_HINT = 'write REGISTRY/NAME, or into /etc/volt/config.toml: [images] registry = "docker.io"'


class Origin(Value):
    """The registry that has an image, the mirror that is asked first, "" for none, and the repository there."""

    host: str
    mirror: str
    repository: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


class Taken(Value):
    """What a name of a registry stands for, HOST/PATH:VERSION: when that was signed, in seconds since 1970."""

    name: str
    signed: int


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


def require_signed(
    registry: Registry, origin: Origin, named: Reference, manifests: tuple[str, ...]
) -> tuple[tuple[Signature, ...], Taken | None]:
    """The signatures that the policy asks for, of one of the manifests, `sha256:…`, that a name stands for; none where
    it asks for none, and then the registry is not asked either. With them what `taking` is to be told. Raises
    RegistryError where there are none that are enough, or what is signed is older than what was taken before,
    StoreError, PolicyError, OSError."""
    policy = _policy()
    if policy is None or not (places := _places(policy, str(origin))):
        return (), None
    found, odd = stored_signatures(registry, tuple(dict.fromkeys(filter(None, manifests))))
    for place in places:
        if not signers(found, place.keys, _subject(place, str(origin), manifests)):
            said = f"by none of its {len(found) + len(odd)} signatures" if found or odd else "by no signature"
            why = "".join(f"; {one}" for one in dict.fromkeys((*odd, *_unnamed(found, place))))
            hint = "have it signed, as cosign does" if policy.quotable else ASK
            raise RegistryError(f"{origin} is signed {said} as {POLICY} asks of {place.place}{why}", hint=hint)
    taken = _newest(origin, named, [(one, _last(found, one, origin, manifests)) for one in places if one.newest])
    good = (one for one in found if any(_counts(one, place, str(origin), manifests) for place in places))
    return tuple(good), taken


@contextmanager
def taking(taken: Taken | None) -> Iterator[None]:
    """While it is written down here what a name stands for, all of it being there: from now on nothing older is taken.
    The caller holds the store as `adding` does. Raises RegistryError where something newer was taken since it was
    looked at, StoreError, OSError."""
    if taken is None:
        yield
        return
    with accept(taken.name, taken.signed) as before:
        _require_not_older(taken, before)
        yield


def _newest(origin: Origin, named: Reference, known: list[tuple[Signers, int | None]]) -> Taken | None:
    """That nothing is older than what was taken before. By a digest only the caller chooses, and no name moves."""
    if not known or named.digest:
        return None
    for place, last in known:
        if last is None:
            hint = 'sign it with a time: cosign sign -a timestamp="$(date +%s)"; podman writes one'
            raise RegistryError(
                f"{origin} is signed without a time, and {POLICY} asks {place.place} for one", hint=hint
            )
    taken = Taken(f"{origin}:{named.version}", min(last for _, last in known if last is not None))
    _require_not_older(taken, least(taken.name))  # before anything is fetched
    return taken


def _require_not_older(taken: Taken, before: int) -> None:
    if taken.signed < before:
        hint = f"if that is meant, pull it by its digest, or remove {file_of(taken.name)}"
        when, then = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(one)) for one in (taken.signed, before))
        raise RegistryError(f"{taken.name} was signed {when}, and one signed {then} was taken before", hint=hint)


def unsigned(image: Image, policy: Policy | None) -> tuple[str, ...]:
    """The places of the policy that an image comes from, and of whose keys none has signed it. Raises StoreError for a
    key that is none."""
    places = _places(policy, come_from(image)) if policy else ()
    return tuple(place.place for place in places if not _signed(image, place))


def image_signers(found: Image) -> tuple[str, ...]:
    """The keys of the policy that have signed an image, each by its digest, `sha256:…` (of the SubjectPublicKeyInfo,
    RFC 5280); none for an image that is used unsigned. Raises StoreError for a key that is none, PolicyError."""
    policy = _policy()
    places = _places(policy, come_from(found)) if policy else ()
    return tuple(dict.fromkeys(fingerprint(key) for place in places for key in _signed(found, place)))


def come_from(image: Image) -> str:
    """The repository that an image was pulled from, HOST/PATH; "" where it was imported."""
    return image.source if image.manifest else ""


def best(images: Iterable[Image], policy: Policy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of all the names that one tree has: where it comes from, and what has not signed it, by the name by which the
    policy has the least against it. Raises StoreError for a key that is none."""
    most = policy.image_registries
    found = [((come_from(one),), unsigned(one, policy)) for one in images]
    found.sort(key=lambda one: (most is not None and not allows(most, one[0][0]), len(one[1])))
    return found[0] if found else ((), tuple(one.place for one in policy.image_signers or ()))


def _policy() -> Policy | None:
    from volt.api.policy import machine_policy

    read = machine_policy()
    return read.policy if read else None


def _places(policy: Policy, origin: str) -> tuple[Signers, ...]:
    return tuple(one for one in policy.image_signers or () if origin and allows((one.place,), origin))


def _subject(place: Signers, origin: str, manifests: Iterable[str]) -> Subject:
    return Subject(origin, tuple(filter(None, manifests)), place.any_repository)


def _signed(image: Image, place: Signers) -> tuple[str, ...]:
    return signers(image.signatures, place.keys, _subject(place, come_from(image), (image.manifest, image.index)))


def _counts(one: Signature, place: Signers, origin: str, manifests: tuple[str, ...]) -> bool:
    return bool(signers((one,), place.keys, _subject(place, origin, manifests)))


def _last(found: Iterable[Signature], place: Signers, origin: Origin, manifests: tuple[str, ...]) -> int | None:
    return signed_last(found, place.keys, _subject(place, str(origin), manifests))


def _unnamed(found: Iterable[Signature], place: Signers) -> Iterator[str]:
    """What is said of signatures that would count, if they named the repository."""
    if not place.any_repository and any((claim := claim_of(one)) and claim.repository is None for one in found):
        yield "one names no repository, as cosign sign -a docker-reference=HOST/PATH has it do"
