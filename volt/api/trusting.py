"""Where images come from, and whether the policy of the machine lets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volt.errors import RegistryError, StoreError
from volt.host import registries
from volt.host.settings import read_settings
from volt.images import records
from volt.images.reference import HUB, HUB_HOST, parse, registry_of
from volt.model.policy import POLICY

if TYPE_CHECKING:
    from volt.host.settings import Settings
    from volt.images.records import Image
    from volt.images.reference import Reference


def place_of(named: Reference, settings: Settings) -> tuple[str, str, str]:
    """The registry that has an image, its mirror, and the repository there; both hosts "" where the name has none and
    the settings neither, the mirror where there is none."""
    host, repository = registry_of(named.name)
    host = host or settings.registry
    if host == HUB and "/" not in repository:
        repository = f"library/{repository}"
    return host, registries.access(host, settings.registries).mirror if host else "", repository


def require_allowed(host: str, mirror: str, repository: str) -> None:
    """Raises RegistryError where the policy does not list the registry, or its mirror, PolicyError for a policy that is
    not understood."""
    from volt.api.policy import machine_policy
    from volt.plan.bounds import ASK, allows, ways

    read = machine_policy()
    policy = read.policy if read else None
    if policy is None or policy.image_registries is None:
        return
    for one in filter(None, (host, mirror)):
        if not allows(policy.image_registries, f"{one}/{repository}"):
            hint = ways(policy.image_registries) if policy.quotable else ASK
            raise RegistryError(f"images from {one}/{repository} may not be used on this machine: {POLICY}", hint=hint)


def wanted_from(written: str) -> tuple[str, ...]:
    """Where an image would be pulled from, HOST/PATH; nothing where that is not known. Raises VoltError for settings
    that are not understood."""
    try:
        host, _, repository = place_of(parse(written), read_settings())
    except StoreError:
        return ()
    return (f"{host}/{repository}",) if host else ()


def come_from(image: Image) -> str:
    """The repository that an image was pulled from, as images are named after it; "" where it was imported."""
    return image.source.replace(f"{HUB_HOST}/", f"{HUB}/", 1) if image.manifest else ""


def trees_from(state: str, digest: str) -> tuple[str, ...]:
    """Where a tree comes from, by each name that it has. Raises StoreError."""
    return tuple(sorted({come_from(one) for one in records.images(state) if one.digest == digest}))
